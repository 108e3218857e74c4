//! Words to the outside, by COM1, waiting for its transmitter.

use crate::uart;
use core::fmt::{self, Write};
use spec::uart::{Fcr, Lcr, Lsr, Mcr, offset};

/// Sets the UART up: 8 bits, FIFOs, no interrupt.
pub fn open() {
    uart::write(offset::IER, 0);
    uart::write(offset::LCR, Lcr::WORD.bits());
    uart::write(offset::FCR, (Fcr::ENABLE | Fcr::CLEAR_RX).bits());
    uart::write(offset::MCR, (Mcr::DTR | Mcr::RTS | Mcr::OUT2).bits());
}

/// Waits until the last byte is on its way.
pub fn drain() {
    while uart::read(offset::LSR) & Lsr::TX_EMPTY.bits() == 0 {
        core::hint::spin_loop();
    }
}

/// The line as something to write to.
pub struct Line;

impl Write for Line {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for byte in text.bytes() {
            while uart::read(offset::LSR) & Lsr::THR_EMPTY.bits() == 0 {
                core::hint::spin_loop();
            }
            uart::write(offset::DATA, byte);
        }
        Ok(())
    }
}

/// Prints a line.
#[macro_export]
macro_rules! say {
    ($($text:tt)*) => {{
        use core::fmt::Write;
        let _ = writeln!($crate::serial::Line, "{}\r", format_args!($($text)*));
    }};
}
