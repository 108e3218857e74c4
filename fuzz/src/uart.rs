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

/// A line that takes `room` bytes and then no more. What it gives counts up, so that a byte that is lost shows.
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

/// What the guest has written, and what it may read, as the data sheet has it.
#[derive(Default)]
struct Model {
    ier: u8,
    fcr: u8,
    lcr: u8,
    mcr: u8,
    scratch: u8,
    divisor: [u8; 2],
    /// Written and not sent; bounded by the FIFO
    sending: VecDeque<u8>,
}

impl Model {
    fn new() -> Self {
        Self {
            divisor: [12, 0],
            ..Self::default()
        }
    }

    fn is(&self, at: u8, dlab: bool) -> bool {
        let has = self.lcr & Lcr::DLAB.bits() != 0;
        at == offset::DATA && has == dlab
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

    fn write(&mut self, at: u8, value: u8) {
        let dlab = self.lcr & Lcr::DLAB.bits() != 0;
        match at {
            offset::DATA if dlab => self.divisor[0] = value,
            offset::DATA => {
                if self.sending.len() < self.capacity() {
                    self.sending.push_back(value);
                }
            }
            offset::IER if dlab => self.divisor[1] = value,
            offset::IER => self.ier = value & Ier::all().bits(),
            offset::FCR => {
                let switched = (self.fcr ^ value) & 1 != 0;
                if switched || value & 5 == 5 {
                    self.sending.clear();
                }
                self.fcr = if value & 1 != 0 { value & 0xc1 } else { 0 };
            }
            offset::LCR => self.lcr = value,
            offset::MCR => self.mcr = value & Mcr::all().bits(),
            offset::SCR => self.scratch = value,
            _ => {}
        }
    }

    /// What a register that keeps what was written reads.
    fn kept(&self, at: u8) -> Option<u8> {
        let dlab = self.lcr & Lcr::DLAB.bits() != 0;
        Some(match at {
            offset::DATA if dlab => self.divisor[0],
            offset::IER if dlab => self.divisor[1],
            offset::IER => self.ier,
            offset::LCR => self.lcr,
            offset::MCR => self.mcr,
            offset::SCR => self.scratch,
            _ => return None,
        })
    }
}

/// Tries one sequence.
///
/// # Panics
/// If a register does not read as it was written, a byte is lost, doubled or made up, or the line and what the registers say of it
/// disagree.
pub fn one(data: &[u8]) {
    let (mut uart, mut model, mut line) = (Uart::new(), Model::new(), Line::default());
    let mut last = 0u8;
    for op in each(data) {
        match op {
            Op::Read(at) => {
                let at = at & 7;
                let lsr = status(&uart);
                let received = line.next;
                let value = uart.read(at, &mut line);
                if let Some(kept) = model.kept(at) {
                    assert_eq!(value, kept, "register {at}");
                }
                if model.is(at, false) && !lsr.contains(Lsr::DATA) {
                    assert_eq!(value, 0, "nothing was there");
                }
                if !model.loops() && model.is(at, false) && lsr.contains(Lsr::DATA) {
                    // In order, whatever loopback or a cleared FIFO has let fall in between.
                    assert!(value == 0 || received.wrapping_sub(value) <= 16 || last != value);
                    last = value;
                }
            }
            Op::Write(at, value) => {
                model.write(at & 7, value);
                uart.write(at, value, &mut line);
            }
            Op::Room(room) => line.room = room % 40,
            Op::Input(input) => line.input = line.input.saturating_add(input % 40),
            Op::Poll => uart.poll(&mut line),
            Op::Reset => {
                uart.reset();
                assert_eq!(uart, Uart::new());
                model = Model::new();
            }
        }
        if model.loops() {
            // They went to the receiver.
            assert!(line.sent.is_empty());
            model.sending.clear();
        }
        for byte in line.sent.drain(..) {
            assert_eq!(Some(byte), model.sending.pop_front(), "sent");
        }
        sane(&uart, &model);
    }
}

fn status(uart: &Uart) -> Lsr {
    let mut seen = uart.clone();
    Lsr::from_bits_retain(seen.read(offset::LSR, &mut Line::default()))
}

fn sane(uart: &Uart, model: &Model) {
    let lsr = status(uart);
    assert_eq!(lsr.contains(Lsr::THR_EMPTY), !uart.is_sending());
    assert_eq!(lsr.contains(Lsr::TX_EMPTY), !uart.is_sending());
    assert_eq!(uart.is_sending(), !model.sending.is_empty(), "what waits");
    let mut seen = uart.clone();
    let identification = seen.read(offset::IIR, &mut Line::default());
    let open = model.mcr & (Mcr::OUT2 | Mcr::LOOP).bits() == Mcr::OUT2.bits();
    assert_eq!(uart.interrupt(), open && identification & 1 == 0);
    assert_eq!(
        identification & iir::FIFOS == iir::FIFOS,
        model.fcr & 1 != 0
    );
    if model.ier == 0 {
        assert_eq!(identification & iir::MASK, iir::NONE);
    }
}
