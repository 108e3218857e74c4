//! The watchdog, as a guest and as whoever watches over it see it.

use super::fake::{Machine, TSC};
use exits::Answer;
use proptest::prelude::*;
use spec::{Ticks, Width};
use std::vec::Vec;

const CONTROL: u16 = 0x610;
const STATUS: u16 = 0x614;
const COUNTDOWN: u16 = 0x618;
const LEFT: u16 = 0x61c;
/// Ticks of a period
const MS: u64 = TSC.0 / 1000;

impl Machine {
    fn set(&mut self, port: u16, value: u32) {
        let answer = self.port_out(port, Width::B4, value.into());
        assert_eq!(answer, Answer::Advance);
    }

    fn get(&mut self, port: u16) -> u64 {
        self.port_in(port, Width::B4)
    }

    /// Whether it has expired, and when to look again, in ticks from now on.
    fn look(&self) -> (bool, Option<u64>) {
        let mut expired = false;
        let next = self.vm.look_at_watchdog(self.now, || expired = true);
        (expired, next.map(|at| at.since(self.now).0))
    }

    fn pass(&mut self, ticks: u64) {
        self.now = self.now.after(Ticks(ticks));
    }
}

#[test]
fn its_registers_are_ports_of_32_bits() {
    let mut m = Machine::new(1);
    m.set(COUNTDOWN, 20);
    m.set(CONTROL, 1);
    m.pass(5 * MS);
    assert_eq!(
        [CONTROL, STATUS, COUNTDOWN, LEFT].map(|at| m.get(at)),
        [1, 0, 20, 15]
    );
    // Other accesses find nothing: not within a register, not over its end, not across two.
    for (port, width) in [
        (CONTROL, Width::B1),
        (LEFT, Width::B2),
        (CONTROL + 2, Width::B4),
    ] {
        assert_eq!(m.port_out(port, width, 0), Answer::Advance);
        let ones = (1 << (8 * width.bytes())) - 1;
        assert_eq!(m.port_in(port, width) & ones, ones);
    }
    assert_eq!([CONTROL, LEFT].map(|at| m.get(at)), [1, 15]);
    assert_eq!(m.get(LEFT + 4), 0xffff_ffff);
}

#[test]
fn a_vm_without_one_has_nothing_there() {
    let mut m = Machine::new(1);
    m.vm.chips.watchdog = None;
    m.set(CONTROL, 1);
    assert_eq!(m.get(CONTROL), 0xffff_ffff);
    m.vm.hold_watchdog(m.now);
    m.vm.release_watchdog(m.now);
    assert_eq!((m.look(), m.kicks.take_watched()), ((false, None), 0));
}

#[test]
fn whoever_watches_is_told_of_its_begin_and_not_of_its_feeding() {
    let mut m = Machine::new(1);
    m.set(COUNTDOWN, 10);
    assert_eq!(m.kicks.take_watched(), 0);
    m.set(CONTROL, 1);
    assert_eq!(m.kicks.take_watched(), 1);
    // Once more a period later, in case a guest does this without end.
    assert_eq!(m.look(), (false, Some(MS)));
    m.pass(MS);
    assert_eq!(m.look(), (false, Some(9 * MS)));
    for _ in 0..100 {
        m.pass(MS / 20);
        m.set(LEFT, 0);
    }
    // When it would have expired, it is seen to have been fed.
    m.pass(4 * MS);
    assert_eq!(m.look(), (false, Some(6 * MS)));
    m.pass(6 * MS - 1);
    assert_eq!(m.look(), (false, Some(1)));
    m.pass(1);
    assert_eq!(m.look(), (true, None));
    assert_eq!((m.look(), m.kicks.take_watched()), ((false, None), 0));
}

#[test]
fn one_that_expires_sooner_than_is_known_is_told_of() {
    let mut m = Machine::new(1);
    m.set(CONTROL, 1);
    let _ = m.look();
    m.pass(MS);
    assert_eq!(m.look(), (false, Some(9_999 * MS)));
    m.kicks.take_watched();
    m.set(COUNTDOWN, 5);
    // Whoever is about to look need not be told again.
    m.set(COUNTDOWN, 3);
    assert_eq!(m.kicks.take_watched(), 1);
    m.pass(3 * MS);
    assert_eq!(m.look(), (true, Some(MS)));
}

/// What a guest could keep the core busy with.
#[test]
fn a_guest_that_sets_it_to_less_and_less_or_on_and_off_is_told_of_once_a_period() {
    let less: fn(&mut Machine, u32) = |m, n| m.set(COUNTDOWN, n);
    let on_and_off: fn(&mut Machine, u32) = |m, n| m.set(CONTROL, n % 2);
    for tries in [less, on_and_off] {
        let mut m = Machine::new(1);
        m.set(CONTROL, 1);
        let mut told = 0;
        for n in (1..=1000).rev() {
            tries(&mut m, n);
            if m.kicks.take_watched() > 0 {
                told += 1;
                let _ = m.look();
            }
            m.pass(MS / 1001);
        }
        assert_eq!(told, 1);
    }
}

