//! A processor and a guest over [`Lapic`], in the manual's words: for the tests here and of crates above this one.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a panic is a failed test"
)]
#![cfg_attr(
    not(test),
    allow(dead_code, unused_imports, reason = "the tests here use more of it")
)]

extern crate std;

mod guest;
pub(in crate::lapic) mod machine;
pub(in crate::lapic) mod processor;

pub use guest::{Op, STEP, agree};
pub(in crate::lapic) use machine::CARRIERS;

use super::*;
use spec::apic::register;
use spec::msr::X2APIC_FIRST;
use spec::{Msr, Width};

pub(in crate::lapic) const NOW: Ticks = Ticks(1000);

/// SVR with the software enable bit, as Linux writes it.
pub(in crate::lapic) const ENABLED: u32 = 0x1ff;

pub(in crate::lapic) fn msr(number: u8) -> Msr {
    Msr(X2APIC_FIRST.0 + u32::from(number))
}

/// An APIC in x2APIC mode, enabled by software.
pub(in crate::lapic) fn x2apic(id: u32) -> Lapic {
    let mut apic = Lapic::new(id, id == 0, 0);
    apic.set_base_msr(apic.base_msr() | ApicBase::EXTD.bits())
        .unwrap();
    assert_eq!(
        apic.write_msr(msr(register::SVR), ENABLED.into(), NOW),
        Ok(Effect::None)
    );
    apic
}

/// Writes a register that has no effect outside, in whichever mode the APIC is.
pub(in crate::lapic) fn put(apic: &mut Lapic, number: u8, value: u32) {
    put_at(apic, number, value, NOW);
}

pub(in crate::lapic) fn put_at(apic: &mut Lapic, number: u8, value: u32, now: Ticks) {
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
