use super::*;

#[test]
fn host_state() {
    const FIXED: &str = "bits that VMX operation fixes must have that value";
    run(&[
        (Long, &[(HOST_CR0, 0x8005_0013)], HOST_CR0, FIXED),
        (Long, &[(HOST_CR4, 0x60)], HOST_CR4, FIXED),
        (
            Long,
            &[(HOST_CR3, BEYOND)],
            HOST_CR3,
            "bits beyond the physical-address width must be 0",
        ),
        (
            Long,
            &[(HOST_SYSENTER_ESP, NONCANONICAL)],
            HOST_SYSENTER_ESP,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_SYSENTER_EIP, NONCANONICAL)],
            HOST_SYSENTER_EIP,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_PAT, 0x0007_0406_0007_0402)],
            HOST_PAT,
            "each byte must be 0, 1, 4, 5, 6 or 7",
        ),
        (
            Long,
            &[(HOST_EFER, 0x1d02)],
            HOST_EFER,
            "reserved bits of IA32_EFER must be 0",
        ),
        (
            Long,
            &[(HOST_EFER, 0x900)],
            HOST_EFER,
            "LMA and LME must equal the host address-space size",
        ),
        (
            Long,
            &[(HOST_SS_SELECTOR, 0x13)],
            HOST_SS_SELECTOR,
            "RPL and TI of the selector must be 0",
        ),
        (
            Long,
            &[(HOST_FS_SELECTOR, 0x14)],
            HOST_FS_SELECTOR,
            "RPL and TI of the selector must be 0",
        ),
        (
            Long,
            &[(HOST_CS_SELECTOR, 0)],
            HOST_CS_SELECTOR,
            "the selector must not be 0",
        ),
        (
            Long,
            &[(HOST_TR_SELECTOR, 0)],
            HOST_TR_SELECTOR,
            "the selector must not be 0",
        ),
        (
            Long,
            &[(HOST_FS_BASE, NONCANONICAL)],
            HOST_FS_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_GS_BASE, NONCANONICAL)],
            HOST_GS_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_TR_BASE, NONCANONICAL)],
            HOST_TR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_GDTR_BASE, NONCANONICAL)],
            HOST_GDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[(HOST_IDTR_BASE, NONCANONICAL)],
            HOST_IDTR_BASE,
            CANONICAL,
        ),
        (
            Long,
            &[
                (EXIT_CONTROLS, 0x003f_efff & !(1 << 9)),
                (HOST_EFER, 0x800),
                (HOST_SS_SELECTOR, 0x10),
            ],
            EXIT_CONTROLS,
            "a 64-bit host must have the host address-space size set",
        ),
        (
            Long,
            &[(HOST_CR4, 0x2040)],
            HOST_CR4,
            "a 64-bit host has CR4.PAE set",
        ),
        (Long, &[(HOST_RIP, NONCANONICAL)], HOST_RIP, CANONICAL),
    ]);
}