#[test]
fn a_paused_vm_has_what_was_left_when_it_goes_on() {
    let mut m = Machine::new(1);
    m.set(COUNTDOWN, 10);
    m.set(CONTROL, 1);
    let _ = m.look();
    m.pass(4 * MS);
    m.vm.hold_watchdog(m.now);
    m.pass(100 * MS);
    assert_eq!((m.look(), m.get(LEFT)), ((false, None), 6));
    m.kicks.take_watched();
    m.vm.release_watchdog(m.now);
    assert_eq!(m.kicks.take_watched(), 1);
    m.pass(6 * MS - 1);
    assert_eq!(m.look(), (false, Some(1)));
    m.pass(1);
    assert!(m.look().0);
}

#[test]
fn a_start_finds_it_as_after_power_on() {
    let mut m = Machine::new(1);
    m.set(COUNTDOWN, 10);
    m.set(CONTROL, 1);
    m.vm.hold_watchdog(m.now);
    m.vm.reset(Machine::new(1).vm.chips);
    m.pass(100 * MS);
    assert_eq!((m.look(), m.get(CONTROL)), ((false, None), 0));
    assert_eq!(m.get(COUNTDOWN), 10_000);
    m.kicks.take_watched();
    m.set(CONTROL, 1);
    assert_eq!(m.kicks.take_watched(), 1);
}

#[derive(Clone, Debug)]
enum Act {
    Write(u16, u32),
    Hold,
    Release,
}

fn act() -> impl Strategy<Value = Act> {
    let control = (0..2u32).prop_map(|value| Act::Write(CONTROL, value));
    let countdown = prop_oneof![0..20u32, any::<u32>()].prop_map(|n| Act::Write(COUNTDOWN, n));
    prop_oneof![
        4 => control,
        4 => countdown,
        3 => Just(Act::Write(LEFT, 0)),
        1 => Just(Act::Hold),
        1 => Just(Act::Release)
    ]
}

fn step() -> impl Strategy<Value = (u64, Act)> {
    let time = prop_oneof![3 => 0..MS / 50, 2 => 0..4 * MS, 1 => 0..100 * MS];
    (time, act())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    /// A core that looks only when it is told to, and when it was told to look next, finds each watchdog that has expired at the very
    /// time; and nothing that a guest does has it look more than twice in a period, but for what pauses add.
    #[test]
    fn whoever_watches_misses_nothing_and_is_not_kept_busy(steps in prop::collection::vec(step(), 1..80)) {
        let mut m = Machine::new(1);
        let (mut armed, mut looks, mut pauses) = (None::<Ticks>, 0, 0);
        let begun = m.now;
        // What is expected: when it ends while it runs, or what is left while it is held.
        let (mut due, mut left, mut held) = (None::<u64>, None::<u64>, false);
        let mut set = 10_000 * MS;
        let mut found: Vec<u64> = Vec::new();
        let mut expected: Vec<u64> = Vec::new();
        for (time, act) in steps {
            let then = m.now.after(Ticks(time));
            if let Some(at) = due.filter(|at| *at <= then.0) {
                expected.push(at);
                due = None;
            }
            while let Some(at) = armed.filter(|at| *at <= then) {
                m.now = at;
                looks += 1;
                let (expired, next) = m.look();
                if expired {
                    found.push(m.now.0);
                }
                armed = next.map(|n| at.after(Ticks(n)));
                prop_assert!(armed != Some(at), "it would look without end");
            }
            m.now = then;
            let runs = due.is_some() || left.is_some();
            match act {
                Act::Write(port, value) => {
                    m.set(port, value);
                    if port == COUNTDOWN {
                        set = u64::from(value.clamp(1, 10_000)) * MS;
                    }
                    let runs_now = if port == CONTROL { value == 1 } else { runs };
                    if port != CONTROL || runs != runs_now {
                        let anew = if runs_now {
                            Some(if held { set } else { then.0 + set })
                        } else {
                            None
                        };
                        (due, left) = if held { (None, anew) } else { (anew, None) };
                    }
                }
                Act::Hold if !held => {
                    m.vm.hold_watchdog(then);
                    (held, left, due) = (true, due.map(|at| at - then.0), None);
                }
                Act::Release if held => {
                    m.vm.release_watchdog(then);
                    (held, due, left) = (false, left.map(|left| then.0 + left), None);
                    pauses += 1;
                }
                Act::Hold | Act::Release => {}
            }
            if m.kicks.take_watched() > 0 {
                looks += 1;
                let (expired, next) = m.look();
                prop_assert!(!expired);
                armed = next.map(|n| m.now.after(Ticks(n)));
            }
        }
        prop_assert_eq!(found, expected);
        let periods = m.now.since(begun).0 / MS;
        prop_assert!(looks <= 2 * (periods + 1) + 2 * pauses, "{} looks in {} periods", looks, periods);
    }
}
