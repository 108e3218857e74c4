//! Beside a slow and obvious scheduler: whatever happens, both decide the same.

mod reference;

use proptest::prelude::*;
use reference::Reference;
use sched::{Id, Reservation, Scheduler, Share, Table, Weight, Window};
use spec::Ticks;

const CAPACITY: u16 = 10;
const SLICE: u64 = 10;

#[derive(Clone, Debug)]
enum Event {
    Add(u16, Share),
    Set(u16, Share),
    Wake(u16),
    Block(u16, Option<u64>),
    /// The one that runs, as a guest would
    Halt(Option<u64>),
    /// All at once, until the same time
    Sleep(u64),
    Remove(u16),
    /// To the other core, or from it
    Move(u16, Share),
    Stolen(u64),
    Table(u64, u64, Vec<(u64, u64, u16)>),
    Pass,
}

#[derive(Clone, Debug)]
struct Step {
    event: Event,
    /// Time from the step before; `Err`: so long after the clock shows the last `until`
    after: Result<u64, u64>,
    /// Whether a decision is asked for
    asks: bool,
}

fn shares() -> impl Strategy<Value = Share> {
    let weight = prop_oneof![Just(1), Just(100), Just(10_000), 1..10_000_u32];
    let reservation = (0..12_u64, 1..60_u64).prop_map(|(budget, period)| Reservation {
        budget: Ticks(budget),
        period: Ticks(period),
    });
    (
        proptest::option::of(weight),
        proptest::option::of(reservation),
    )
        .prop_map(|(weight, reservation)| Share {
            weight: weight.and_then(Weight::new),
            reservation,
        })
}

fn tables() -> impl Strategy<Value = Event> {
    let windows = proptest::collection::vec((0..10_u64, 1..8_u64, 0..CAPACITY + 1), 0..5);
    (windows, 1..10_u64, 0..200_u64).prop_map(|(gaps, tail, origin)| {
        let mut at = 0;
        let mut windows = Vec::new();
        for (gap, length, id) in gaps {
            windows.push((at + gap, length, id));
            at += gap + length;
        }
        Event::Table(at + tail, origin, windows)
    })
}

fn steps() -> impl Strategy<Value = Step> {
    let id = || 0..CAPACITY + 1;
    let timer = || proptest::option::of(0..50_u64);
    let event = prop_oneof![
        3 => (id(), shares()).prop_map(|(id, share)| Event::Add(id, share)),
        2 => (id(), shares()).prop_map(|(id, share)| Event::Set(id, share)),
        10 => id().prop_map(Event::Wake),
        4 => (id(), timer()).prop_map(|(id, timer)| Event::Block(id, timer)),
        8 => timer().prop_map(Event::Halt),
        1 => (1..50_u64).prop_map(Event::Sleep),
        1 => id().prop_map(Event::Remove),
        2 => (id(), shares()).prop_map(|(id, share)| Event::Move(id, share)),
        3 => (0..30_u64).prop_map(Event::Stolen),
        1 => tables(),
        10 => Just(Event::Pass),
    ];
    let after = prop_oneof![
        3 => (0..25_u64).prop_map(Ok),
        4 => Just(Err(0)),
        1 => (0..300_u64).prop_map(Err),
    ];
    (event, after, proptest::bool::weighted(0.9)).prop_map(|(event, after, asks)| Step {
        event,
        after,
        asks,
    })
}

/// The real one and the obvious one, of one core.
struct Both {
    real: Scheduler,
    plain: Reference,
}

impl Both {
    fn new(cost: u64) -> Self {
        let mut real = Scheduler::new(CAPACITY, Ticks(SLICE), Ticks(0));
        real.set_wake_cost(Ticks(cost));
        Self {
            real,
            plain: Reference::new(CAPACITY, SLICE, cost),
        }
    }
}

