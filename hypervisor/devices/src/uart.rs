//! The 16550A UART (National Semiconductor PC16550D data sheet, section 8).
//!
//! Two things differ from silicon, on purpose. There is no baud clock: a byte takes no time, and what paces the
//! guest is the line's readiness, so THRE and TEMT mean that everything written has really left, and a slow line
//! loses nothing. And the receiver never overruns: bytes stay outside until the receive FIFO has room. Without a
//! clock, bytes below the trigger level count as timed out at once.

mod interrupt;
#[cfg(test)]
mod linux_8250;
#[cfg(test)]
mod tests;

use heapless::Deque;
use seam::SerialLine;
use spec::uart::{FIFO_SIZE, Fcr, Ier, Lcr, Lsr, Mcr, Msr, offset};

/// The modem lines as the outside drives them: a terminal that is always there and always ready.
const MODEM_OUTSIDE: Msr = Msr::CTS.union(Msr::DSR).union(Msr::DCD);

type Fifo = Deque<u8, FIFO_SIZE>;

/// One UART.
///
/// After each call that takes the line, the owner copies [`Uart::interrupt`] to the chip's interrupt line, and
/// calls [`Uart::poll`] when the line has room again or has received something.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Uart {
    rx: Fifo,
    tx: Fifo,
    divisor: [u8; 2],
    ier: Ier,
    /// ENABLE and TRIGGER; the other bits act once and read nowhere
    fcr: Fcr,
    lcr: Lcr,
    mcr: Mcr,
    scratch: u8,
    /// The receiver lost a byte, which only loopback can make it do
    overrun: bool,
    /// THRE is an edge: set when the transmitter empties or its interrupt is switched on while it is empty,
    /// cleared by reading it from IIR or by writing a byte (section 8.6, table IV)
    transmit_pending: bool,
    /// Only the four delta bits; the lines themselves follow from `mcr`
    modem_delta: Msr,
}

impl Default for Uart {
    fn default() -> Self {
        Self::new()
    }
}

impl Uart {
    /// A UART just after master reset (section 8.0, table III).
    #[must_use]
    pub const fn new() -> Self {
        Self {
            rx: Fifo::new(),
            tx: Fifo::new(),
            // Table III leaves the divisor open; 12 is 9600 baud from a PC's 1.8432 MHz crystal, as firmware does.
            divisor: [12, 0],
            ier: Ier::empty(),
            fcr: Fcr::empty(),
            lcr: Lcr::empty(),
            mcr: Mcr::empty(),
            scratch: 0,
            overrun: false,
            transmit_pending: false,
            modem_delta: Msr::empty(),
        }
    }

    /// Master reset: bytes in the FIFOs are lost.
    pub fn reset(&mut self) {
        *self = Self::new();
    }

    /// Reads the register at `offset`, of which the low three bits count.
    pub fn read(&mut self, offset: u8, line: &mut impl SerialLine) -> u8 {
        match offset & 7 {
            offset::DATA if self.dlab() => self.divisor[0],
            offset::DATA => {
                let byte = self.rx.pop_front().unwrap_or(0);
                self.fetch(line);
                byte
            }
            offset::IER if self.dlab() => self.divisor[1],
            offset::IER => self.ier.bits(),
            offset::IIR => self.read_iir(),
            offset::LCR => self.lcr.bits(),
            offset::MCR => self.mcr.bits(),
            offset::LSR => {
                let status = self.line_status();
                self.overrun = false;
                status.bits()
            }
            offset::MSR => {
                let status = self.modem_lines() | self.modem_delta;
                self.modem_delta = Msr::empty();
                status.bits()
            }
            _ => self.scratch,
        }
    }

    /// Writes the register at `offset`, of which the low three bits count. Read-only ones stay as they are.
    pub fn write(&mut self, offset: u8, value: u8, line: &mut impl SerialLine) {
        match offset & 7 {
            offset::DATA if self.dlab() => self.divisor[0] = value,
            offset::DATA => self.transmit(value, line),
            offset::IER if self.dlab() => self.divisor[1] = value,
            offset::IER => self.write_ier(Ier::from_bits_truncate(value)),
            offset::FCR => {
                self.write_fcr(Fcr::from_bits_truncate(value));
                self.fetch(line);
            }
            offset::LCR => self.lcr = Lcr::from_bits_truncate(value),
            offset::MCR => {
                self.write_mcr(Mcr::from_bits_truncate(value));
                self.poll(line);
            }
            offset::SCR => self.scratch = value,
            _ => {}
        }
    }

    /// Moves bytes: out of the transmit FIFO while the line takes them, in while the receive FIFO has room.
    pub fn poll(&mut self, line: &mut impl SerialLine) {
        self.drain(line);
        self.fetch(line);
    }

