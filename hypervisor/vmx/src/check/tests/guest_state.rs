use super::*;

#[test]
fn guest_non_register_state() {
    const INFO: Field = ENTRY_INTERRUPTION_INFO;
    const STEPPING: &str =
        "while blocked or halted, BS must be set exactly if the guest single-steps";
    run(&[
        (
            Long,
            &[(GUEST_ACTIVITY, 4)],
            GUEST_ACTIVITY,
            "the activity state must be supported",
        ),
        (
            Long,
            &[
                (GUEST_ACTIVITY, 1),
                (GUEST_SS_RIGHTS, 0xc0f3),
                (GUEST_CS_RIGHTS, 0xa0fb),
            ],
            GUEST_ACTIVITY,
            "a halted guest has DPL of SS 0",
        ),
        (
            Long,
            &[(GUEST_ACTIVITY, 1), (GUEST_INTERRUPTIBILITY, 2)],
            GUEST_ACTIVITY,
            "with blocking by STI or MOV SS the guest must be active",
        ),
        (
            Long,
            &[(GUEST_ACTIVITY, 1), (INFO, 1 << 31 | 3 << 8 | 6)],
            GUEST_ACTIVITY,
            "the event must be one that ends the activity state",
        ),
        (
            Long,
            &[(GUEST_ACTIVITY, 3), (INFO, 1 << 31 | 2 << 8 | 2)],
            GUEST_ACTIVITY,
            "the event must be one that ends the activity state",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 0x20)],
            GUEST_INTERRUPTIBILITY,
            "bits 31:5 must be 0",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 3), (GUEST_RFLAGS, 0x202)],
            GUEST_INTERRUPTIBILITY,
            "blocking by STI and by MOV SS exclude each other",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 1)],
            GUEST_INTERRUPTIBILITY,
            "blocking by STI needs RFLAGS.IF",
        ),
        (
            Long,
            &[
                (GUEST_INTERRUPTIBILITY, 1),
                (GUEST_RFLAGS, 0x202),
                (INFO, 1 << 31 | 0x20),
            ],
            GUEST_INTERRUPTIBILITY,
            "an external interrupt is not injected while STI or MOV SS blocks it",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 2), (INFO, 1 << 31 | 2 << 8 | 2)],
            GUEST_INTERRUPTIBILITY,
            "an NMI is not injected while MOV SS (on some processors STI) blocks it",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 4)],
            GUEST_INTERRUPTIBILITY,
            "outside SMM there is no blocking by SMI",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 8), (INFO, 1 << 31 | 2 << 8 | 2)],
            GUEST_INTERRUPTIBILITY,
            "a virtual NMI is not injected while NMIs are blocked",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 0x12)],
            GUEST_INTERRUPTIBILITY,
            "an enclave interruption and blocking by MOV SS exclude each other",
        ),
        (
            Long,
            &[(GUEST_PENDING_DEBUG, 1 << 4)],
            GUEST_PENDING_DEBUG,
            "reserved bits must be 0",
        ),
        (
            Long,
            &[(GUEST_PENDING_DEBUG, 1 << 13)],
            GUEST_PENDING_DEBUG,
            "reserved bits must be 0",
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 1), (GUEST_RFLAGS, 0x302)],
            GUEST_PENDING_DEBUG,
            STEPPING,
        ),
        (
            Long,
            &[(GUEST_INTERRUPTIBILITY, 2), (GUEST_PENDING_DEBUG, 1 << 14)],
            GUEST_PENDING_DEBUG,
            STEPPING,
        ),
        (
            Long,
            &[
                (GUEST_ACTIVITY, 1),
                (GUEST_RFLAGS, 0x102),
                (GUEST_DEBUGCTL, 2),
                (GUEST_PENDING_DEBUG, 1 << 14),
            ],
            GUEST_PENDING_DEBUG,
            STEPPING,
        ),
        (
            Long,
            &[(GUEST_PENDING_DEBUG, 1 << 16)],
            GUEST_PENDING_DEBUG,
            "RTM goes with the enabled breakpoint alone, and not with blocking by MOV SS",
        ),
        (Long, &[(VMCS_LINK_POINTER, 8)], VMCS_LINK_POINTER, ALIGNED),
        (
            Long,
            &[(VMCS_LINK_POINTER, BEYOND)],
            VMCS_LINK_POINTER,
            PHYSICAL,
        ),
        (
            Protected,
            &[
                (GUEST_CR0, 0x8000_0031),
                (GUEST_CR4, 0x2020),
                (GUEST_PDPTE2, 3),
            ],
            GUEST_PDPTE2,
            "reserved bits of a present entry must be 0",
        ),
        (
            Protected,
            &[
                (GUEST_CR0, 0x8000_0031),
                (GUEST_CR4, 0x2020),
                (GUEST_PDPTE0, BEYOND | 1),
            ],
            GUEST_PDPTE0,
            "reserved bits of a present entry must be 0",
        ),
    ]);
}
