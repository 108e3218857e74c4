//! COM1's registers.

use crate::port;

/// First of its eight ports.
pub const BASE: u16 = 0x3f8;
/// Its pin of the I/O APIC.
pub const PIN: u8 = 4;

/// Reads the register at an offset.
#[must_use]
pub fn read(offset: u8) -> u8 {
    port::in8(BASE + u16::from(offset))
}

/// Writes the register at an offset.
pub fn write(offset: u8, value: u8) {
    port::out8(BASE + u16::from(offset), value);
}
