//! The machine's console: rings in memory, both ways, that the UART's interrupts drain and fill.
//!
//! Nothing waits for the line but a panic and the last words before power-off.
// UNSAFETY: names the UART's ports.
#![allow(unsafe_code)]

use heapless::Deque;
use seam::SerialLine;
use spin::Mutex;
use uart_16550::backend::PioBackend;
use uart_16550::spec::FIFO_SIZE;
use uart_16550::spec::registers::{IER, LSR};
use uart_16550::{BaudRate, Config, Uart16550};

/// First I/O port of COM1.
const COM1: u16 = 0x3f8;
/// Pin of the I/O APIC that ISA interrupt 4 arrives at.
pub(crate) const COM1_PIN: u8 = 4;

/// Bytes that wait for the line: some five seconds of it.
const OUT: usize = 64 * 1024;
/// Of these, what a guest may not fill, so that there is room for our log.
const RESERVED: usize = 8 * 1024;
/// Bytes that wait for a guest.
const IN: usize = 4 * 1024;

/// The rings and the UART.
pub(crate) struct Console {
    out: Deque<u8, OUT>,
    input: Deque<u8, IN>,
    /// `None` before start-up and on machines without one: output is dropped then.
    uart: Option<Uart16550<PioBackend>>,
    /// Bytes are on the line, and an interrupt will tell when they are gone.
    sending: bool,
    /// The last byte ended a line.
    at_line_start: bool,
}

/// The log ring: the one piece of state that all of the hypervisor shares.
pub(crate) static CONSOLE: Mutex<Console> = Mutex::new(Console::new());

impl Console {
    const fn new() -> Self {
        Self {
            out: Deque::new(),
            input: Deque::new(),
            uart: None,
            sending: false,
            at_line_start: true,
        }
    }

    /// Takes over COM1 at 115200 baud; says whether there is one. It sends from now on, but only
    /// [`Console::on_interrupt`] keeps it going.
    pub(crate) fn open(&mut self) -> bool {
        // SAFETY: COM1's ports are a UART's or nobody's; boot services, which used them, are gone.
        let Ok(mut uart) = (unsafe { Uart16550::new_port(COM1) }) else {
            return false;
        };
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            interrupts: IER::DATA_READY | IER::THR_EMPTY,
            ..Config::DEFAULT
        };
        self.uart = uart.init(config).is_ok().then_some(uart);
        self.pump();
        self.uart.is_some()
    }

    /// Queues a byte for sending; `false` if only `spare` bytes or fewer are free.
    fn queue(&mut self, byte: u8, spare: usize) -> bool {
        if self.out.len() + spare >= OUT || self.out.push_back(byte).is_err() {
            return false;
        }
        self.at_line_start = byte == b'\n';
        true
    }

    /// Queues a line of our own. It starts a line even if a guest has left one open, and is cut if the ring is full.
    pub(crate) fn line(&mut self, write: impl FnOnce(&mut dyn core::fmt::Write)) {
        if !self.at_line_start {
            self.text("\n");
        }
        write(self);
        self.text("\n");
        self.pump();
    }

    fn text(&mut self, text: &str) {
        for b in text.bytes() {
            if b == b'\n' {
                let _ = self.queue(b'\r', 0);
            }
            let _ = self.queue(b, 0);
        }
    }

    /// Gives the line what it can take now, unless it is busy.
    fn pump(&mut self) {
        let Some(uart) = self.uart.as_mut() else {
            self.out.clear();
            return;
        };
        if self.sending || self.out.is_empty() || uart.ready_to_send().is_err() {
            return;
        }
        let mut part = heapless::Vec::<u8, FIFO_SIZE>::new();
        while !part.is_full()
            && let Some(b) = self.out.pop_front()
        {
            let _ = part.push(b);
        }
        let sent = uart.send_bytes(&part);
        for b in part[sent..].iter().rev() {
            let _ = self.out.push_front(*b);
        }
        self.sending = sent > 0;
    }

    /// Serves the UART's interrupt: an edge, so all its causes are looked at until none is left.
    pub(crate) fn on_interrupt(&mut self) {
        // Reading IIR ends the transmitter's interrupt; a UART that claims one without end is left alone.
        for _ in 0..64 {
            let Some(uart) = self.uart.as_mut() else {
                return;
            };
            let cause = uart.isr().interrupt_type();
            while let Ok(b) = uart.try_receive_byte() {
                // Bytes beyond the ring are lost, as they would be on a real line without flow control.
                let _ = self.input.push_back(b);
            }
            if uart.ready_to_send().is_ok() {
                self.sending = false;
                self.pump();
            }
            if cause.is_none() {
                return;
            }
        }
    }

    /// Sends all that is queued, waiting for the line. Only for a panic and before power-off.
    pub(crate) fn flush(&mut self) {
        let Some(uart) = self.uart.as_mut() else {
            return;
        };
        while let Some(b) = self.out.pop_front() {
            uart.send_bytes_exact(&[b]);
        }
        while !uart.lsr().contains(LSR::TRANSMITTER_EMPTY) {
            core::hint::spin_loop();
        }
    }
}

impl core::fmt::Write for Console {
    fn write_str(&mut self, s: &str) -> core::fmt::Result {
        self.text(s);
        Ok(())
    }
}

/// Makes a guest's UART the machine's console.
pub(crate) struct GuestLine;

impl SerialLine for GuestLine {
    fn send(&mut self, byte: u8) -> bool {
        let mut console = CONSOLE.lock();
        let taken = console.uart.is_none() || console.queue(byte, RESERVED);
        console.pump();
        taken
    }

    fn receive(&mut self) -> Option<u8> {
        CONSOLE.lock().input.pop_front()
    }
}