fn run(steps: Vec<Step>, cost: u64, first: Vec<Share>) {
    let mut here = Both::new(cost);
    let mut there = Both::new(cost);
    for (id, share) in (0..).zip(first) {
        assert!(here.real.add(Id(id), share, Ticks(0)));
        assert!(here.plain.add(id, share, None, 0));
        here.real.wake(Id(id), Ticks(0));
        here.plain.wake(id, 0);
    }
    let (mut now, mut until) = (0_u64, u64::MAX);
    for step in steps {
        now = match step.after {
            Ok(after) => now + after,
            Err(late) if until < u64::MAX => until.max(now) + late,
            Err(_) => now + 1,
        };
        let at = Ticks(now);
        match step.event.clone() {
            Event::Add(id, share) => assert_eq!(
                here.real.add(Id(id), share, at),
                here.plain.add(id, share, None, now)
            ),
            Event::Set(id, share) => assert_eq!(
                here.real.set(Id(id), share, at),
                here.plain.set(id, share, now)
            ),
            Event::Wake(id) => {
                assert_eq!(here.real.wake(Id(id), at), here.plain.wake(id, now));
            }
            Event::Block(id, timer) => {
                let timer = timer.map(|it| now + it);
                assert_eq!(
                    here.real.block(Id(id), timer.map(Ticks), at),
                    here.plain.block(id, timer, now)
                );
            }
            Event::Halt(timer) => {
                if let Some((id, _)) = here.plain.running {
                    let timer = timer.map(|it| now + it);
                    assert!(here.real.block(Id(id), timer.map(Ticks), at));
                    assert!(here.plain.block(id, timer, now));
                }
            }
            Event::Sleep(time) => {
                for id in 0..CAPACITY {
                    assert_eq!(
                        here.real.block(Id(id), Some(Ticks(now + time)), at),
                        here.plain.block(id, Some(now + time), now)
                    );
                }
            }
            Event::Remove(id) => assert_eq!(
                here.real.remove(Id(id), at).is_some(),
                here.plain.remove(id, now).is_some()
            ),
            Event::Move(id, share) => {
                let (from, to) = if here.plain.get(id).is_some() {
                    (&mut here, &mut there)
                } else {
                    (&mut there, &mut here)
                };
                let (real, plain) = (from.real.remove(Id(id), at), from.plain.remove(id, now));
                assert_eq!(real.is_some(), plain.is_some());
                if let Some(luggage) = real {
                    assert_eq!(
                        to.real.adopt(Id(id), share, luggage, at),
                        to.plain.add(id, share, plain, now)
                    );
                    to.real.wake(Id(id), at);
                    to.plain.wake(id, now);
                }
            }
            Event::Stolen(ticks) => {
                here.real.stolen(Ticks(ticks));
                here.plain.stolen(ticks);
            }
            Event::Table(frame, origin, windows) => {
                let origin = now.saturating_sub(100) + origin;
                let windows: Vec<_> = windows
                    .into_iter()
                    .map(|(start, length, id)| Window {
                        at: Ticks(start),
                        length: Ticks(length),
                        id: Id(id),
                    })
                    .collect();
                let table = Table::new(Ticks(frame), Ticks(origin), windows.clone());
                here.real.set_table(Some(table.expect("a table")), at);
                here.plain.set_table(frame, origin, windows, now);
            }
            Event::Pass => {}
        }
        if step.asks {
            for both in [&mut here, &mut there] {
                let decision = both.real.decide(at);
                assert_eq!(decision, both.plain.decide(now), "at {now} after {step:?}");
                assert!(decision.until > at, "at {now}: {decision:?}");
            }
            // Asking again changes nothing.
            let decision = here.real.decide(at);
            assert_eq!(decision, here.real.decide(at));
            assert_eq!(decision, here.plain.decide(now));
            until = decision.until.0;
        }
        for vcpu in &here.plain.vcpus {
            assert_eq!(here.real.is_ready(Id(vcpu.id)), vcpu.ready);
            assert_eq!(here.real.share(Id(vcpu.id)), Some(vcpu.share));
        }
    }
}

/// Missed periods and times run, of those that were never moved, so that both count from the same start.
fn counts(steps: Vec<Step>, first: Vec<Share>) {
    let mut both = Both::new(0);
    for (id, share) in (0..).zip(first) {
        both.real.add(Id(id), share, Ticks(0));
        both.plain.add(id, share, None, 0);
        both.real.wake(Id(id), Ticks(0));
        both.plain.wake(id, 0);
    }
    let mut now = 0;
    let mut until = u64::MAX;
    let mut life = 0;
    for step in steps {
        now = match step.after {
            Ok(after) => now + after,
            Err(late) if until < u64::MAX => until.max(now) + late,
            Err(_) => now + 1,
        };
        let at = Ticks(now);
        match step.event {
            Event::Wake(id) => {
                both.real.wake(Id(id), at);
                both.plain.wake(id, now);
            }
            Event::Halt(timer) => {
                if let Some((id, _)) = both.plain.running {
                    let timer = timer.map(|it| now + it);
                    both.real.block(Id(id), timer.map(Ticks), at);
                    both.plain.block(id, timer, now);
                }
            }
            Event::Stolen(ticks) => {
                both.real.stolen(Ticks(ticks));
                both.plain.stolen(ticks);
            }
            _ => {}
        }
        until = both.real.decide(at).until.0;
        both.plain.decide(now);
        life = now;
        let core = both.real.core_times(at);
        let sum = [
            core.window,
            core.reserved,
            core.left_over,
            core.idle,
            core.stolen,
        ];
        assert_eq!(sum.iter().map(|it| it.0).sum::<u64>(), life);
        for vcpu in &both.plain.vcpus {
            let times = both.real.times(Id(vcpu.id), at).expect("it is there");
            assert_eq!(
                [times.window.0, times.reserved.0, times.left_over.0],
                vcpu.ran
            );
            assert_eq!(
                (times.missed, times.worst_short.0),
                (vcpu.missed, vcpu.short)
            );
            let all = times.run().0 + times.wait.0 + times.throttled.0 + times.blocked.0;
            assert!(
                all <= life && life <= all + core.stolen.0,
                "{times:?} of {life}"
            );
            assert!(times.worst_wake <= times.worst_wait && times.worst_wait <= times.wait);
        }
    }
    assert_eq!(life, now);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_both_decide_the_same(
        steps in proptest::collection::vec(steps(), 1..120),
        cost in prop_oneof![Just(0), 0..8_u64],
        first in proptest::collection::vec(shares(), 0..usize::from(CAPACITY)),
    ) {
        run(steps, cost, first);
    }

    #[test]
    fn times_add_up_and_are_those_that_were_seen(
        steps in proptest::collection::vec(steps(), 1..120),
        first in proptest::collection::vec(shares(), 1..usize::from(CAPACITY)),
    ) {
        counts(steps, first);
    }
}
