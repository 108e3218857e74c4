//! Power-off and reset, as ACPI has them.

use crate::{cmdline, cpu, port, serial};
use spec::acpi_pm::{RESET_VALUE, SLP_TYP_S5, SleepControl, offset};

/// First of the ACPI ports; a guest with ACPI reads it from the FADT.
pub const BASE: u16 = 0x600;

/// Bochs ends when the bytes of "Shutdown" are written here (its `iodev/unmapped.cc`); under Bulkhead nothing is there.
const BOCHS_SHUTDOWN: u16 = 0x8900;

/// Enters S5; on a bare machine, which has no such ports, ends the emulator.
pub fn off() -> ! {
    let s5 = SLP_TYP_S5 << SleepControl::SLP_TYP.bits().trailing_zeros();
    let port = BASE + u16::from(offset::SLEEP_CONTROL);
    loop {
        port::out8(port, SleepControl::SLP_EN.bits() | s5);
        serial::drain();
        for byte in b"Shutdown" {
            port::out8(BOCHS_SHUTDOWN, *byte);
        }
    }
}

/// Halts for good if the command line says `stay`.
pub fn stay_if_told() {
    while cmdline::has("stay") {
        cpu::cli_hlt();
    }
}

/// Resets the machine.
pub fn reset() -> ! {
    loop {
        port::out8(BASE + u16::from(offset::RESET), RESET_VALUE);
    }
}
