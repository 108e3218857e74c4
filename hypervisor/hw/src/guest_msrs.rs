//! Registers that the guest owns while its core runs it, and that no VM entry or exit switches.
// UNSAFETY: WRMSR to registers that the hypervisor itself never uses, and moves to debug registers.
#![allow(unsafe_code)]

use crate::msr;
use core::arch::asm;
use spec::cpuid::{EDX, Leaf7Edx, leaf};
use spec::msr::{CSTAR, FMASK, KERNEL_GS_BASE, LSTAR, SPEC_CTRL, STAR, TSC_AUX};

/// Sets them to their values after reset, so that a guest sees nothing of whoever ran before: the MSRs of SYSCALL and
/// SWAPGS, TSC_AUX and SPEC_CTRL where there is one, and DR0 to DR3, DR6, CR2.
pub fn reset(has_tsc_aux: bool) {
    // SAFETY: every 64-bit processor has them, TSC_AUX where RDTSCP is; the hypervisor has no user mode.
    unsafe {
        for r in [STAR, LSTAR, CSTAR, FMASK, KERNEL_GS_BASE] {
            msr::write(r, 0);
        }
        if has_tsc_aux {
            msr::write(TSC_AUX, 0);
        }
    }
    if has_spec_ctrl() {
        // SAFETY: it exists; zero takes back what a guest has slowed down, and the hypervisor asks nothing of it.
        unsafe { msr::write(SPEC_CTRL, 0) };
    }
    // SAFETY: DR7 is 0x400 in root operation, so no breakpoint is enabled.
    unsafe {
        asm!(
            "mov dr0, {zero}", "mov dr1, {zero}", "mov dr2, {zero}", "mov dr3, {zero}",
            zero = in(reg) 0_u64, options(nomem, nostack, preserves_flags)
        );
    }
    // SDM vol. 3, "Processor State After Reset".
    crate::control::set_dr6(0xffff_0ff0);
    crate::control::set_cr2(0);
}

/// Whether there is IA32_SPEC_CTRL (SDM vol. 4, table of architectural MSRs).
fn has_spec_ctrl() -> bool {
    let shown = match crate::cpuid::leaf(leaf::VENDOR, 0)[0] {
        leaf::EXTENDED_FEATURES.. => crate::cpuid::leaf(leaf::EXTENDED_FEATURES, 0)[EDX],
        _ => 0,
    };
    Leaf7Edx::from_bits_retain(shown).intersects(Leaf7Edx::IBRS | Leaf7Edx::STIBP | Leaf7Edx::SSBD)
}
