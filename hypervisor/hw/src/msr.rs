//! Model-specific registers.
// UNSAFETY: RDMSR and WRMSR.
#![allow(unsafe_code)]

use core::arch::asm;
use spec::Msr;

/// Reads an MSR.
///
/// # Safety
/// The MSR exists on this processor; it would raise #GP otherwise.
#[inline]
#[must_use]
pub unsafe fn read(msr: Msr) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: the caller vouches that the register exists; reading changes nothing that Rust knows of.
    unsafe {
        asm!("rdmsr", in("ecx") msr.0, out("eax") low, out("edx") high,
            options(nomem, nostack, preserves_flags));
    }
    (u64::from(high) << 32) | u64::from(low)
}

/// Writes an MSR.
///
/// # Safety
/// The MSR exists, takes this value, and what the value brings about (mappings, modes, interrupts) keeps every
/// promise that running code relies on.
#[inline]
pub unsafe fn write(msr: Msr, value: u64) {
    // SAFETY: the caller vouches for the register and for what the value does.
    unsafe {
        asm!("wrmsr", in("ecx") msr.0, in("eax") value as u32, in("edx") (value >> 32) as u32,
            options(nostack, preserves_flags));
    }
}
