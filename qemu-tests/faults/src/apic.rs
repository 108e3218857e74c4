//! The core's local APIC, in x2APIC mode.
// UNSAFETY: accesses to the MSRs of the local APIC.
#![allow(unsafe_code)]

use alloc::string::String;
use hw::msr;
use spec::apic::{Icr, Lvt, Svr, delivery, register};
use spec::cpuid::Leaf1Ecx;
use spec::msr::{APIC_BASE, ApicBase, TSC_DEADLINE, X2APIC_FIRST};
use spec::{Msr, Ticks, Vector};

/// Vector of spurious interrupts, which no other interrupt has.
const SPURIOUS: Vector = Vector(0xff);

/// Enables the local APIC in x2APIC mode, all its own sources masked.
pub(crate) fn take() -> Result<(), String> {
    if !hw::cpuid::features().contains(Leaf1Ecx::X2APIC) {
        return Err("this processor has no x2APIC".into());
    }
    // SAFETY: CPUID shows x2APIC; no code of ours uses the registers in memory.
    unsafe {
        let base = ApicBase::EN | ApicBase::EXTD;
        msr::write(APIC_BASE, msr::read(APIC_BASE) | base.bits());
    }
    set_spurious(SPURIOUS);
    write(register::TPR, 0);
    for source in [
        register::LVT_TIMER,
        register::LVT_LINT0,
        register::LVT_LINT1,
        register::LVT_ERROR,
        register::LVT_PERFORMANCE,
    ] {
        write(source, Lvt::MASKED.bits());
    }
    Ok(())
}

/// The MSR of a register.
pub(crate) const fn msr_of(r: u8) -> Msr {
    Msr(X2APIC_FIRST.0 + r as u32)
}

/// What ICR takes to send an NMI to this core.
pub(crate) fn nmi_to_self() -> u64 {
    let command = u32::from(delivery::NMI) << 8 | Icr::ASSERT.bits();
    u64::from(hw::cpuid::apic_id()) << 32 | u64::from(command)
}

/// Sends an NMI to this core.
pub(crate) fn send_nmi_to_self() {
    // SAFETY: in x2APIC mode since `take`; the handler only notes.
    unsafe { msr::write(msr_of(register::ICR), nmi_to_self()) };
}

/// Makes an interrupt pending.
pub(crate) fn interrupt_self(v: Vector) {
    write(register::SELF_IPI, v.0.into());
}

/// Ends the highest interrupt in service.
pub(crate) fn end() {
    write(register::EOI, 0);
}

/// Gives spurious interrupts another vector.
fn set_spurious(v: Vector) {
    write(register::SVR, Svr::ENABLE.bits() | u32::from(v.0));
}

/// Has `f` run while spurious interrupts have the vector `v`.
pub(crate) fn with_spurious<T>(v: Vector, f: impl FnOnce() -> T) -> T {
    set_spurious(v);
    let result = f();
    set_spurious(SPURIOUS);
    result
}

/// Whether an interrupt is in service.
pub(crate) fn is_in_service(v: Vector) -> bool {
    has(register::ISR, v)
}

/// Whether an interrupt waits.
pub(crate) fn is_requested(v: Vector) -> bool {
    has(register::IRR, v)
}

/// Has the timer, masked, come to a TSC value: what IA32_TSC_DEADLINE reads before, and after.
pub(crate) fn deadline(at: Ticks) -> Result<(u64, u64), String> {
    if !hw::cpuid::features().contains(Leaf1Ecx::TSC_DEADLINE) {
        return Err("this processor has no TSC-deadline mode".into());
    }
    let masked = Lvt::MASKED;
    write(register::LVT_TIMER, (masked | Lvt::TSC_DEADLINE).bits());
    // SAFETY: CPUID shows TSC-deadline mode; a masked timer interrupts nobody.
    let before = unsafe {
        msr::write(TSC_DEADLINE, at.0);
        msr::read(TSC_DEADLINE)
    };
    while hw::tsc::now() <= at {
        core::hint::spin_loop();
    }
    // An instruction or two of grace, since time and interrupts do not come to the same tick everywhere.
    hw::tsc::spin(Ticks(1000));
    // SAFETY: as above.
    let after = unsafe { msr::read(TSC_DEADLINE) };
    write(register::LVT_TIMER, masked.bits());
    Ok((before, after))
}

/// A bit of one of the registers that have one for each vector, 32 to an MSR.
fn has(bank: u8, v: Vector) -> bool {
    // SAFETY: in x2APIC mode since `take`, where ISR and IRR are read without effect.
    let word = unsafe { msr::read(msr_of(bank + v.0 / 32)) };
    word >> (v.0 % 32) & 1 != 0
}

fn write(r: u8, value: u32) {
    // SAFETY: in x2APIC mode since `take`, where the registers named here exist and take these values; handlers only note.
    unsafe { msr::write(msr_of(r), value.into()) };
}
