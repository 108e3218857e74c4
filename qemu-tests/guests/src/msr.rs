//! Model-specific registers: an access that faults is an answer like any other.
//!
//! Writing is safe here: of the registers that a guest has, those that code without FS, GS and SYSCALL depends on
//! (EFER.LME, EFER.NXE) cannot be changed or mean nothing to the page tables of these guests.
// UNSAFETY: RDMSR and WRMSR.
#![allow(unsafe_code)]

use crate::{attempt, trap::Trap};
use core::arch::asm;
use spec::Msr;

/// RDMSR
///
/// # Errors
/// The exception.
pub fn read(msr: Msr) -> Result<u64, Trap> {
    let (low, high): (u32, u32);
    // SAFETY: reads a register, or faults.
    unsafe {
        attempt!("rdmsr", in("ecx") msr.0, inout("eax") 0u32 => low, inout("edx") 0u32 => high)?;
    }
    Ok(u64::from(high) << 32 | u64::from(low))
}

/// RDMSR where no fault is expected, on any processor.
#[must_use]
pub fn read_plain(msr: Msr) -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register.
    unsafe { asm!("rdmsr", in("ecx") msr.0, out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// WRMSR where no fault is expected, on any processor.
pub fn write_plain(msr: Msr, value: u64) {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: see the module's head.
    unsafe { asm!("wrmsr", in("ecx") msr.0, in("eax") low, in("edx") high, options(nostack)) };
}

/// WRMSR
///
/// # Errors
/// The exception.
pub fn write(msr: Msr, value: u64) -> Result<(), Trap> {
    let (low, high) = (value as u32, (value >> 32) as u32);
    // SAFETY: see the module's head.
    unsafe { attempt!("wrmsr", in("ecx") msr.0, in("eax") low, in("edx") high) }
}
