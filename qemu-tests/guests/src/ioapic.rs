//! The I/O APIC.

use crate::mmio;
use spec::ioapic::{Redirection, offset, register};

/// Where its registers are.
pub const BASE: u64 = 0xfec0_0000;

/// Reads a register.
#[must_use]
pub fn read(register: u8) -> u32 {
    mmio::write32(BASE + u64::from(offset::SELECT), register.into());
    mmio::read32(BASE + u64::from(offset::WINDOW))
}

/// Writes a register.
pub fn write(register: u8, value: u32) {
    mmio::write32(BASE + u64::from(offset::SELECT), register.into());
    mmio::write32(BASE + u64::from(offset::WINDOW), value);
}

/// Writes the entry of a pin, upper half first.
pub fn route(pin: u8, entry: Redirection) {
    let first = register::REDIRECTION + 2 * pin;
    write(first + 1, (entry.bits() >> 32) as u32);
    write(first, entry.bits() as u32);
}

/// The entry of a pin.
#[must_use]
pub fn entry(pin: u8) -> u64 {
    let first = register::REDIRECTION + 2 * pin;
    u64::from(read(first + 1)) << 32 | u64::from(read(first))
}
