//! The local APIC, in either mode: a register has the same number in both.

use crate::slot::Slot;
use crate::trap::Trap;
use crate::{cmdline, cpu, mmio, msr};
use spec::Msr;
use spec::apic::{Lvt, Svr, register};
use spec::msr::ApicBase;

/// Where its registers are in xAPIC mode.
pub const BASE: u64 = spec::apic::DEFAULT_BASE.0;
/// Vector of spurious interrupts.
pub const SPURIOUS: u8 = 0xff;

/// The timer's entry as an operating system leaves it that takes TSC deadlines.
const UNUSED_TIMER: u32 = Lvt::TSC_DEADLINE.union(Lvt::MASKED).bits();

static X2APIC: Slot<bool> = Slot::new(false);

/// The number of the MSR that is a register in x2APIC mode.
#[must_use]
pub const fn msr_of(register: u8) -> Msr {
    Msr(spec::msr::X2APIC_FIRST.0 + register as u32)
}

/// The address of a register in xAPIC mode.
#[must_use]
pub const fn address_of(register: u8) -> u64 {
    BASE + ((register as u64) << 4)
}

/// Goes over to x2APIC mode, from which there is no way back but through a disabled APIC, and takes the timer for TSC deadlines.
///
/// # Errors
/// The exception.
pub fn enter_x2apic() -> Result<(), Trap> {
    let base = msr::read(spec::msr::APIC_BASE)?;
    msr::write(spec::msr::APIC_BASE, base | ApicBase::EXTD.bits())?;
    entered_x2apic();
    write(register::LVT_TIMER, UNUSED_TIMER)
}

/// Has registers found as MSRs from now on, where IA32_APIC_BASE was written by hand.
pub fn entered_x2apic() {
    X2APIC.set(true);
}

/// Goes back to xAPIC mode; all state is lost.
///
/// # Errors
/// The exception.
pub fn leave_x2apic() -> Result<(), Trap> {
    let base = msr::read(spec::msr::APIC_BASE)?;
    let off = base & !(ApicBase::EXTD | ApicBase::EN).bits();
    msr::write(spec::msr::APIC_BASE, off)?;
    msr::write(spec::msr::APIC_BASE, off | ApicBase::EN.bits())?;
    X2APIC.set(false);
    Ok(())
}

/// Which mode it is in.
#[must_use]
pub fn is_x2apic() -> bool {
    X2APIC.get()
}

/// Reads a register; what faults reads as all ones.
#[must_use]
pub fn read(register: u8) -> u32 {
    if is_x2apic() {
        msr::read(msr_of(register)).map_or(u32::MAX, |value| value as u32)
    } else {
        mmio::read32(address_of(register))
    }
}

/// Writes a register.
///
/// # Errors
/// The exception, in x2APIC mode.
pub fn write(register: u8, value: u32) -> Result<(), Trap> {
    if is_x2apic() {
        msr::write(msr_of(register), value.into())
    } else {
        mmio::write32(address_of(register), value);
        Ok(())
    }
}

/// Switches it on, as an operating system does; in x2APIC mode from the start with `x2apic` on the command line.
///
/// # Errors
/// The exception.
pub fn enable() -> Result<(), Trap> {
    if !is_x2apic() && cmdline::has("x2apic") {
        enter_x2apic()?;
    }
    write(register::SVR, Svr::ENABLE.bits() | u32::from(SPURIOUS))?;
    write(register::TPR, 0)
}

/// Ends the interrupt in service. Not by [`msr::write`], whose attempt may be what was interrupted.
pub(crate) fn end_of_interrupt() {
    if is_x2apic() {
        msr::write_plain(msr_of(register::EOI), 0);
    } else {
        mmio::write32(address_of(register::EOI), 0);
    }
}

/// Has the APIC of a further processor do as the first's: in the same mode, enabled, all priorities let in.
pub fn join() {
    if is_x2apic() {
        enter_x2apic_here();
    }
    write_here(register::SVR, Svr::ENABLE.bits() | u32::from(SPURIOUS));
    write_here(register::TPR, 0);
}

/// Goes over to x2APIC mode on a processor other than the first, whose call is [`enter_x2apic`].
pub fn enter_x2apic_here() {
    let base = msr::read_plain(spec::msr::APIC_BASE);
    let x2apic = (ApicBase::EN | ApicBase::EXTD).bits();
    msr::write_plain(spec::msr::APIC_BASE, base | x2apic);
    msr::write_plain(msr_of(register::LVT_TIMER), UNUSED_TIMER.into());
}

/// Reads a register where no fault is expected, on any processor.
#[must_use]
pub fn read_here(register: u8) -> u32 {
    if is_x2apic() {
        msr::read_plain(msr_of(register)) as u32
    } else {
        mmio::read32(address_of(register))
    }
}

/// Writes a register where no fault is expected, on any processor.
pub fn write_here(register: u8, value: u32) {
    if is_x2apic() {
        msr::write_plain(msr_of(register), value.into());
    } else {
        mmio::write32(address_of(register), value);
    }
}

/// Requests these of the processor's own APIC, in x2APIC mode, on any processor.
pub fn pend(vectors: &[u8]) {
    for vector in vectors {
        write_here(register::SELF_IPI, (*vector).into());
    }
}

/// Sends a message, from any processor; `command` is the low half of the interrupt command register. Interrupts are off: in
/// xAPIC mode these are two writes.
pub fn send(destination: u32, command: u32) {
    if is_x2apic() {
        let icr = u64::from(destination) << 32 | u64::from(command);
        msr::write_plain(msr_of(register::ICR), icr);
    } else {
        mmio::write32(address_of(register::ICR_HIGH), destination << 24);
        mmio::write32(address_of(register::ICR), command);
    }
}

/// Whether a vector's bit is set in one of the three sets of eight words: ISR, TMR, IRR.
#[must_use]
pub fn has(set: u8, vector: u8) -> bool {
    read(set + (vector >> 5)) & 1 << (vector & 31) != 0
}

/// Whether an interrupt is in service, where no fault is expected, on any processor.
#[must_use]
pub fn is_in_service_here(vector: u8) -> bool {
    read_here(register::ISR + (vector >> 5)) & 1 << (vector & 31) != 0
}

/// The timer's entry.
///
/// # Errors
/// The exception.
pub fn set_timer(mode: Lvt, vector: u8) -> Result<(), Trap> {
    write(register::LVT_TIMER, mode.bits() | u32::from(vector))
}

/// Arms the TSC deadline, `ticks` from now; says for when.
///
/// # Errors
/// The exception.
pub fn arm(ticks: u64) -> Result<u64, Trap> {
    let when = cpu::tsc() + ticks;
    msr::write(spec::msr::TSC_DEADLINE, when)?;
    Ok(when)
}
