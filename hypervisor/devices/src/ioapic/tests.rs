extern crate std;

use super::*;
use proptest::prelude::*;
use std::vec::Vec;

const LEVEL: u64 = 1 << 15;
const MASKED: u64 = 1 << 16;

fn get(chip: &mut IoApic, number: u8) -> u32 {
    select(chip, number);
    chip.read(offset::WINDOW, Width::B4).unwrap() as u32
}

fn put(chip: &mut IoApic, number: u8, value: u32) -> Vec<Message> {
    select(chip, number);
    chip.write(offset::WINDOW, Width::B4, value.into())
        .unwrap()
        .collect()
}

fn select(chip: &mut IoApic, number: u8) {
    let none = chip
        .write(offset::SELECT, Width::B4, number.into())
        .unwrap();
    assert_eq!(none.count(), 0);
}

/// Writes a pin's entry, high half first as Linux does.
fn route(chip: &mut IoApic, pin: u8, entry: u64) -> Vec<Message> {
    let mut sent = put(chip, 0x11 + 2 * pin, (entry >> 32) as u32);
    sent.extend(put(chip, 0x10 + 2 * pin, entry as u32));
    sent
}

fn entry(chip: &mut IoApic, pin: u8) -> u64 {
    u64::from(get(chip, 0x11 + 2 * pin)) << 32 | u64::from(get(chip, 0x10 + 2 * pin))
}

fn fixed(vector: u8, level: bool) -> Message {
    Message {
        delivery: Delivery::Fixed(Vector(vector)),
        destination: Destination::Physical(0),
        level,
    }
}

#[test]
fn it_is_version_0x20_with_24_masked_pins() {
    let mut chip = IoApic::new(2);
    assert_eq!(get(&mut chip, 0), 2 << 24);
    assert_eq!(get(&mut chip, 1), 0x0017_0020);
    assert_eq!(get(&mut chip, 2), 2 << 24);
    for pin in 0..24 {
        assert_eq!(entry(&mut chip, pin), MASKED);
    }
    assert_eq!(get(&mut chip, 0x40), 0, "beyond the last entry");
    assert_eq!(put(&mut chip, 0x40, u32::MAX), []);
    assert_eq!(put(&mut chip, 0, u32::MAX), []);
    assert_eq!(get(&mut chip, 0), 0x0f00_0000);
}

#[test]
fn an_entry_keeps_its_writable_bits() {
    for pin in 0..24 {
        let mut chip = IoApic::new(0);
        route(&mut chip, pin, u64::MAX);
        assert_eq!(entry(&mut chip, pin), 0xff00_0000_0001_afff);
        route(&mut chip, pin, 0);
        assert_eq!(entry(&mut chip, pin), 0);
    }
}

#[test]
fn the_window_takes_words_and_the_index_takes_bytes() {
    let mut chip = IoApic::new(0);
    for width in [Width::B1, Width::B2, Width::B4] {
        assert!(chip.write(offset::SELECT, width, 1).is_ok());
        assert_eq!(chip.read(offset::SELECT, width), Ok(1));
    }
    for at in [offset::WINDOW, offset::EOI] {
        for width in [Width::B1, Width::B2, Width::B8] {
            assert_eq!(chip.read(at, width), Err(AccessError::Width));
            assert_eq!(chip.write(at, width, 0).err(), Some(AccessError::Width));
        }
    }
    for at in [0x04, 0x11, 0x20, 0xfff] {
        assert_eq!(chip.read(at, Width::B4), Err(AccessError::Absent));
    }
}

#[test]
fn an_edge_sends_once_as_it_rises() {
    let mut chip = IoApic::new(0);
    assert_eq!(route(&mut chip, 4, 0x34), []);
    assert_eq!(chip.set_pin(4, true), Some(fixed(0x34, false)));
    assert_eq!(chip.set_pin(4, true), None);
    assert_eq!(chip.set_pin(4, false), None);
    assert_eq!(chip.set_pin(4, true), Some(fixed(0x34, false)));
    assert_eq!(entry(&mut chip, 4), 0x34, "an edge has no remote IRR");
}