    /// Whether bytes wait for the line to have room: the owner polls again when it has.
    #[inline]
    #[must_use]
    pub fn is_sending(&self) -> bool {
        !self.tx.is_empty()
    }

    /// Whether a byte that the line receives would be taken now.
    #[inline]
    #[must_use]
    pub const fn can_receive(&self) -> bool {
        self.rx.len() < self.capacity() && !self.mcr.contains(Mcr::LOOP)
    }

    const fn dlab(&self) -> bool {
        self.lcr.contains(Lcr::DLAB)
    }

    const fn fifos(&self) -> bool {
        self.fcr.contains(Fcr::ENABLE)
    }

    /// Bytes that either direction holds: one without FIFOs.
    const fn capacity(&self) -> usize {
        if self.fifos() { FIFO_SIZE } else { 1 }
    }

    fn line_status(&self) -> Lsr {
        let mut status = Lsr::empty();
        if !self.rx.is_empty() {
            status = status.union(Lsr::DATA);
        }
        if self.overrun {
            status = status.union(Lsr::OVERRUN);
        }
        if self.tx.is_empty() {
            status = status.union(Lsr::THR_EMPTY).union(Lsr::TX_EMPTY);
        }
        status
    }

    /// The upper half of MSR: the pins, or in loopback our own outputs (section 8.8, bit 4).
    fn modem_lines(&self) -> Msr {
        if !self.mcr.contains(Mcr::LOOP) {
            return MODEM_OUTSIDE;
        }
        [
            (Mcr::RTS, Msr::CTS),
            (Mcr::DTR, Msr::DSR),
            (Mcr::OUT1, Msr::RI),
            (Mcr::OUT2, Msr::DCD),
        ]
        .into_iter()
        .filter(|(output, _)| self.mcr.contains(*output))
        .fold(Msr::empty(), |lines, (_, input)| lines | input)
    }

    /// Switching the FIFOs on or off empties both (section 8.5, bit 0).
    fn write_fcr(&mut self, fcr: Fcr) {
        let switched = self.fcr.symmetric_difference(fcr).contains(Fcr::ENABLE);
        let enabled = fcr.contains(Fcr::ENABLE);
        if switched || (enabled && fcr.contains(Fcr::CLEAR_RX)) {
            self.rx.clear();
        }
        if (switched || (enabled && fcr.contains(Fcr::CLEAR_TX))) && !self.tx.is_empty() {
            self.tx.clear();
            self.transmit_pending = true;
        }
        self.fcr = if enabled {
            fcr & (Fcr::ENABLE | Fcr::TRIGGER)
        } else {
            Fcr::empty()
        };
    }

    fn write_mcr(&mut self, mcr: Mcr) {
        let before = self.modem_lines();
        self.mcr = mcr;
        let after = self.modem_lines();
        for (line, delta) in [
            (Msr::CTS, Msr::DELTA_CTS),
            (Msr::DSR, Msr::DELTA_DSR),
            (Msr::DCD, Msr::DELTA_DCD),
        ] {
            self.modem_delta.set(
                delta,
                self.modem_delta.contains(delta) || before.contains(line) != after.contains(line),
            );
        }
        if before.contains(Msr::RI) && !after.contains(Msr::RI) {
            self.modem_delta |= Msr::TRAILING_RI;
        }
    }

    /// A byte written while there is no room is lost, as on silicon; a driver that heeds THRE never gets there.
    fn transmit(&mut self, byte: u8, line: &mut impl SerialLine) {
        let capacity = self.capacity();
        push(&mut self.tx, capacity, byte);
        self.transmit_pending = false;
        self.drain(line);
    }

    fn drain(&mut self, line: &mut impl SerialLine) {
        if self.tx.is_empty() {
            return;
        }
        while let Some(&byte) = self.tx.front() {
            if self.mcr.contains(Mcr::LOOP) {
                self.loop_back(byte);
            } else if !line.send(byte) {
                return;
            }
            self.tx.pop_front();
        }
        self.transmit_pending = true;
    }

    /// Overrun keeps what the FIFO holds; without FIFOs the newer byte replaces the older (section 8.3, bit 1).
    fn loop_back(&mut self, byte: u8) {
        let capacity = self.capacity();
        if push(&mut self.rx, capacity, byte) {
            return;
        }
        self.overrun = true;
        if !self.fifos() {
            self.rx.clear();
            push(&mut self.rx, 1, byte);
        }
    }

    fn fetch(&mut self, line: &mut impl SerialLine) {
        while self.can_receive() {
            match line.receive() {
                Some(byte) => push(&mut self.rx, FIFO_SIZE, byte),
                None => return,
            };
        }
    }
}

/// Adds a byte to a FIFO that holds `capacity` bytes; `false` if there is no room.
fn push(fifo: &mut Fifo, capacity: usize, byte: u8) -> bool {
    fifo.len() < capacity && fifo.push_back(byte).is_ok()
}
