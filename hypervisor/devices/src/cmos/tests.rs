extern crate std;

use super::*;
use proptest::prelude::*;
use spec::cmos::register::*;
use std::vec::Vec;

const HZ: u64 = 1_000_000;

/// 2026-11-21 01:41:59 UTC, a Saturday; `date -u -d @1795225319`.
const UNIX: i64 = 1_795_225_319;

fn clock() -> Cmos {
    Cmos::new(UNIX, Ticks(0), Hz(HZ))
}

fn get(chip: &mut Cmos, index: u8, now: u64) -> u8 {
    chip.write(offset::INDEX, index, Ticks(now));
    chip.read(offset::DATA, Ticks(now))
}

fn put(chip: &mut Cmos, index: u8, value: u8, now: u64) {
    chip.write(offset::INDEX, index, Ticks(now));
    chip.write(offset::DATA, value, Ticks(now));
}

/// Seconds, minutes, hours, weekday, day, month, year, century
fn shown(chip: &mut Cmos, now: u64) -> [u8; 8] {
    [SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY].map(|index| get(chip, index, now))
}

#[test]
fn it_shows_the_time_it_was_given_in_all_four_formats() {
    for (b, hours, rest) in [
        (0x02, 0x01, [0x59, 0x41, 7, 0x21, 0x11, 0x26, 0x20]),
        (0x06, 1, [59, 41, 7, 21, 11, 26, 20]),
        (0x00, 0x01, [0x59, 0x41, 7, 0x21, 0x11, 0x26, 0x20]),
        (0x04, 1, [59, 41, 7, 21, 11, 26, 20]),
    ] {
        let chip = &mut clock();
        put(chip, B, b, 0);
        let [s, m, w, d, mon, y, c] = rest;
        assert_eq!(
            shown(chip, 0),
            [s, m, hours, w, d, mon, y, c],
            "register B {b:#x}"
        );
        let afternoon = 13 * 3600 * HZ;
        let expected = match b {
            0x02 => 0x14,
            0x06 => 14,
            _ => 0x82,
        };
        assert_eq!(get(chip, HOURS, afternoon), expected, "register B {b:#x}");
    }
}

#[test]
fn twelve_is_the_first_hour_of_each_half_of_the_day() {
    let chip = &mut Cmos::new(0, Ticks(0), Hz(HZ));
    put(chip, B, 0x00, 0);
    assert_eq!(get(chip, HOURS, 0), 0x12, "midnight");
    assert_eq!(get(chip, HOURS, 12 * 3600 * HZ), 0x92, "noon");
    assert_eq!(get(chip, HOURS, 23 * 3600 * HZ), 0x91);
}

#[test]
fn it_goes_on_with_the_ticks() {
    let chip = &mut clock();
    assert_eq!(get(chip, SECONDS, HZ - 1), 0x59);
    assert_eq!(
        shown(chip, HZ),
        [0x00, 0x42, 0x01, 7, 0x21, 0x11, 0x26, 0x20]
    );
    // 2027-01-01 00:00:00 is 41 days less 1:41:59 later.
    let year = (41 * 86_400 - 6119) * HZ;
    assert_eq!(shown(chip, year), [0, 0, 0, 6, 1, 1, 0x27, 0x20]);
    assert_eq!(
        shown(chip, year - 1),
        [0x59, 0x59, 0x23, 5, 0x31, 0x12, 0x26, 0x20]
    );
}

#[test]
fn an_update_is_announced_244_microseconds_ahead() {
    let chip = &mut clock();
    let uip = |chip: &mut Cmos, now| get(chip, A, now) & 0x80 != 0;
    assert!(!uip(chip, 0));
    assert!(!uip(chip, HZ - 245));
    assert!(uip(chip, HZ - 244));
    assert!(uip(chip, HZ - 1));
    assert!(!uip(chip, HZ));
    put(chip, B, 0x82, HZ);
    assert!(!uip(chip, 2 * HZ - 1), "no update while the clock is held");
}

/// What Linux's `mc146818_get_time` does: waits for UIP to clear, reads, and checks that no second passed.
#[test]
fn linux_reads_it() {
    let chip = &mut clock();
    assert_eq!(get(chip, D, 0), 0x80, "battery good");
    let mut now = HZ - 100;
    let mut tries = 0;
    let time = loop {
        tries += 1;
        assert!(tries < 10, "Linux gives up after ten");
        let second = get(chip, SECONDS, now);
        if get(chip, A, now) & 0x80 != 0 {
            now += HZ / 1000;
            continue;
        }
        let time = shown(chip, now);
        if get(chip, A, now) & 0x80 == 0 && get(chip, SECONDS, now) == second {
            break time;
        }
    };
    assert_eq!(time, [0x00, 0x42, 0x01, 7, 0x21, 0x11, 0x26, 0x20]);
    assert_eq!(get(chip, B, now), 0x02);
}

/// What Linux's `mc146818_set_time` does, SET and divider reset included.
#[test]
fn linux_sets_it_and_the_first_second_is_half_a_one() {
    let chip = &mut clock();
    let b = get(chip, B, 0);
    put(chip, B, b | 0x80, 0);
    let a = get(chip, A, 0);
    put(chip, A, a | 0x70, 0);
    for (index, value) in [
        (YEAR, 0x00),
        (MONTH, 0x02),
        (DAY, 0x29),
        (HOURS, 0x23),
        (MINUTES, 0x59),
        (SECONDS, 0x59),
        (CENTURY, 0x20),
    ] {
        put(chip, index, value, 10);
    }
    assert_eq!(get(chip, SECONDS, 5 * HZ), 0x59, "it holds still");
    put(chip, B, b, 5 * HZ);
    put(chip, A, a, 5 * HZ);
    assert_eq!(get(chip, SECONDS, 5 * HZ + HZ / 2 - 1), 0x59);
    assert_eq!(shown(chip, 5 * HZ + HZ / 2), [0, 0, 0, 4, 1, 3, 0, 0x20]);
}

