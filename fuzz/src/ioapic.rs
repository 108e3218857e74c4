//! The I/O APIC beside the data sheet's words: remote IRR, masks, edges and levels of each pin, kept the slow way.

use crate::each;
use arbitrary::Arbitrary;
use devices::ioapic::Message;
use devices::{Delivery, IoApic};
use spec::ioapic::{PINS, offset};
use spec::{Vector, Width};

#[derive(Arbitrary, Debug)]
enum Op {
    Access(u16, u8, u64),
    Register(u8, u32),
    /// Few pins and vectors, so that levels, masks and ends meet
    Entry {
        pin: u8,
        vector: u8,
        level: bool,
        masked: bool,
    },
    Pin(u8, bool),
    Eoi(u8),
    End(u8),
    Reset,
}

/// A pin as the data sheet has it (section 3.2.4).
#[derive(Clone, Copy)]
struct Pin {
    entry: u64,
    asserted: bool,
}

const LEVEL: u64 = 1 << 15;
const REMOTE_IRR: u64 = 1 << 14;
const MASKED: u64 = 1 << 16;
/// Vector, delivery and destination modes, polarity, trigger mode, mask, destination
const WRITABLE: u64 = 0xff00_0000_0001_afff;

impl Pin {
    fn vector(self) -> u8 {
        self.entry as u8
    }

    fn mode(self) -> u64 {
        self.entry >> 8 & 7
    }

    /// Whether a message of it has an end.
    fn has_end(self) -> bool {
        self.entry & LEVEL != 0 && self.mode() < 2 && self.vector() >= 16
    }

    /// Whether the entry can send at all: no vector below 16, no reserved mode, no ExtINT.
    fn sends(self) -> bool {
        match self.mode() {
            0 | 1 => self.vector() >= 16,
            mode => !matches!(mode, 3 | 7),
        }
    }

    /// A level that is asserted, open and not under way goes off.
    fn goes_off(&mut self) -> bool {
        let goes = self.has_end() && self.asserted && self.entry & (MASKED | REMOTE_IRR) == 0;
        if goes {
            self.entry |= REMOTE_IRR;
        }
        goes
    }

    fn set(&mut self, asserted: bool) -> bool {
        let rises = asserted && !self.asserted;
        self.asserted = asserted;
        if self.has_end() {
            return self.goes_off();
        }
        rises && self.sends() && self.entry & MASKED == 0
    }

    fn write(&mut self, half: u32, value: u32) -> bool {
        let kept = self.entry & !(0xffff_ffff << half);
        let remote = self.entry & REMOTE_IRR;
        self.entry = (kept | u64::from(value) << half) & WRITABLE;
        if self.entry & LEVEL != 0 {
            self.entry |= remote;
        }
        self.goes_off()
    }

    fn end(&mut self, vector: u8) -> bool {
        if self.entry & REMOTE_IRR == 0 || self.vector() != vector {
            return false;
        }
        self.entry &= !REMOTE_IRR;
        self.goes_off()
    }
}

struct Model {
    pins: [Pin; PINS as usize],
    select: u8,
    id: u8,
}

impl Model {
    const BORN: u8 = 5;

    fn new() -> Self {
        let pin = Pin {
            entry: MASKED,
            asserted: false,
        };
        Self {
            pins: [pin; PINS as usize],
            select: 0,
            id: Self::BORN,
        }
    }

    fn end(&mut self, vector: u8) -> Vec<u8> {
        (0..PINS)
            .filter(|&pin| self.pins[usize::from(pin)].end(vector))
            .collect()
    }

    /// The pins that send because of it.
    fn write(&mut self, at: u16, width: Width, value: u64) -> Option<Vec<u8>> {
        match (at, width) {
            (offset::SELECT, Width::B1 | Width::B2 | Width::B4) => self.select = value as u8,
            (offset::EOI, Width::B4) => return Some(self.end(value as u8)),
            (offset::WINDOW, Width::B4) => {
                let value = value as u32;
                if self.select == 0 {
                    self.id = (value >> 24) as u8 & 0xf;
                }
                let number = self.select.wrapping_sub(0x10);
                if number < 2 * PINS {
                    let half = 32 * u32::from(number & 1);
                    let sends = self.pins[usize::from(number / 2)].write(half, value);
                    return Some(if sends { vec![number / 2] } else { vec![] });
                }
            }
            _ => return None,
        }
        Some(vec![])
    }

