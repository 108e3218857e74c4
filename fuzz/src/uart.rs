//! The UART: any accesses, on a line that is fast or slow.

use crate::each;
use arbitrary::Arbitrary;
use devices::Uart;
use seam::SerialLine;
use spec::uart::{FIFO_SIZE, Fcr, Ier, Lcr, Lsr, Mcr, iir, offset};
use std::collections::VecDeque;

#[derive(Arbitrary, Debug)]
enum Op {
    Read(u8),
    Write(u8, u8),
    /// The line takes so many more bytes.
    Room(u8),
    /// The line has received so many more.
    Input(u8),
    Poll,
    Reset,
}

/// A line that takes `room` bytes and then no more. What it gives counts up, so that a byte that is lost or doubled shows.
#[derive(Default)]
struct Line {
    sent: VecDeque<u8>,
    room: u8,
    input: u8,
    next: u8,
}

impl SerialLine for Line {
    fn send(&mut self, byte: u8) -> bool {
        if self.room > 0 {
            self.room -= 1;
            self.sent.push_back(byte);
            return true;
        }
        false
    }

    fn receive(&mut self) -> Option<u8> {
        self.input = self.input.checked_sub(1)?;
        self.next = self.next.wrapping_add(1);
        Some(self.next)
    }
}

/// What the data sheet says of bytes and of registers that keep what was written.
#[derive(Default)]
struct Model {
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: [u8; 2],
    sending: VecDeque<u8>,
    received: VecDeque<u8>,
    overrun: bool,
}

impl Model {
    fn new() -> Self {
        Self {
            divisor: [12, 0],
            ..Self::default()
        }
    }

    fn dlab(&self) -> bool {
        self.lcr & Lcr::DLAB.bits() != 0
    }

    fn loops(&self) -> bool {
        self.mcr & Mcr::LOOP.bits() != 0
    }

    fn capacity(&self) -> usize {
        if self.fcr & Fcr::ENABLE.bits() != 0 {
            FIFO_SIZE
        } else {
            1
        }
    }

    fn poll(&mut self, line: &mut Line) {
        while let Some(&byte) = self.sending.front() {
            if self.loops() {
                self.loop_back(byte);
            } else if !line.send(byte) {
                break;
            }
            self.sending.pop_front();
        }
        while !self.loops() && self.received.len() < self.capacity() {
            let Some(byte) = line.receive() else {
                break;
            };
            self.received.push_back(byte);
        }
    }

    /// Section 8.3, bit 1, and section 8.8, bit 4
    fn loop_back(&mut self, byte: u8) {
        let is_full = self.received.len() >= self.capacity();
        self.overrun |= is_full;
        if is_full && self.capacity() == 1 {
            self.received.clear();
        }
        if self.received.len() < self.capacity() {
            self.received.push_back(byte);
        }
    }

    fn write(&mut self, at: u8, value: u8, line: &mut Line) {
        match at {
            offset::DATA if self.dlab() => self.divisor[0] = value,
            offset::DATA => {
                if self.sending.len() < self.capacity() {
                    self.sending.push_back(value);
                }
                self.poll(line);
            }
            offset::IER if self.dlab() => self.divisor[1] = value,
            offset::IER => self.ier = value & Ier::all().bits(),
            offset::FCR => {
                let switched = (self.fcr ^ value) & 1 != 0;
                if switched || value & 3 == 3 {
                    self.received.clear();
                }
                if switched || value & 5 == 5 {
                    self.sending.clear();
                }
                self.fcr = if value & 1 != 0 { value & 0xc1 } else { 0 };
                self.poll(line);
            }
            offset::LCR => self.lcr = value,
            offset::MCR => {
                self.mcr = value & Mcr::all().bits();
                self.poll(line);
            }
            offset::SCR => self.scratch = value,
            _ => {}
        }
    }

