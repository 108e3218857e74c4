//! Registers that the guest owns while its core runs it, and that no VM entry or exit switches.
// UNSAFETY: WRMSR to registers that the hypervisor itself never uses, and moves to debug registers.
#![allow(unsafe_code)]

use crate::msr;
use core::arch::asm;
use spec::msr::{CSTAR, FMASK, KERNEL_GS_BASE, LSTAR, STAR, TSC_AUX};

/// Sets them to their values after reset, so that a guest sees nothing of whoever ran before: the MSRs of SYSCALL and
/// SWAPGS, TSC_AUX where there is one, and DR0 to DR3, DR6, CR2.
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
