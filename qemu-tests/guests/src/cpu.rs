//! Instructions that have no file of their own.
// UNSAFETY: privileged instructions.
#![allow(unsafe_code)]

use core::arch::asm;
use spec::cpuid::Registers;

/// CPUID
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> Registers {
    let (eax, ebx, ecx, edx);
    // SAFETY: reads registers only; RBX, which LLVM keeps for itself, is put back.
    unsafe {
        asm!("mov {b}, rbx", "cpuid", "xchg {b}, rbx", b = out(reg) ebx,
            inout("eax") leaf => eax, inout("ecx") subleaf => ecx, out("edx") edx, options(nostack));
    }
    let ebx: u64 = ebx;
    [eax, ebx as u32, ecx, edx]
}

/// The TSC, after all that stands before it.
#[inline]
#[must_use]
pub fn tsc() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a counter; LFENCE orders it (SDM vol. 2, "RDTSC").
    unsafe { asm!("lfence", "rdtsc", out("eax") low, out("edx") high, options(nostack)) };
    u64::from(high) << 32 | u64::from(low)
}

/// The TSC's frequency by CPUID leaf 0x15, crystal times numerator by denominator; zero where that does not tell.
#[must_use]
pub fn tsc_hz() -> u64 {
    if cpuid(0, 0)[0] < 0x15 {
        return 0;
    }
    let [denominator, numerator, crystal, _] = cpuid(0x15, 0);
    let product = u64::from(crystal) * u64::from(numerator);
    product.checked_div(denominator.into()).unwrap_or(0)
}

/// Spins until the TSC has reached `when`.
pub fn spin_until(when: u64) {
    while tsc() < when {
        core::hint::spin_loop();
    }
}

macro_rules! control_register {
    ($($name:ident $register:literal)*) => {
        $(
            #[doc = concat!("Reads ", $register)]
            #[must_use]
            pub fn $name() -> u64 {
                let value;
                // SAFETY: reads a register.
                unsafe { asm!(concat!("mov {}, ", $register), out(reg) value, options(nomem, nostack)) };
                value
            }
        )*
    };
}

control_register! { cr0 "cr0" cr2 "cr2" cr3 "cr3" cr4 "cr4" cr8 "cr8" dr6 "dr6" dr7 "dr7" }

/// Writes CR8, the task priority; more than 15 faults.
pub fn set_cr8(value: u64) {
    // SAFETY: holds interrupts back and nothing else.
    unsafe { asm!("mov cr8, {}", in(reg) value, options(nostack)) };
}

/// Clears DR6 but for the bits that are always one.
pub fn clear_dr6() {
    // SAFETY: a status register.
    unsafe { asm!("mov dr6, {}", in(reg) 0xffff_0ff0u64, options(nomem, nostack)) };
}

/// RFLAGS
#[must_use]
pub fn rflags() -> u64 {
    let flags;
    // SAFETY: reads a register by way of the stack.
    unsafe { asm!("pushfq", "pop {}", out(reg) flags) };
    flags
}

/// Interrupts on, and the processor asleep until one comes.
pub fn sti_hlt() {
    // SAFETY: the interrupt handlers keep to their own memory.
    unsafe { asm!("sti", "hlt", "cli") };
}

/// Asleep with interrupts off: only what is no interrupt ends that.
pub fn cli_hlt() {
    // SAFETY: as above.
    unsafe { asm!("cli", "hlt") };
}

/// Interrupts on.
pub fn sti() {
    // SAFETY: as above.
    unsafe { asm!("sti", "nop") };
}

/// Interrupts off.
pub fn cli() {
    // SAFETY: as above.
    unsafe { asm!("cli") };
}
