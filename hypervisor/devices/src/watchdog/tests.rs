use super::*;
use proptest::prelude::*;

const HZ: Hz = Hz(2_600_000_000);
/// Ticks of a period
const MS: u64 = 2_600_000;
const MAX: u32 = 10_000;

fn watchdog() -> Watchdog {
    Watchdog::new(Nanos(10_000_000_000), HZ, false)
}

fn read(w: &Watchdog, offset: u8, now: u64) -> u32 {
    w.read(offset, Width::B4, Ticks(now)).unwrap() as u32
}

fn write(w: &mut Watchdog, offset: u8, value: u32, now: u64) {
    w.write(offset, Width::B4, value.into(), Ticks(now))
        .unwrap();
}

#[test]
fn it_stands_still_until_it_is_told_to_run() {
    let mut w = watchdog();
    let registers = [
        offset::CONTROL,
        offset::STATUS,
        offset::COUNTDOWN,
        offset::LEFT,
    ];
    assert_eq!(registers.map(|at| read(&w, at, 5)), [0, 0, MAX, 0]);
    assert_eq!(w.expires(), None);
    assert!(!w.expire(Ticks(u64::MAX)));
    write(&mut w, offset::CONTROL, 1, 1000);
    assert_eq!(registers.map(|at| read(&w, at, 1000)), [1, 0, MAX, MAX]);
    assert_eq!(w.expires(), Some(Ticks(1000 + u64::from(MAX) * MS)));
    write(&mut w, offset::CONTROL, 0, 2000);
    assert_eq!((read(&w, offset::LEFT, 2000), w.expires()), (0, None));
}

#[test]
fn feeding_begins_the_countdown_anew_and_running_on_does_not() {
    let mut w = watchdog();
    write(&mut w, offset::COUNTDOWN, 3, 0);
    write(&mut w, offset::CONTROL, 1, 0);
    write(&mut w, offset::CONTROL, 1, MS);
    assert_eq!(w.expires(), Some(Ticks(3 * MS)));
    // Of the last period something is left until it is over.
    assert_eq!(read(&w, offset::LEFT, MS - 1), 3);
    assert_eq!(read(&w, offset::LEFT, MS), 2);
    assert_eq!(read(&w, offset::LEFT, 3 * MS - 1), 1);
    assert!(!w.expire(Ticks(3 * MS - 1)));
    write(&mut w, offset::LEFT, 0, 3 * MS - 1);
    assert_eq!(w.expires(), Some(Ticks(6 * MS - 1)));
}

#[test]
fn it_expires_once() {
    let mut w = watchdog();
    write(&mut w, offset::COUNTDOWN, 1, 0);
    write(&mut w, offset::CONTROL, 1, 0);
    assert!(w.expire(Ticks(MS)));
    assert!(!w.expire(Ticks(MS)));
    assert_eq!(read(&w, offset::CONTROL, MS), 0);
}

#[test]
fn a_countdown_that_cannot_be_becomes_the_next_that_can() {
    let mut w = watchdog();
    for (asked, set) in [(0, 1), (1, 1), (MAX, MAX), (MAX + 1, MAX), (u32::MAX, MAX)] {
        write(&mut w, offset::COUNTDOWN, asked, 0);
        assert_eq!(read(&w, offset::COUNTDOWN, 0), set);
    }
    // The longest that a guest can be told of, and one that is shorter than a period.
    let max = |nanos| {
        read(
            &Watchdog::new(Nanos(nanos), HZ, false),
            offset::COUNTDOWN,
            0,
        )
    };
    assert_eq!((max(u64::MAX), max(0), max(1_999_999)), (u32::MAX, 1, 1));
}

#[test]
fn the_status_tells_of_the_last_run_until_it_is_cleared() {
    let mut w = Watchdog::new(Nanos(1), HZ, true);
    write(&mut w, offset::STATUS, 0, 0);
    assert_eq!(read(&w, offset::STATUS, 0), 1);
    write(&mut w, offset::STATUS, 1, 0);
    assert_eq!(read(&w, offset::STATUS, 0), 0);
}

#[test]
fn a_held_one_goes_on_with_what_was_left() {
    let mut w = watchdog();
    write(&mut w, offset::COUNTDOWN, 10, 0);
    write(&mut w, offset::CONTROL, 1, 0);
    w.hold(Ticks(4 * MS));
    // A vCPU that has not yet heard of it looks.
    assert_eq!(read(&w, offset::LEFT, 5 * MS), 6);
    w.hold(Ticks(7 * MS));
    assert_eq!(w.expires(), None);
    assert!(!w.expire(Ticks(u64::MAX)));
    w.release(Ticks(104 * MS));
    assert_eq!(w.expires(), Some(Ticks(110 * MS)));
    w.release(Ticks(105 * MS));
    assert_eq!(w.expires(), Some(Ticks(110 * MS)));
}

