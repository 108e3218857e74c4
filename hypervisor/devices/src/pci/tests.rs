extern crate std;

use super::*;
use proptest::prelude::*;
use spec::pci::{CONFIG_SIZE, ECAM_BUS_SIZE, register};
use std::vec::Vec;

/// Where a register of device `device` is in the window.
fn at(device: u32, register: u16) -> u32 {
    device << 15 | u32::from(register)
}

fn widths() -> impl Strategy<Value = Width> {
    prop::sample::select(std::vec![Width::B1, Width::B2, Width::B4, Width::B8])
}

/// A function with base addresses, as a network card has them: memory of 16 KiB, and ports.
fn card() -> ConfigSpace {
    let mut card = ConfigSpace::new(0x1041_1af4, 0x02_0000, 0x1100_1af4);
    card.define(register::COMMAND, 0x0010_0000, 0x0000_0406);
    card.define(register::BAR0, 0, !0x3fff);
    card.define(register::BAR0 + 4, 1, !0x1f);
    card
}

#[test]
fn a_scan_finds_the_host_bridge_and_nothing_else() {
    let bus = Bus::new();
    let found: Vec<u32> = (0..0x100)
        .filter(|f| bus.read(f << 12, Width::B4) != Err(AccessError::Absent))
        .collect();
    assert_eq!(found, [0]);
    assert_eq!(bus.read(0, Width::B4), Ok(0x0008_1b36));
    assert_eq!(bus.read(0x08, Width::B4), Ok(0x0600_0000));
    assert_eq!(bus.read(0x0a, Width::B2), Ok(0x0600));
    assert_eq!(
        bus.read(0x0e, Width::B1),
        Ok(0),
        "header type 0, one function"
    );
    assert_eq!(bus.read(0x06, Width::B2), Ok(0), "no capability list");
    assert_eq!(bus.read(0x3d, Width::B1), Ok(0), "no interrupt pin");
    assert_eq!(bus.read(0x100, Width::B4), Ok(0), "no extended capability");
}

#[test]
fn sizing_the_base_addresses_of_the_host_bridge_finds_none() {
    let mut bus = Bus::new();
    for bar in (0x10..0x28).step_by(4).chain([0x30]) {
        bus.write(bar, Width::B4, u32::MAX.into()).unwrap();
        assert_eq!(bus.read(bar, Width::B4), Ok(0), "{bar:#x}");
    }
    bus.write(0x04, Width::B2, 0xffff).unwrap();
    assert_eq!(bus.read(0x04, Width::B4), Ok(0), "nothing to switch on");
    bus.write(0x0c, Width::B1, 0x10).unwrap();
    assert_eq!(
        bus.read(0x0c, Width::B4),
        Ok(0x10),
        "cache line size is kept"
    );
}

#[test]
fn sizing_the_base_addresses_of_a_card_tells_their_sizes() {
    let mut bus = Bus::new();
    bus.add(DeviceFunction(3 << 3), card()).unwrap();
    for (bar, size) in [(0x10, 0xffff_c000), (0x14, 0xffff_ffe1), (0x18, 0)] {
        bus.write(at(3, bar), Width::B4, u32::MAX.into()).unwrap();
        assert_eq!(bus.read(at(3, bar), Width::B4), Ok(size), "{bar:#x}");
    }
    bus.write(at(3, 0x10), Width::B4, 0xc123_4567).unwrap();
    assert_eq!(bus.read(at(3, 0x10), Width::B4), Ok(0xc123_4000));
    bus.write(at(3, 0x04), Width::B2, 0xffff).unwrap();
    assert_eq!(bus.read(at(3, 0x04), Width::B4), Ok(0x0010_0406));
    assert_eq!(bus.read(at(3, 0x2e), Width::B2), Ok(0x1100));
    assert_eq!(bus.read(0, Width::B4), Ok(0x0008_1b36));
}

#[test]
fn a_place_holds_one_function_and_the_bus_eight() {
    let mut bus = Bus::new();
    assert_eq!(bus.add(HOST_BRIDGE, card()), Err(NoPlace));
    for n in 1..8 {
        assert_eq!(bus.add(DeviceFunction(n << 3), card()), Ok(()));
        assert_eq!(bus.add(DeviceFunction(n << 3), card()), Err(NoPlace));
    }
    let full = bus.clone();
    assert_eq!(bus.add(DeviceFunction(8 << 3), card()), Err(NoPlace));
    assert_eq!(bus, full);
}

#[test]
fn nothing_can_be_defined_in_extended_space() {
    let mut function = card();
    function.define(0x100, u32::MAX, u32::MAX);
    assert_eq!(function, card());
}

fn select(bus: &mut Bus, address: u32) {
    bus.write_port(0, Width::B4, address.into()).unwrap();
}

/// What Linux does before it takes the ports for configuration mechanism #1 (`pci_check_type1`).
#[test]
fn the_address_port_holds_double_words_only() {
    let mut bus = Bus::new();
    assert_eq!(bus.read_port(0, Width::B4), Ok(0));
    assert_eq!(bus.write_port(3, Width::B1, 1), Err(AccessError::Absent));
    select(&mut bus, 0x8000_0000);
    assert_eq!(bus.read_port(0, Width::B4), Ok(0x8000_0000));
    for (offset, width) in [
        (0, Width::B1),
        (0, Width::B2),
        (1, Width::B1),
        (2, Width::B4),
        (0, Width::B8),
    ] {
        assert_eq!(bus.read_port(offset, width), Err(AccessError::Absent));
        assert_eq!(bus.write_port(offset, width, 0), Err(AccessError::Absent));
    }
    assert_eq!(bus.read_port(0, Width::B4), Ok(0x8000_0000));
    select(&mut bus, u32::MAX);
    assert_eq!(
        bus.read_port(0, Width::B4),
        Ok(0x80ff_fffc),
        "reserved bits are zero"
    );
}

