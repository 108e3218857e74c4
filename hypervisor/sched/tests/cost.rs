//! What a core's full run queue costs, in level moves: as the crate's documentation states it.

use sched::{Id, Reservation, Scheduler, Share, Weight};
use spec::Ticks;

const ALL: u16 = 256;
/// A decision by itself
const DECISION: u64 = 24;
/// Each timer or release that it finds due
const DUE: u64 = 24;
/// So many timers of those with a weight alone does one decision take in
const TIMERS: u64 = 8;
/// Each wake-up, block or change
const EVENT: u64 = 48;

/// Its budget is small, so that all of them fit.
fn share(id: u16, weighted: bool, reserved: bool) -> Share {
    let reservation = Reservation {
        budget: Ticks(1),
        period: Ticks(300 + u64::from(id) * 7),
    };
    Share {
        weight: Weight::new(1 + u32::from(id) * 39).filter(|_| weighted),
        reservation: Some(reservation).filter(|_| reserved),
    }
}

fn core(share: impl Fn(u16) -> Share) -> Scheduler {
    let mut core = Scheduler::new(ALL, Ticks(10), Ticks(0));
    for id in 0..ALL {
        assert!(core.add(Id(id), share(id), Ticks(0)));
    }
    core
}

/// The work of one call.
fn count<T>(core: &mut Scheduler, call: impl FnOnce(&mut Scheduler) -> T) -> (T, u64) {
    let before = core.steps();
    let answer = call(core);
    (answer, core.steps() - before)
}

fn ready(core: &Scheduler) -> u64 {
    (0..ALL).map(|id| u64::from(core.is_ready(Id(id)))).sum()
}

#[test]
fn a_decision_and_an_event_among_256_cost_what_is_stated() {
    for (weighted, reserved) in [(true, false), (false, true), (true, true)] {
        let mut core = core(|id| share(id, weighted, reserved));
        let (mut now, mut seed) = (0_u64, 7_u64);
        let (mut worst_event, mut worst_decision, mut alone) = (0, 0, 0);
        for _ in 0..60_000 {
            seed = seed
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            let (id, at) = (Id((seed >> 40) as u16 % ALL), Ticks(now));
            let timer = Some(Ticks(now + (seed >> 34) % 1000));
            let (_, steps) = match seed >> 60 {
                0..=5 => count(&mut core, |it| it.wake(id, at)),
                // Whoever runs is charged by the decision itself.
                6..=11 => (false, 0),
                12 | 13 => count(&mut core, |it| it.block(id, timer, at)),
                _ => {
                    let other = share((seed >> 50) as u16 % ALL, weighted, reserved);
                    count(&mut core, |it| it.set(id, other, at))
                }
            };
            worst_event = worst_event.max(steps);
            let before = ready(&core);
            let (decision, steps) = count(&mut core, |it| it.decide(at));
            // Releases cannot be seen from outside: where there are reservations, this is a bound of all that can be due.
            let due = if reserved {
                u64::from(ALL)
            } else {
                ready(&core) - before
            };
            assert!(steps <= DECISION + due * DUE, "{steps} steps, {due} due");
            if due == 0 {
                alone = alone.max(steps);
            }
            worst_decision = worst_decision.max(steps);
            now = decision.until.0.min(now + 1 + (seed >> 20) % 4);
        }
        println!("event {worst_event}, decision {worst_decision}, with nothing due {alone}");
        assert!((8..=EVENT).contains(&worst_event), "{worst_event}");
        assert!(reserved || (5..=DECISION).contains(&alone), "{alone}");
        // Spread in time, seldom more than a few are due.
        assert!(worst_decision <= DECISION + 8 * DUE, "{worst_decision}");
    }
}

/// All timers at once, and all releases at once: the most that a decision can find.
#[test]
fn what_falls_due_together_costs_each_its_own() {
    for (weighted, reserved) in [(true, false), (false, true), (true, true)] {
        let mut core = core(|id| share(id, weighted, reserved));
        // Ranked against the order in which they leave.
        for id in 0..ALL {
            core.block(Id(ALL - 1 - id), Some(Ticks(1000)), Ticks(0));
        }
        let (_, steps) = count(&mut core, |it| it.decide(Ticks(1000)));
        println!("256 timers: {steps}");
        // Those that wait for the turn's end anyway are taken in by and by.
        let taken = if reserved { u64::from(ALL) } else { TIMERS };
        assert_eq!(ready(&core), taken);
        assert!(steps <= DECISION + taken * DUE, "{steps}");
        // Each runs out of its budget, and all are late for their releases.
        let mut now = 1000;
        for _ in 0..2 * ALL {
            now += 1;
            core.decide(Ticks(now));
        }
        let (_, steps) = count(&mut core, |it| it.decide(Ticks(now + 100_000)));
        println!("256 releases: {steps}");
        assert!(steps <= DECISION + u64::from(ALL) * DUE, "{steps}");
    }
}

/// Nothing to compare, nothing to move.
#[test]
fn one_vcpu_alone_costs_no_step() {
    let mut core = core(|id| share(id, true, false));
    core.wake(Id(9), Ticks(0));
    let before = core.steps();
    for now in 1..1000 {
        assert_eq!(core.decide(Ticks(now)).until, Ticks(u64::MAX));
    }
    assert_eq!(core.steps(), before);
}
