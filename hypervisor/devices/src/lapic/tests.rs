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
mod modes;
mod priority;
mod receivers;
mod timer;
mod timer_model;

use super::model::machine;
use super::model::{ENABLED, NOW, msr, put, put_at, x2apic};
use super::*;
use spec::apic::register;
use spec::{Msr, Width};

/// An APIC in xAPIC mode, enabled by software.
fn xapic(id: u32) -> Lapic {
    let mut apic = Lapic::new(id, id == 0, 0);
    put(&mut apic, register::SVR, ENABLED);
    apic
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