#[test]
fn the_data_port_needs_the_enable_bit_and_bus_0() {
    let mut bus = Bus::new();
    for (address, answer) in [
        (0x8000_0000, Ok(0x0008_1b36)),
        (0x8000_0008, Ok(0x0600_0000)),
        (0x0000_0000, Err(AccessError::Absent)),
        (0x8001_0000, Err(AccessError::Absent)),
        (0x8000_0100, Err(AccessError::Absent)),
        (0x8000_0800, Err(AccessError::Absent)),
    ] {
        select(&mut bus, address);
        assert_eq!(bus.read_port(4, Width::B4), answer, "{address:#x}");
        assert_eq!(bus.write_port(4, Width::B4, 0), answer.map(drop));
    }
    select(&mut bus, 0x8000_0000);
    assert_eq!(bus.read_port(7, Width::B2), Err(AccessError::Width));
    assert_eq!(bus.read_port(8, Width::B1), Err(AccessError::Absent));
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// The window behaves as bytes of which the writable bits change, beside bytes that are not there.
    #[test]
    fn any_sequence_is_that_of_masked_bytes(
        accesses in prop::collection::vec(
            (
                prop_oneof![
                    // The two functions that are there, most of all their first registers; anywhere.
                    (prop::sample::select(std::vec![0u32, 2]), 0..0x44u32).prop_map(|(d, r)| d << 15 | r),
                    (prop::sample::select(std::vec![0u32, 2]), 0..u32::from(CONFIG_SIZE)).prop_map(|(d, r)| d << 15 | r),
                    0..ECAM_BUS_SIZE as u32,
                    any::<u32>(),
                ],
                widths(),
                prop_oneof![Just(u64::MAX), any::<u64>()],
            ),
            0..60,
        ),
    ) {
        let mut bus = Bus::new();
        bus.add(DeviceFunction(2 << 3), card()).unwrap();
        // Which bits of a byte of which device a write changes, from the definitions above.
        let writable = |device: u32, register: u32| -> u8 {
            match (device, register) {
                (0 | 2, 0x0c) => 0xff,
                (2, 0x04) => 0x06,
                (2, 0x05) => 0x04,
                (2, 0x11) => 0xc0,
                (2, 0x12 | 0x13 | 0x15..=0x17) => 0xff,
                (2, 0x14) => 0xe0,
                _ => 0,
            }
        };
        for (offset, width, value) in accesses {
            let bytes = width.bytes() as u32;
            let (function, first) = (offset >> 12 & 0xff, offset & 0xfff);
            let expected = match function {
                0 | 0x10 if first % 4 + bytes <= 4 => Ok(()),
                0 | 0x10 => Err(AccessError::Width),
                _ => Err(AccessError::Absent),
            };
            let before = bus.clone();
            prop_assert_eq!(bus.read(offset, width).map(drop), expected);
            prop_assert_eq!(bus.write(offset, width, value), expected);
            if expected.is_err() {
                prop_assert_eq!(&bus, &before);
                continue;
            }
            // Each byte of the double word by itself.
            for byte in first & !3..(first & !3) + 4 {
                let there = function << 12 | byte;
                let old = before.read(there, Width::B1).unwrap() as u8;
                let new = bus.read(there, Width::B1).unwrap() as u8;
                let mask = match byte.checked_sub(first) {
                    Some(n) if n < bytes => writable(function >> 3, byte),
                    _ => 0,
                };
                let written = byte.checked_sub(first).map_or(0, |n| (value >> (8 * n)) as u8);
                prop_assert_eq!(new, old & !mask | written & mask, "{:#x}", there);
            }
            let whole = (first..first + bytes).rev().fold(0, |v, b| {
                v << 8 | bus.read(function << 12 | b, Width::B1).unwrap()
            });
            prop_assert_eq!(bus.read(offset, width), Ok(whole));
        }
    }
    /// Both ways reach the same registers: with the ports, and with the window at the place that they name.
    #[test]
    fn the_ports_are_the_first_256_bytes_of_the_window(
        accesses in prop::collection::vec(
            (prop::sample::select(std::vec![0u32, 2, 3]), any::<u8>(), 0..4u8, widths(), any::<u64>()),
            0..40,
        ),
    ) {
        let mut by_port = Bus::new();
        by_port.add(DeviceFunction(2 << 3), card()).unwrap();
        let mut by_window = by_port.clone();
        for (device, register, byte, width, value) in accesses {
            let register = u32::from(register & 0xfc);
            select(&mut by_port, 1 << 31 | device << 11 | register);
            by_window.address = by_port.address;
            let there = device << 15 | register | u32::from(byte);
            prop_assert_eq!(by_port.read_port(4 + byte, width), by_window.read(there, width));
            prop_assert_eq!(
                by_port.write_port(4 + byte, width, value),
                by_window.write(there, width, value)
            );
            prop_assert_eq!(&by_port, &by_window);
        }
    }
}
