//! What stands where a PC's firmware starts in real mode: code that resets the machine.
//!
//! Linux on hardware-reduced ACPI takes the firmware's ResetSystem for the only way to restart, and where there is no
//! UEFI jumps to the firmware's first instruction in real mode (`machine_real_restart`), never to the reset register.

use crate::layout::ACPI_PM;
use spec::Gpa;
use spec::acpi_pm::{RESET_VALUE, offset};

/// FFFF:0000, inside the range that e820 reserves.
pub const AT: Gpa = Gpa(0xf_fff0);

/// 16-bit code that writes the reset register and, should the machine still run, halts for good.
#[must_use]
pub fn code() -> [u8; 9] {
    let [low, high] = (ACPI_PM.0 + u16::from(offset::RESET)).to_le_bytes();
    [
        0xba,
        low,
        high, // mov dx, port
        0xb0,
        RESET_VALUE, // mov al, value
        0xee,        // out dx, al
        0xf4,        // hlt
        0xeb,
        0xfd, // jmp back to hlt
    ]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::layout::{ACPI_AREA, HIGH_RAM};

    #[test]
    fn it_lies_in_the_reserved_area_and_apart_from_the_tables() {
        let end = AT.0 + code().len() as u64;
        assert!(end <= HIGH_RAM.0);
        let facts = crate::AcpiFacts {
            vcpus: 254,
            watchdog: Some(1),
        };
        for (at, table) in crate::acpi::build(&facts) {
            assert!(at >= ACPI_AREA && at.0 + table.len() as u64 <= AT.0);
        }
    }

    #[test]
    fn it_writes_the_value_that_the_fadt_names() {
        assert_eq!(code()[..6], [0xba, 0x02, 0x06, 0xb0, 0x42, 0xee]);
    }
}
