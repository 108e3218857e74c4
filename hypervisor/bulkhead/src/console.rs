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

/// Rounds in which one interrupt is served before the UART is asked for another.
const ROUNDS: usize = 4;

/// The rings and the UART.
pub(crate) struct Console {
    out: Deque<u8, OUT>,
    input: Deque<u8, IN>,
    uart: Option<Uart16550<PioBackend>>,
    /// There is no UART: output is dropped.
    absent: bool,
    /// The last byte did not end a line.
    mid_line: bool,
}

/// The log ring: the one piece of state that all of the hypervisor shares.
pub(crate) static CONSOLE: Mutex<Console> = Mutex::new(Console::new());

impl Console {
    const fn new() -> Self {
        Self {
            out: Deque::new(),
            input: Deque::new(),
            uart: None,
            absent: false,
            mid_line: false,
        }
    }

    /// Takes over COM1 at 115200 baud; says whether there is one. It needs no heap, no tables of ours, no interrupts: what
    /// goes wrong from here on can be told.
    pub(crate) fn open(&mut self) -> bool {
        // SAFETY: COM1's ports are a UART's or nobody's; boot services, which used them, are gone.
        let uart = unsafe { Uart16550::new_port(COM1) };
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            interrupts: IER::empty(),
            ..Config::DEFAULT
        };
        self.uart = uart
            .ok()
            .and_then(|mut u| u.init(config).is_ok().then_some(u));
        self.absent = self.uart.is_none();
        !self.absent
    }

    /// Has the UART interrupt from now on. With an empty transmitter that raises an interrupt at once, which starts the
    /// ring on its way.
    pub(crate) fn listen(&mut self) {
        if let Some(uart) = self.uart.as_mut() {
            uart.enable_interrupts(IER::DATA_READY | IER::THR_EMPTY);
        }
    }

    /// Queues a byte for sending; `false` if only `spare` bytes or fewer are free.
    fn queue(&mut self, byte: u8, spare: usize) -> bool {
        if self.absent {
            return true;
        }
        if self.out.len() + spare >= OUT || self.out.push_back(byte).is_err() {
            return false;
        }
        self.mid_line = byte != b'\n';
        true
    }

    /// Queues a line of our own. It starts a line even if a guest has left one open, and is cut if the ring is full.
    pub(crate) fn line(&mut self, write: impl FnOnce(&mut dyn core::fmt::Write)) {
        if self.mid_line {
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

    /// Gives the UART what it can take now.
    fn pump(&mut self) {
        let Some(uart) = self.uart.as_mut() else {
            return;
        };
        if self.out.is_empty() || uart.ready_to_send().is_err() {
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
    }

    /// Serves the UART's interrupt, or polls the UART where its interrupt does not reach us.
    pub(crate) fn serve(&mut self) {
        for _ in 0..ROUNDS {
            let Some(uart) = self.uart.as_mut() else {
                return;
            };
            // Reading IIR ends the transmitter's interrupt.
            let cause = uart.isr().interrupt_type();
            for _ in 0..FIFO_SIZE {
                let Ok(b) = uart.try_receive_byte() else {
                    break;
                };
                // Bytes beyond the ring are lost, as they would be on a real line without flow control.
                let _ = self.input.push_back(b);
            }
            self.pump();
            if cause.is_none() {
                return;
            }
        }
        // The pin is edge-triggered: a cause that is left would never be heard of again. Switching the sources off and on
        // makes a new edge, and other work gets its turn meanwhile.
        if let Some(uart) = self.uart.as_mut() {
            let sources = uart.ier();
            uart.disable_interrupts(sources);
            uart.enable_interrupts(sources);
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
        let taken = console.queue(byte, RESERVED);
        console.pump();
        taken
    }

    fn receive(&mut self) -> Option<u8> {
        CONSOLE.lock().input.pop_front()
    }
}
