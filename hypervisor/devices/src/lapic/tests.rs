extern crate std;

mod accelerated;
mod access;
mod any_sequence;
mod carriers;
mod direct;
mod errors;
mod ipi;
mod lending;
mod linux;
mod machine;
mod modes;
mod priority;
mod processor;
mod receivers;
mod timer;
mod timer_model;

use super::*;
use spec::apic::register;
use spec::msr::X2APIC_FIRST;
use spec::{Msr, Width};

const NOW: Ticks = Ticks(1000);

/// SVR with the software enable bit, as Linux writes it.
const ENABLED: u32 = 0x1ff;

fn msr(number: u8) -> Msr {
    Msr(X2APIC_FIRST.0 + u32::from(number))
}

/// An APIC in x2APIC mode, enabled by software.
fn x2apic(id: u32) -> Lapic {
    let mut apic = Lapic::new(id, id == 0, 0);
    apic.set_base_msr(apic.base_msr() | ApicBase::EXTD.bits())
        .unwrap();
    assert_eq!(
        apic.write_msr(msr(register::SVR), ENABLED.into(), NOW),
        Ok(Effect::None)
    );
    apic
}

/// An APIC in xAPIC mode, enabled by software.
fn xapic(id: u32) -> Lapic {
    let mut apic = Lapic::new(id, id == 0, 0);
    put(&mut apic, register::SVR, ENABLED);
    apic
}

/// Writes a register that has no effect outside, in whichever mode the APIC is.
fn put(apic: &mut Lapic, number: u8, value: u32) {
    put_at(apic, number, value, NOW);
}

fn put_at(apic: &mut Lapic, number: u8, value: u32, now: Ticks) {
    let effect = match apic.mode() {
        Mode::X2Apic => apic.write_msr(msr(number), value.into(), now),
        _ => apic.write_mmio(u16::from(number) << 4, Width::B4, value.into(), now),
    };
    assert_eq!(
        effect,
        Ok(Effect::None),
        "register {number:#x} = {value:#x}"
    );
}

fn get(apic: &mut Lapic, number: u8) -> u32 {
    get_at(apic, number, NOW)
}

fn get_at(apic: &mut Lapic, number: u8, now: Ticks) -> u32 {
    let value = match apic.mode() {
        Mode::X2Apic => apic.read_msr(msr(number), now),
        _ => apic.read_mmio(u16::from(number) << 4, Width::B4, now),
    };
    u32::try_from(value.unwrap()).unwrap()
}

/// Ends the interrupt in service.
fn eoi(apic: &mut Lapic) -> Effect {
    match apic.mode() {
        Mode::X2Apic => apic.write_msr(msr(register::EOI), 0, NOW),
        _ => apic.write_mmio(u16::from(register::EOI) << 4, Width::B4, 0, NOW),
    }
    .unwrap()
}
