//! The watchdog's registers.

use crate::port;
use spec::watchdog::offset;

/// First of its ports; a guest with ACPI reads it from the WDAT.
pub const BASE: u16 = 0x610;

/// Reads the register at an offset.
#[must_use]
pub fn read(offset: u8) -> u32 {
    port::in32(BASE + u16::from(offset))
}

/// Writes the register at an offset.
pub fn write(offset: u8, value: u32) {
    port::out32(BASE + u16::from(offset), value);
}

/// Begins the countdown anew.
pub fn feed() {
    write(offset::LEFT, 0);
}
