use super::*;

#[test]
fn guest_registers() {
    const FIXED: &str = "bits that VMX operation fixes must have that value";
    const CR0: u64 = 0x8001_0031;
    assert_eq!(prepared(Long).get(GUEST_CR0), CR0);
    run(&[
        (Long, &[(GUEST_CR0, CR0 & !0x20)], GUEST_CR0, FIXED),
        (Restricted, &[(GUEST_CR0, CR0 | 1 << 32)], GUEST_CR0, FIXED),
        (
            Protected,
            &[(GUEST_CR0, 0x8000_0030), (GUEST_CS_RIGHTS, 0xc093)],
            GUEST_CR0,
            "CR0.PG needs CR0.PE",
        ),
        (Long, &[(GUEST_CR4, 0x20)], GUEST_CR4, FIXED),
        (
            Long,
            &[(GUEST_CR0, CR0 & !0x1_0000), (GUEST_CR4, 0x80_2020)],
            GUEST_CR4,
            "CR4.CET needs CR0.WP",
        ),
        (
            Long,
            &[(GUEST_CR0, CR0 & !(1 << 31))],
            GUEST_CR0,
            "an IA-32e mode guest has CR0.PG set",
        ),
        (
            Long,
            &[(GUEST_CR4, 0x2000)],
            GUEST_CR4,
            "an IA-32e mode guest has CR4.PAE set",
        ),
        (
            Protected,
            &[(GUEST_CR4, 0x2_2000)],
            GUEST_CR4,
            "CR4.PCIDE needs an IA-32e mode guest",
        ),
        (
            Long,
            &[(GUEST_CR3, BEYOND)],
            GUEST_CR3,
            "bits beyond the physical-address width must be 0",
        ),
        (
            Long,
            &[(GUEST_DEBUGCTL, 1 << 3)],
            GUEST_DEBUGCTL,
            "reserved bits of IA32_DEBUGCTL must be 0",
        ),
        (
            Long,
            &[(GUEST_DR7, 1 << 32)],
            GUEST_DR7,
            "bits 63:32 of DR7 must be 0",
        ),
        (
            Long,
            &[(GUEST_SYSENTER_ESP, NONCANONICAL)],
            GUEST_SYSENTER_ESP,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_SYSENTER_EIP, NONCANONICAL)],
            GUEST_SYSENTER_EIP,
            CANONICAL,
        ),
        (
            Long,
            &[(GUEST_PAT, 8)],
            GUEST_PAT,
            "each byte must be 0, 1, 4, 5, 6 or 7",
        ),
        (
            Long,
            &[(GUEST_EFER, 0x502)],
            GUEST_EFER,
            "reserved bits of IA32_EFER must be 0",
        ),
        (
            Protected,
            &[(GUEST_EFER, 0x500)],
            GUEST_EFER,
            "LMA must equal the IA-32e mode guest control",
        ),
        (
            Long,
            &[(GUEST_EFER, 0x400)],
            GUEST_EFER,
            "with CR0.PG set LMA must equal LME",
        ),
        (
            Long,
            &[(GUEST_RIP, 1 << 48)],
            GUEST_RIP,
            "bits beyond the linear-address width must be alike",
        ),
        (
            Protected,
            &[(GUEST_RIP, 1 << 32)],
            GUEST_RIP,
            "bits 63:32 must be 0 outside 64-bit mode",
        ),
        (
            Long,
            &[(GUEST_RFLAGS, 0)],
            GUEST_RFLAGS,
            "reserved bits must be 0, and bit 1 set",
        ),
        (
            Long,
            &[(GUEST_RFLAGS, 0x8002)],
            GUEST_RFLAGS,
            "reserved bits must be 0, and bit 1 set",
        ),
        (
            Virtual8086,
            &[(GUEST_CR0, 0x30)],
            GUEST_RFLAGS,
            "virtual-8086 mode needs protected mode outside IA-32e mode",
        ),
        (
            Long,
            &[(ENTRY_INTERRUPTION_INFO, 1 << 31 | 0x20)],
            GUEST_RFLAGS,
            "injecting an external interrupt needs RFLAGS.IF",
        ),
    ]);
    let mut vmcs = prepared(Long);
    vmcs.set(GUEST_RIP, 1 << 47);
    assert_eq!(failures(&vmcs, &generous()), [], "just past the lower half");
}
