//! What boot says: on the firmware's console, and on a serial port if that is not one of its devices.

use alloc::format;
use alloc::string::String;
use core::fmt::{self, Write};
use uefi::boot::{self, ScopedProtocol};
use uefi::proto::console::serial::Serial;
use uefi::runtime::{self, VariableVendor};
use uefi::{cstr16, system};

/// Where lines go.
pub struct Screen {
    /// A port that the console does not write to
    serial: Option<ScopedProtocol<Serial>>,
}

impl Screen {
    /// Finds out where lines have to go.
    #[must_use]
    pub fn open() -> Self {
        // The variable ConOut is the device path of the console (UEFI 2.10, section 3.3).
        let console =
            runtime::get_variable_boxed(cstr16!("ConOut"), &VariableVendor::GLOBAL_VARIABLE);
        let covered = console.is_ok_and(|(path, _)| has_uart(&path));
        let serial = || {
            let handle = boot::find_handles::<Serial>().ok()?.first().copied()?;
            crate::protocol::get(handle).ok()
        };
        Self {
            serial: if covered { None } else { serial() },
        }
    }

    /// One line about what boot does or has learnt.
    pub fn line(&mut self, what: fmt::Arguments<'_>) {
        self.text(&format!("boot: {what}\n"));
    }

    /// Text of its own form. What the console cannot show is lost there: there is nobody to tell.
    pub fn text(&mut self, text: &str) {
        // UEFI consoles know the characters of the basic plane only; one beyond would lose the rest of the text.
        let plane = |c: char| if u32::from(c) < 0x1_0000 { c } else { '?' };
        let plain: String = text.chars().map(plane).collect();
        let _ = system::with_stdout(|out| out.write_str(&plain));
        if let Some(serial) = &mut self.serial {
            let _ = serial.write_exact(text.replace('\n', "\r\n").as_bytes());
        }
    }
}

/// Whether a device path, of one or more instances, goes through a UART (UEFI 2.10, sections 10.3.1 and 10.3.4.15).
fn has_uart(mut path: &[u8]) -> bool {
    const MESSAGING_UART: [u8; 2] = [3, 14];
    while let [kind, sub, low, high, ..] = *path {
        if [kind, sub] == MESSAGING_UART {
            return true;
        }
        let len = usize::from(u16::from_le_bytes([low, high]));
        match path.get(len..) {
            Some(rest) if len >= 4 => path = rest,
            _ => return false,
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::has_uart;

    // ACPI PNP0A03, PCI 1.0, end of instance; ACPI PNP0501, UART 115200 8n1, VT-UTF8, end.
    const SCREEN: &[u8] = &[
        2, 1, 12, 0, 0xd0, 0x41, 3, 0x0a, 0, 0, 0, 0, 1, 1, 6, 0, 0, 1, 0x7f, 1, 4, 0,
    ];
    const SERIAL: &[u8] = &[
        2, 1, 12, 0, 0xd0, 0x41, 1, 5, 0, 0, 0, 0, 3, 14, 19, 0, 0, 0, 0, 0, 0, 0xc2, 1, 0, 0, 0,
        0, 0, 8, 1, 1, 0x7f, 0xff, 4, 0,
    ];

    #[test]
    fn a_uart_is_found_behind_other_instances() {
        assert!(!has_uart(SCREEN));
        assert!(has_uart(SERIAL));
        assert!(has_uart(&[SCREEN, SERIAL].concat()));
    }

    #[test]
    fn a_malformed_path_ends_the_search() {
        assert!(!has_uart(&[]));
        assert!(!has_uart(&[3]));
        assert!(!has_uart(&[2, 1, 0, 0, 3, 14, 4, 0]));
        assert!(!has_uart(&[2, 1, 0xff, 0xff, 3, 14, 4, 0]));
    }
}
