//! COM1, and the end of the machine.
// UNSAFETY: names the UART's ports and Bochs's shutdown port.
#![allow(unsafe_code)]

use core::fmt::{Arguments, Write};
use spec::Port;
use uart_16550::backend::PioBackend;
use uart_16550::spec::registers::{IER, LSR};
use uart_16550::{BaudRate, Config, Uart16550};

/// First I/O port of COM1.
const COM1: u16 = 0x3f8;
/// Bochs ends when the bytes of "Shutdown" are written here (its `iodev/unmapped.cc`).
const SHUTDOWN: Port = Port(0x8900);

struct Line(Uart16550<PioBackend>);

impl Write for Line {
    fn write_str(&mut self, text: &str) -> core::fmt::Result {
        self.0.send_bytes_exact(text.as_bytes());
        Ok(())
    }
}

/// Says one line, and waits until it is sent. A machine without a UART hears nothing.
pub(crate) fn say(what: Arguments<'_>) {
    // SAFETY: COM1's ports are a UART's or nobody's; nothing else of ours keeps them.
    let Ok(mut uart) = (unsafe { Uart16550::new_port(COM1) }) else {
        return;
    };
    let config = Config {
        baud_rate: BaudRate::Baud115200,
        interrupts: IER::empty(),
        ..Config::DEFAULT
    };
    if uart.init(config).is_err() {
        return;
    }
    let mut line = Line(uart);
    // Writing to the line cannot fail.
    let _ = write!(line, "bare: {what}\r\n");
    while !line.0.lsr().contains(LSR::TRANSMITTER_EMPTY) {
        core::hint::spin_loop();
    }
}

/// Ends the emulator.
pub(crate) fn power_off() -> ! {
    for byte in b"Shutdown" {
        // SAFETY: the port is Bochs's, or nobody's.
        unsafe { hw::port::write_u8(SHUTDOWN, *byte) };
    }
    hw::core_local::park()
}

#[panic_handler]
fn panic(info: &core::panic::PanicInfo<'_>) -> ! {
    say(format_args!("{info}"));
    power_off()
}
