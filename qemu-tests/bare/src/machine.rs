//! What the firmware has set going: stopped, so that no interrupt comes that the kernel has not asked for.
// UNSAFETY: registers of the local APIC and of the I/O APIC.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use hw::ioapic::{DEFAULT_BASE, HostIoApic};
use hw::msr;
use spec::apic::{self, Lvt, Svr, register};
use spec::msr::{APIC_BASE, ApicBase};

/// Masks what brings interrupts, and ends what the firmware has left in service.
///
/// # Errors
/// There is no I/O APIC, or the local APIC is not as a kernel finds it in a VM.
///
/// # Safety
/// All physical memory below 4 GiB is mapped at `window`, and no interrupt is waited for.
pub(crate) unsafe fn calm(window: *mut u8) -> Result<(), &'static str> {
    hw::pic::mask();
    let registers = NonNull::new(window.wrapping_add(DEFAULT_BASE.0 as usize));
    // SAFETY: per contract; memory types are the MTRRs', which call the page uncached.
    let chip = registers.and_then(|at| unsafe { HostIoApic::take(at) });
    chip.ok_or("this machine has no I/O APIC")?;
    // SAFETY: every processor with an APIC has it.
    let base = ApicBase::from_bits_retain(unsafe { msr::read(APIC_BASE) });
    // The way to xAPIC mode and to the state after reset leads through "disabled", from where Bochs does not come back.
    if !base.contains(ApicBase::EN) || base.contains(ApicBase::EXTD) {
        return Err("the firmware does not leave the local APIC in xAPIC mode");
    }
    let at = |register: u8| {
        let offset = apic::DEFAULT_BASE.0 + (u64::from(register) << 4);
        window.wrapping_add(offset as usize).cast::<u32>()
    };
    // SAFETY: the registers are mapped per contract, and in xAPIC mode they are there.
    let write = |register, value| unsafe { at(register).write_volatile(value) };
    // SAFETY: as above.
    let read = |register| unsafe { at(register).read_volatile() };
    write(register::TIMER_INITIAL, 0);
    for source in [
        register::LVT_TIMER,
        register::LVT_LINT0,
        register::LVT_LINT1,
        register::LVT_ERROR,
        register::LVT_PERFORMANCE,
    ] {
        write(source, Lvt::MASKED.bits());
    }
    while (0..8).any(|word| read(register::ISR + word) != 0) {
        write(register::EOI, 0);
    }
    // As after reset: off by software.
    write(register::SVR, Svr::VECTOR.bits());
    Ok(())
}