#[test]
fn one_that_is_fed_while_held_has_all_of_its_time_later() {
    let mut w = watchdog();
    w.hold(Ticks(4 * MS));
    write(&mut w, offset::COUNTDOWN, 10, 5 * MS);
    write(&mut w, offset::CONTROL, 1, 6 * MS);
    write(&mut w, offset::LEFT, 0, 7 * MS);
    assert_eq!((w.expires(), read(&w, offset::LEFT, 8 * MS)), (None, 10));
    w.release(Ticks(50 * MS));
    assert_eq!(w.expires(), Some(Ticks(60 * MS)));
}

#[test]
fn registers_are_taken_as_a_whole() {
    let mut w = watchdog();
    for at in 0..=u8::MAX {
        for width in [Width::B1, Width::B2, Width::B4, Width::B8] {
            let expected = match (width, at) {
                (Width::B4, 0 | 4 | 8 | 12) => None,
                (Width::B4, at) if at % 4 == 0 => Some(AccessError::Absent),
                _ => Some(AccessError::Width),
            };
            let now = Ticks(0);
            assert_eq!(w.read(at, width, now).err(), expected, "{at} {width:?}");
            assert_eq!(w.write(at, width, 0, now).err(), expected);
        }
    }
}

#[derive(Clone, Debug)]
enum Act {
    Write(u8, u32),
    Read(u8),
    Hold,
    Release,
    Expire,
}

fn act() -> impl Strategy<Value = Act> {
    let register = prop::sample::select(&[0u8, 4, 8, 12][..]);
    let value = prop_oneof![0..4u32, any::<u32>()];
    prop_oneof![
        4 => (register.clone(), value).prop_map(|(at, value)| Act::Write(at, value)),
        2 => register.prop_map(Act::Read),
        1 => Just(Act::Hold),
        1 => Just(Act::Release),
        1 => Just(Act::Expire),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// Any registers at any times, also such as run backwards or to the end of time: no panic, what is left is never more than what
    /// it is set to, and that never more than the most; while it is held it does not expire, and never before a period is over.
    #[test]
    fn any_sequence_keeps_within_its_bounds(
        max in any::<u64>(), hz in any::<u64>(), expired: bool,
        acts in prop::collection::vec((act(), prop_oneof![0..1u64 << 40, any::<u64>()]), 0..60)
    ) {
        let mut w = Watchdog::new(Nanos(max), Hz(hz), expired);
        let most = read(&w, offset::COUNTDOWN, 0);
        prop_assert!(most >= 1);
        let mut held = false;
        for (act, now) in acts {
            match act {
                Act::Write(at, value) => {
                    let before = w.expires();
                    write(&mut w, at, value, now);
                    // Whoever watches counts on this.
                    if let Some(due) = w.expires().filter(|due| Some(*due) != before) {
                        prop_assert!(due >= Ticks(now).after(w.period()));
                    }
                }
                Act::Read(at) => drop(read(&w, at, now)),
                Act::Hold => { w.hold(Ticks(now)); held = true; }
                Act::Release => { w.release(Ticks(now)); held = false; }
                Act::Expire => prop_assert!(!(w.expire(Ticks(now)) && held)),
            }
            let set = read(&w, offset::COUNTDOWN, now);
            prop_assert!((1..=most).contains(&set));
            prop_assert!(read(&w, offset::LEFT, now) <= set);
            prop_assert!(!held || w.expires().is_none());
        }
    }

    /// One that is fed in time, be it held for long in between, does not expire, and one that is not does when its time is over.
    #[test]
    fn exactly_one_that_is_not_fed_in_time_expires(
        countdown in 2..=MAX, steps in prop::collection::vec((0..100u64, 0..1_000_000u64), 1..40), over: bool
    ) {
        let mut w = watchdog();
        let mut now = 77;
        write(&mut w, offset::COUNTDOWN, countdown, now);
        write(&mut w, offset::CONTROL, 1, now);
        let length = u64::from(countdown) * MS;
        for (percent, stands) in steps {
            now += length * percent / 100;
            prop_assert!(!w.expire(Ticks(now)));
            w.hold(Ticks(now));
            now += stands;
            w.release(Ticks(now));
            prop_assert!(!w.expire(Ticks(now)));
            write(&mut w, offset::LEFT, 0, now);
        }
        prop_assert_eq!(w.expire(Ticks(now + length - u64::from(!over))), over);
    }
}