#[test]
fn an_edge_that_meets_a_mask_is_lost_and_a_level_waits() {
    let mut chip = IoApic::new(0);
    route(&mut chip, 4, 0x34 | MASKED);
    assert_eq!(chip.set_pin(4, true), None);
    assert_eq!(route(&mut chip, 4, 0x34), []);
    route(&mut chip, 5, 0x35 | LEVEL | MASKED);
    assert_eq!(chip.set_pin(5, true), None);
    assert_eq!(route(&mut chip, 5, 0x35 | LEVEL), [fixed(0x35, true)]);
}

#[test]
fn a_level_sends_again_after_each_end_while_asserted() {
    let mut chip = IoApic::new(0);
    route(&mut chip, 5, 0x35 | LEVEL);
    assert_eq!(chip.set_pin(5, true), Some(fixed(0x35, true)));
    assert_eq!(entry(&mut chip, 5), 0x35 | LEVEL | 1 << 14);
    assert_eq!(chip.set_pin(5, false), None);
    assert_eq!(chip.set_pin(5, true), None, "not before its end");
    assert_eq!(chip.eoi(Vector(0x36)).count(), 0, "another vector's end");
    assert_eq!(
        chip.eoi(Vector(0x35)).collect::<Vec<_>>(),
        [fixed(0x35, true)]
    );
    chip.set_pin(5, false);
    assert_eq!(chip.eoi(Vector(0x35)).count(), 0);
    assert_eq!(entry(&mut chip, 5), 0x35 | LEVEL);
}

#[test]
fn the_eoi_register_does_as_an_end_of_interrupt() {
    let mut chip = IoApic::new(0);
    for pin in [3, 23] {
        route(&mut chip, pin, 0x50 | LEVEL);
        chip.set_pin(pin, true);
    }
    let sent = chip.write(offset::EOI, Width::B4, 0x50).unwrap();
    assert_eq!(
        sent.collect::<Vec<_>>(),
        [fixed(0x50, true); 2],
        "both pins that share the vector"
    );
}

#[test]
fn linux_clears_a_stuck_remote_irr_by_way_of_an_edge() {
    let mut chip = IoApic::new(0);
    route(&mut chip, 5, 0x35 | LEVEL);
    chip.set_pin(5, true);
    route(&mut chip, 5, 0x35 | LEVEL | MASKED);
    assert_eq!(entry(&mut chip, 5) >> 14 & 1, 1, "a mask alone keeps it");
    route(&mut chip, 5, 0x35 | MASKED);
    route(&mut chip, 5, 0x35 | LEVEL | MASKED);
    assert_eq!(entry(&mut chip, 5) >> 14 & 1, 0);
}

#[test]
fn messages_carry_mode_and_destination() {
    let mut chip = IoApic::new(0);
    let mut send = |entry: u64| {
        chip.set_pin(9, false);
        route(&mut chip, 9, entry);
        chip.set_pin(9, true)
    };
    let to = |destination| {
        Some(Message {
            destination,
            ..fixed(0x41, false)
        })
    };
    assert_eq!(send(0x41 | 7 << 56), to(Destination::Physical(7)));
    assert_eq!(send(0x41 | 0xff << 56), to(Destination::All));
    assert_eq!(
        send(0x41 | 0xff << 56 | 1 << 11),
        to(Destination::Logical(0xff))
    );
    let kinds = [
        (1, Some(Delivery::LowestPriority(Vector(0x41)))),
        (2, Some(Delivery::Smi)),
        (3, None),
        (4, Some(Delivery::Nmi)),
        (5, Some(Delivery::Init)),
        (6, Some(Delivery::StartUp(0x41))),
        (7, None),
    ];
    for (mode, delivery) in kinds {
        assert_eq!(
            send(0x41 | mode << 8).map(|m| m.delivery),
            delivery,
            "mode {mode}"
        );
    }
    assert_eq!(send(0x0f), None, "vectors below 16 are not sent");
    let nmi = send(0x400 | LEVEL).unwrap();
    assert!(!nmi.level, "an NMI has no end to wait for");
}

