//! One UART of the machine, without anyone waiting for it.
// UNSAFETY: names the UART's ports.
#![allow(unsafe_code)]

use core::fmt::{self, Arguments, Write};
use heapless::Deque;
use uart_16550::backend::PioBackend;
use uart_16550::spec::FIFO_SIZE;
use uart_16550::spec::registers::{IER, LSR};
use uart_16550::{BaudRate, Config, Uart16550};

/// Bytes that wait for the line before there are guests, the boot log; later, what the UART did not take after all.
const QUEUE: usize = 8 * 1024;

/// Bytes that one call takes from the receiver: more wait for the next.
const BURST: usize = 64;

/// A serial port; nothing, if there is no UART.
pub(crate) struct Port {
    uart: Option<Uart16550<PioBackend>>,
    queue: Deque<u8, QUEUE>,
    /// Bytes that may still be received in this round
    budget: usize,
}

impl Port {
    pub(crate) const fn none() -> Self {
        Self {
            uart: None,
            queue: Deque::new(),
            budget: 0,
        }
    }

    /// Takes over the UART at `base` at 115200 baud, if there is one.
    ///
    /// # Safety
    /// The ports are a UART's or nobody's, and nobody else uses them.
    pub(crate) unsafe fn open(base: u16) -> Self {
        // SAFETY: per contract.
        let uart = unsafe { Uart16550::new_port(base) };
        let config = Config {
            baud_rate: BaudRate::Baud115200,
            interrupts: IER::empty(),
            ..Config::DEFAULT
        };
        Self {
            uart: uart
                .ok()
                .and_then(|mut u| u.init(config).is_ok().then_some(u)),
            ..Self::none()
        }
    }

    /// Whether there is a UART.
    pub(crate) fn is_there(&self) -> bool {
        self.uart.is_some()
    }

    /// Has it interrupt from now on. With an empty transmitter that raises an interrupt at once.
    pub(crate) fn listen(&mut self) {
        if let Some(uart) = self.uart.as_mut() {
            uart.enable_interrupts(IER::DATA_READY | IER::THR_EMPTY);
        }
    }

    /// Reads the cause of its interrupt, which ends that of the transmitter; says whether there was one. Begins a round.
    pub(crate) fn acknowledge(&mut self) -> bool {
        self.budget = BURST;
        self.uart
            .as_mut()
            .is_some_and(|uart| uart.isr().interrupt_type().is_some())
    }

    /// Makes a new edge for causes that are left.
    pub(crate) fn again(&mut self) {
        if let Some(uart) = self.uart.as_mut() {
            let sources = uart.ier();
            uart.disable_interrupts(sources);
            uart.enable_interrupts(sources);
        }
    }

    /// The next byte received, up to a bound for each round.
    pub(crate) fn receive(&mut self) -> Option<u8> {
        self.budget = self.budget.checked_sub(1)?;
        self.uart.as_mut()?.try_receive_byte().ok()
    }

    /// Gives the UART what it can take now, what waits here first; says whether it took anything.
    pub(crate) fn pump(&mut self, mut next: impl FnMut() -> Option<u8>) -> bool {
        let Some(uart) = self.uart.as_mut() else {
            while next().is_some() {}
            return false;
        };
        if uart.ready_to_send().is_err() {
            return false;
        }
        let mut part = heapless::Vec::<u8, FIFO_SIZE>::new();
        while !part.is_full()
            && let Some(b) = self.queue.pop_front().or_else(&mut next)
        {
            let _ = part.push(b);
        }
        let sent = uart.send_bytes(&part);
        for b in part.iter().skip(sent).rev() {
            let _ = self.queue.push_front(*b);
        }
        sent != 0
    }

    /// Queues a line of the boot log.
    pub(crate) fn line(&mut self, line: &str) {
        for b in line.bytes().chain(*b"\r\n") {
            // What does not fit is cut.
            let _ = self.queue.push_back(b);
        }
    }

    /// Waits until what was given to the UART is on the line; `true` if nothing is queued here.
    pub(crate) fn drain(&mut self) -> bool {
        if let Some(uart) = self.uart.as_mut() {
            while !uart.lsr().contains(LSR::TRANSMITTER_EMPTY) {
                core::hint::spin_loop();
            }
        }
        self.uart.is_none() || self.queue.is_empty()
    }

    /// Sends a byte of the log before a report, waiting for it.
    pub(crate) fn last_byte(&mut self, byte: u8) {
        if let Some(uart) = self.uart.as_mut() {
            while let Some(b) = self.queue.pop_front() {
                uart.send_bytes_exact(&[b]);
            }
            if byte == b'\n' {
                uart.send_bytes_exact(b"\r");
            }
            uart.send_bytes_exact(&[byte]);
        }
    }

    /// Sends a report on a line of its own, waiting for it.
    pub(crate) fn last_words(&mut self, report: Arguments<'_>) {
        struct Now<'a>(&'a mut Uart16550<PioBackend>);
        impl Write for Now<'_> {
            fn write_str(&mut self, s: &str) -> fmt::Result {
                for b in s.bytes() {
                    if b == b'\n' {
                        self.0.send_bytes_exact(b"\r");
                    }
                    self.0.send_bytes_exact(&[b]);
                }
                Ok(())
            }
        }
        if let Some(uart) = self.uart.as_mut() {
            while let Some(b) = self.queue.pop_front() {
                uart.send_bytes_exact(&[b]);
            }
            let _ = write!(Now(uart), "\n{report}\n");
        }
    }
}