#[test]
fn set_alone_keeps_the_phase_of_the_second() {
    let chip = &mut clock();
    put(chip, B, 0x82, HZ / 4);
    put(chip, B, 0x02, HZ / 4);
    assert_eq!(get(chip, SECONDS, HZ - 1), 0x59);
    assert_eq!(get(chip, SECONDS, HZ), 0x00);
}

#[test]
fn a_time_that_is_none_changes_nothing() {
    for (index, value) in [
        (MONTH, 0x13),
        (DAY, 0x31),
        (HOURS, 0x24),
        (MINUTES, 0x60),
        (SECONDS, 0x0a),
        (DAY, 0x00),
        (YEAR, 0xff),
    ] {
        let chip = &mut clock();
        put(chip, B, 0x82, 0);
        put(chip, index, value, 0);
        assert_eq!(get(chip, index, 0), value, "while held it reads as written");
        put(chip, B, 0x02, 0);
        assert_eq!(
            shown(chip, 0),
            shown(&mut clock(), 0),
            "register {index:#x} = {value:#x}"
        );
    }
}

#[test]
fn alarms_and_ram_hold_and_the_flags_never_rise() {
    let chip = &mut clock();
    put(chip, B, 0x72, 0);
    for index in 0..128u8 {
        if Fields::position(index).is_none() && !(A..=D).contains(&index) {
            put(chip, index, !index, 0);
        }
    }
    for index in 0..128u8 {
        if Fields::position(index).is_none() && !(A..=D).contains(&index) {
            assert_eq!(get(chip, index, HZ), !index);
            assert_eq!(
                get(chip, index | 0x80, HZ),
                !index,
                "bit 7 is not the index's"
            );
        }
    }
    assert_eq!(get(chip, C, 100 * HZ), 0);
    assert_eq!(
        chip.read(offset::INDEX, Ticks(0)),
        0xff,
        "the index is write-only"
    );
    assert_eq!(chip.read(2, Ticks(0)), 0xff);
}

#[test]
fn reset_silences_interrupts_and_spares_time_and_ram() {
    let chip = &mut clock();
    put(chip, B, 0x7e, 0);
    put(chip, 0x40, 0xab, 0);
    chip.reset();
    assert_eq!(get(chip, B, HZ), 0x06);
    assert_eq!(get(chip, 0x40, HZ), 0xab);
    assert_eq!(get(chip, SECONDS, HZ), 0);
}

#[test]
fn the_ends_of_time_and_a_frequency_of_zero_are_no_trouble() {
    let chip = &mut Cmos::new(i64::MAX, Ticks(0), Hz(0));
    assert_eq!(
        shown(chip, u64::MAX),
        [0x59, 0x59, 0x23, 6, 0x31, 0x12, 0x99, 0x99]
    );
    let chip = &mut Cmos::new(i64::MIN, Ticks(u64::MAX), Hz(u64::MAX));
    assert_eq!(shown(chip, 0), [0, 0, 0, 7, 1, 1, 0, 0]);
}

proptest! {
    #[test]
    fn what_is_set_is_shown(unix in -62_167_219_200..253_402_300_800i64, b in prop::sample::select(&[0u8, 2, 4, 6][..])) {
        let mode = RegB::from_bits_retain(b);
        let fields = Fields::encode(unix, mode);
        prop_assert_eq!(fields.decode(mode), Some(unix));
        // The same through the registers
        let mut source = Cmos::new(unix, Ticks(0), Hz(HZ));
        put(&mut source, B, b, 0);
        let mut copy = clock();
        put(&mut copy, B, b | 0x80, 0);
        for (index, value) in [SECONDS, MINUTES, HOURS, WEEKDAY, DAY, MONTH, YEAR, CENTURY].into_iter().zip(shown(&mut source, 0)) {
            put(&mut copy, index, value, 0);
        }
        put(&mut copy, B, b, 0);
        prop_assert_eq!(shown(&mut copy, 0), shown(&mut source, 0));
        prop_assert_eq!(fields.0, shown(&mut source, 0));
    }

    #[test]
    fn any_sequence_shows_a_time_that_is_one(
        ops in prop::collection::vec((any::<u8>(), any::<u8>(), 0..4u8, prop_oneof![0..2 * HZ, any::<u64>()]), 0..200),
        hz: u64,
    ) {
        let mut chip = Cmos::new(UNIX, Ticks(0), Hz(hz));
        let mut now = 0u64;
        for (index, value, port, step) in ops {
            now = now.saturating_add(step);
            // Time registers more often than chance has it
            put(&mut chip, if value & 1 == 0 { index & 0x0f } else { index }, value, now);
            chip.write(port, value, Ticks(now));
            let _ = chip.read(port, Ticks(now));
            if chip.held.is_none() {
                prop_assert!(Fields(shown(&mut chip, now)).decode(chip.b).is_some());
            }
            prop_assert_eq!(chip.held.is_some(), get(&mut chip, B, now) & 0x80 != 0 || get(&mut chip, A, now) & 0x60 == 0x60);
        }
        let mut fresh = chip.clone();
        fresh.reset();
        prop_assert_eq!(get(&mut fresh, B, now) & 0x78, 0);
        prop_assert_eq!(Vec::from(shown(&mut fresh, now)), Vec::from(shown(&mut chip, now)));
    }
}