#[test]
fn pins_that_are_not_there_do_nothing() {
    let mut chip = IoApic::new(0);
    for pin in [24, 31, 32, 255] {
        assert_eq!(chip.set_pin(pin, true), None);
        assert!(!chip.is_asserted(pin));
    }
    assert_eq!(chip, IoApic::new(0));
}

#[derive(Clone, Debug)]
enum Op {
    Access(u16, Width, u64),
    Register(u8, u32),
    Pin(u8, bool),
    Eoi(u8),
}

fn op() -> impl Strategy<Value = Op> {
    let width = prop::sample::select(&[Width::B1, Width::B2, Width::B4, Width::B8][..]);
    // Few pins and vectors, so that levels, masks and ends meet.
    let entry = (0..4u32, any::<[bool; 2]>()).prop_map(|(v, [level, masked])| {
        0x30 + v + if level { 1 << 15 } else { 0 } + if masked { 1 << 16 } else { 0 }
    });
    prop_oneof![
        1 => (prop_oneof![Just(0u16), Just(0x10), Just(0x40), any::<u16>()], width, any::<u64>()).prop_map(|(o, w, v)| Op::Access(o, w, v)),
        1 => any::<(u8, u32)>().prop_map(|(n, v)| Op::Register(n, v)),
        4 => (0..4u8, entry).prop_map(|(pin, v)| Op::Register(0x10 + 2 * pin, v)),
        6 => (0..4u8, any::<bool>()).prop_map(|(p, l)| Op::Pin(p, l)),
        1 => any::<(u8, bool)>().prop_map(|(p, l)| Op::Pin(p, l)),
        3 => (0x30..0x34u8).prop_map(Op::Eoi),
    ]
}

proptest! {
    /// Each level-triggered pin has at most one message under way, and has one whenever it is asserted and open:
    /// none is lost, none is doubled.
    #[test]
    fn a_level_has_exactly_one_message_under_way(ops in prop::collection::vec(op(), 0..200)) {
        let mut chip = IoApic::new(1);
        for op in ops {
            let before = chip.clone();
            let sent: Vec<Message> = match op {
                Op::Access(at, width, value) => {
                    let _ = chip.read(at, width);
                    chip.write(at, width, value).map(|m| m.collect()).unwrap_or_default()
                }
                Op::Register(number, value) => put(&mut chip, number, value),
                Op::Pin(pin, asserted) => chip.set_pin(pin, asserted).into_iter().collect(),
                Op::Eoi(vector) => chip.eoi(Vector(vector)).collect(),
            };
            let remote = |chip: &IoApic, pin: u8| chip.entries[usize::from(pin)].contains(Redirection::REMOTE_IRR);
            for pin in 0..PINS {
                let entry = chip.entries[usize::from(pin)];
                let level = message(entry).is_some_and(|m| m.level);
                if level && chip.is_asserted(pin) && !entry.contains(Redirection::MASKED) {
                    prop_assert!(remote(&chip, pin), "pin {} is open and waits", pin);
                }
                if !entry.contains(Redirection::LEVEL) {
                    prop_assert!(!remote(&chip, pin));
                }
            }
            // An end and its successor cancel out in remote IRR, so ends are judged by vector below.
            if !matches!(op, Op::Eoi(_) | Op::Access(..)) {
                let begun = (0..PINS).filter(|&p| remote(&chip, p) && !remote(&before, p)).count();
                prop_assert_eq!(sent.iter().filter(|m| m.level).count(), begun);
            }
            if let Op::Eoi(vector) = op {
                let held = |chip: &IoApic| (0..PINS).filter(|&p| {
                    remote(chip, p) && (chip.entries[usize::from(p)] & Redirection::VECTOR).bits() == u64::from(vector)
                }).count();
                prop_assert_eq!(sent.len(), held(&chip));
                prop_assert!(held(&chip) <= held(&before));
            }
        }
        for pin in 0..PINS {
            chip.set_pin(pin, false);
        }
        chip.reset();
        prop_assert_eq!(chip, IoApic::new(1));
    }
}