    fn reset(&mut self) {
        let asserted = self.pins.map(|pin| pin.asserted);
        *self = Self::new();
        for (pin, asserted) in self.pins.iter_mut().zip(asserted) {
            pin.asserted = asserted;
        }
    }
}

fn read(chip: &mut IoApic, number: u8) -> u32 {
    let select = chip.write(offset::SELECT, Width::B4, number.into());
    assert_eq!(select.map(Iterator::count), Ok(0));
    let value = chip.read(offset::WINDOW, Width::B4);
    value.unwrap_or_else(|e| panic!("{e:?}")) as u32
}

/// Tries one sequence.
///
/// # Panics
/// If the chip sends what the model does not, or a register reads otherwise.
pub fn one(data: &[u8]) {
    let (mut chip, mut model) = (IoApic::new(Model::BORN), Model::new());
    for op in each(data) {
        step(&mut chip, &mut model, op);
        // The others when all is done: there are many.
        same(&chip, &model, 4);
    }
    same(&chip, &model, PINS);
    assert_eq!(read(&mut chip, 0), u32::from(model.id) << 24);
}

/// The first pins are the same in both.
fn same(chip: &IoApic, model: &Model, pins: u8) {
    let mut seen = chip.clone();
    for (n, pin) in (0..pins).zip(&model.pins) {
        let low = u64::from(read(&mut seen, 0x10 + 2 * n));
        let entry = u64::from(read(&mut seen, 0x11 + 2 * n)) << 32 | low;
        assert_eq!(entry, pin.entry, "entry of pin {n}");
        assert_eq!(chip.is_asserted(n), pin.asserted, "pin {n}");
    }
}

fn step(chip: &mut IoApic, model: &mut Model, op: Op) {
    let (sent, pins): (Vec<Message>, _) = match op {
        Op::Access(at, width, value) => {
            let width = [Width::B1, Width::B2, Width::B4, Width::B8][usize::from(width & 3)];
            let at = [offset::SELECT, offset::WINDOW, offset::EOI, at][usize::from(at & 3)];
            let written = chip.write(at, width, value).map(Iterator::collect);
            let pins = model.write(at, width, value);
            assert_eq!(written.is_ok(), pins.is_some());
            assert_eq!(chip.read(at, width).is_ok(), pins.is_some());
            (written.unwrap_or_default(), pins.unwrap_or_default())
        }
        Op::Register(number, value) => write(chip, model, number, value),
        Op::Entry {
            pin,
            vector,
            level,
            masked,
        } => {
            let entry =
                (0x30 + u32::from(vector & 3)) | u32::from(level) << 15 | u32::from(masked) << 16;
            write(chip, model, 0x10 + 2 * (pin & 3), entry)
        }
        Op::Pin(pin, asserted) => {
            let pin = if pin & 0x80 == 0 { pin & 3 } else { pin & 0x3f };
            let sent = chip.set_pin(pin, asserted).into_iter().collect();
            let sends = model
                .pins
                .get_mut(usize::from(pin))
                .is_some_and(|pin| pin.set(asserted));
            (sent, if sends { vec![pin] } else { vec![] })
        }
        Op::Eoi(vector) => (chip.eoi(Vector(vector)).collect(), model.end(vector)),
        Op::End(vector) => {
            let vector = 0x30 + (vector & 3);
            (chip.eoi(Vector(vector)).collect(), model.end(vector))
        }
        Op::Reset => {
            chip.reset();
            model.reset();
            (vec![], vec![])
        }
    };
    assert_eq!(sent.len(), pins.len(), "{pins:?} send, not {sent:?}");
    for (message, pin) in sent.iter().zip(pins) {
        let pin = model.pins[usize::from(pin)];
        assert_eq!(message.level, pin.has_end());
        match message.delivery {
            Delivery::Fixed(vector) | Delivery::LowestPriority(vector) => {
                assert_eq!(vector.0, pin.vector());
                assert!(vector.0 >= 16);
            }
            Delivery::StartUp(page) => assert_eq!(page, pin.vector()),
            Delivery::Smi | Delivery::Nmi | Delivery::Init => {}
        }
    }
}

fn write(chip: &mut IoApic, model: &mut Model, number: u8, value: u32) -> (Vec<Message>, Vec<u8>) {
    let mut all = (vec![], vec![]);
    let accesses = [(offset::SELECT, number.into()), (offset::WINDOW, value)];
    for (at, value) in accesses {
        let sent = chip.write(at, Width::B4, value.into());
        all.0.extend(sent.into_iter().flatten());
        all.1
            .extend(model.write(at, Width::B4, value.into()).unwrap_or_default());
    }
    all
}