    /// What it reads; `None` of IIR and MSR, which are judged by what else is known.
    fn read(&mut self, at: u8, line: &mut Line) -> Option<u8> {
        Some(match at {
            offset::DATA if self.dlab() => self.divisor[0],
            offset::DATA => {
                let byte = self.received.pop_front().unwrap_or(0);
                self.poll(line);
                byte
            }
            offset::IER if self.dlab() => self.divisor[1],
            offset::IER => self.ier,
            offset::LCR => self.lcr,
            offset::MCR => self.mcr,
            offset::SCR => self.scratch,
            offset::LSR => {
                let mut status = Lsr::empty();
                status.set(Lsr::DATA, !self.received.is_empty());
                status.set(Lsr::OVERRUN, self.overrun);
                status.set(Lsr::THR_EMPTY | Lsr::TX_EMPTY, self.sending.is_empty());
                self.overrun = false;
                status.bits()
            }
            _ => return None,
        })
    }
}

/// Tries one sequence.
///
/// # Panics
/// If a register does not read as the model's, a byte is lost, doubled or made up, or the interrupt line does not follow.
pub fn one(data: &[u8]) {
    let (mut uart, mut line) = (Uart::new(), Line::default());
    let (mut model, mut models) = (Model::new(), Line::default());
    for op in each(data) {
        match op {
            Op::Read(at) => {
                // Reading does nothing to the transmitter, so what waits there may go at another time.
                let value = uart.read(at, &mut line);
                if let Some(expected) = model.read(at & 7, &mut models) {
                    assert_eq!(value, expected, "register {}", at & 7);
                }
            }
            Op::Write(at, value) => {
                model.write(at & 7, value, &mut models);
                uart.write(at, value, &mut line);
            }
            Op::Room(room) => {
                line.room = room % 40;
                models.room = line.room;
            }
            Op::Input(input) => {
                line.input = line.input.saturating_add(input % 40);
                models.input = line.input;
            }
            Op::Poll => {}
            Op::Reset => {
                uart.reset();
                assert_eq!(uart, Uart::new());
                model = Model::new();
            }
        }
        // An owner polls whenever the line may have room.
        uart.poll(&mut line);
        model.poll(&mut models);
        assert_eq!(line.sent, models.sent, "sent");
        line.sent.clear();
        models.sent.clear();
        same(&uart, &model);
    }
}

fn same(uart: &Uart, model: &Model) {
    let mut seen = uart.clone();
    let quiet = &mut Line::default();
    assert_eq!(uart.is_sending(), !model.sending.is_empty(), "what waits");
    let identification = seen.read(offset::IIR, quiet);
    let open = model.mcr & (Mcr::OUT2 | Mcr::LOOP).bits() == Mcr::OUT2.bits();
    assert_eq!(uart.interrupt(), open && identification & 1 == 0);
    let fifos = identification & iir::FIFOS == iir::FIFOS;
    assert_eq!(fifos, model.fcr & 1 != 0);
    let source = identification & iir::MASK;
    let enabled = |bit: Ier| model.ier & bit.bits() != 0;
    if model.ier == 0 {
        assert_eq!(source, iir::NONE);
    } else if enabled(Ier::LINE_STATUS) && model.overrun {
        assert_eq!(source, iir::LINE_STATUS);
    } else if enabled(Ier::DATA) && !model.received.is_empty() {
        let trigger = match (fifos, model.fcr >> 6) {
            (false, _) | (_, 0) => 1,
            (_, 1) => 4,
            (_, 2) => 8,
            _ => 14,
        };
        let is_reached = model.received.len() >= trigger;
        let expected = if is_reached { iir::DATA } else { iir::TIMEOUT };
        assert_eq!(source, expected);
    } else {
        assert!(matches!(source, iir::NONE | iir::TRANSMIT | iir::MODEM));
    }
    assert!(source != iir::TRANSMIT || enabled(Ier::TRANSMIT));
    assert!(source != iir::MODEM || enabled(Ier::MODEM));
}
