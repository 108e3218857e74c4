//! Left-over time over a second of a 50 MHz clock.

use proptest::prelude::*;
use sched::{Id, Reservation, Scheduler, Share, Weight};
use spec::Ticks;

const SECOND: u64 = 50_000_000;
const SLICE: u64 = 50_000;

fn weighted(weight: u32) -> Share {
    Share {
        weight: Weight::new(weight),
        reservation: None,
    }
}

fn reserved(weight: Option<u32>, budget: u64, period: u64) -> Share {
    Share {
        weight: weight.and_then(Weight::new),
        reservation: Some(Reservation {
            budget: Ticks(budget),
            period: Ticks(period),
        }),
    }
}

/// A core on which these are always ready.
fn core(shares: &[Share], now: u64) -> Scheduler {
    let mut it = Scheduler::new(64, Ticks(SLICE), Ticks(now));
    for (id, share) in (0..).zip(shares) {
        assert!(it.add(Id(id), *share, Ticks(now)));
        assert!(it.wake(Id(id), Ticks(now)));
    }
    it
}

fn left_over(core: &Scheduler, id: u16, now: u64) -> u64 {
    core.times(Id(id), Ticks(now))
        .expect("it is there")
        .left_over
        .0
}

/// Each comes as late as `late` says.
fn run(core: &mut Scheduler, from: u64, to: u64, mut late: impl FnMut() -> u64) {
    let mut now = from;
    while now < to {
        let until = core.decide(Ticks(now)).until.0;
        now = until.saturating_add(late()).min(to);
    }
    core.decide(Ticks(to));
}

/// A hog, and one that runs for `run` ticks and sleeps for `sleep`, again and again.
struct Storm {
    run: u64,
    sleep: u64,
    /// What its switches cost the host in each turn
    cost: u64,
}

impl Storm {
    /// The second that follows, with the storm's turns in it.
    fn rage(&self, core: &mut Scheduler, storm: u16) -> u64 {
        let (mut now, mut turns, mut ran) = (0, 0, None);
        while now < SECOND {
            let decision = core.decide(Ticks(now));
            let is_on = decision.run.is_some_and(|(id, _)| id.0 == storm);
            let mut next = decision.until.0;
            if is_on {
                let since = *ran.get_or_insert_with(|| {
                    turns += 1;
                    core.stolen(Ticks(self.cost));
                    now
                });
                next = next.min(since + self.cost + self.run);
                if now >= since + self.cost + self.run {
                    core.block(Id(storm), Some(Ticks(now + self.sleep)), Ticks(now));
                    ran = None;
                    continue;
                }
            }
            now = next.min(SECOND);
        }
        turns
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn weights_are_kept_within_a_hundredth_of_the_whole(
        weights in proptest::collection::vec(prop_oneof![Just(1), Just(100), Just(10_000), 1..=10_000_u32], 1..12),
        // A reservation of up to nine tenths beside them, with a weight of its own or none.
        reservation in proptest::option::of((1..9_u64, 1..40_u64, proptest::option::of(1..10_000_u32))),
        start in 0..u64::MAX / 2,
        late in 0..2_000_u64,
    ) {
        let mut shares: Vec<_> = weights.iter().map(|it| weighted(*it)).collect();
        let mut weights = weights;
        if let Some((tenths, millis, weight)) = reservation {
            let period = millis * SLICE;
            shares.push(reserved(weight, period / 10 * tenths, period));
            weights.extend(weight);
        }
        let mut core = core(&shares, start);
        let mut seed = start;
        run(&mut core, start, start + SECOND, || {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (seed >> 33) % (late + 1)
        });
        let end = start + SECOND;
        let all = core.core_times(Ticks(end)).left_over.0;
        let sum: u32 = weights.iter().sum();
        for (id, weight) in (0..).zip(&weights) {
            let got = left_over(&core, id, end);
            let due = u128::from(all) * u128::from(*weight) / u128::from(sum);
            let off = u128::from(got).abs_diff(due);
            prop_assert!(off <= u128::from(SECOND / 100), "{id}: {got} for {due} of {all}");
        }
    }

    #[test]
    fn a_storm_of_sleep_and_wake_gains_nothing(
        weight in prop_oneof![Just(1), Just(100), Just(10_000_u32)],
        own in prop_oneof![Just(1), Just(100), Just(10_000_u32)],
        run in 2_500..60_000_u64,
        sleep in 1..100_000_u64,
    ) {
        let mut core = core(&[weighted(weight), weighted(own)], 0);
        let storm = Storm { run, sleep, cost: 0 };
        storm.rage(&mut core, 1);
        let due = u128::from(SECOND) * u128::from(own) / u128::from(own + weight);
        let got = u128::from(left_over(&core, 1, SECOND));
        prop_assert!(got <= due + u128::from(SECOND / 100), "{got} for {due}");
        let hog = u128::from(left_over(&core, 0, SECOND));
        prop_assert!(hog + u128::from(SECOND / 100) >= u128::from(SECOND) - due, "{hog}");
    }

    /// Whoever moves takes along what it had too much: not what it is owed, and nothing of it is forgotten.
    #[test]
    fn moving_all_the_time_gains_nothing_and_loses_no_time(
        stay in 1_000..200_000_u64,
        own in prop_oneof![Just(1), Just(100), Just(10_000_u32)],
        weight in prop_oneof![Just(1), Just(100), Just(1_000_u32)],
    ) {
        let mut cores = [core(&[weighted(weight)], 0), core(&[weighted(weight)], 0)];
        let mover = Id(7);
        cores[0].add(mover, weighted(own), Ticks(0));
        cores[0].wake(mover, Ticks(0));
        let (mut here, mut now) = (0, 0);
        while now < SECOND {
            let next = (now + stay).min(SECOND);
            for core in &mut cores {
                run(core, now, next, || 0);
            }
            now = next;
            let luggage = cores[here].remove(mover, Ticks(now)).expect("it is there");
            here = 1 - here;
            prop_assert!(cores[here].adopt(mover, weighted(own), luggage, Ticks(now)));
            prop_assert!(cores[here].wake(mover, Ticks(now)));
        }
        let times = cores[here].times(mover, Ticks(now)).expect("it is there");
        let due = u128::from(SECOND) * u128::from(own) / u128::from(own + weight);
        prop_assert!(u128::from(times.run().0) <= due + u128::from(SECOND / 100), "{times:?} for {due}");
        prop_assert_eq!(times.run().0 + times.wait.0 + times.blocked.0, SECOND);
        let hogs: u64 = (0..2).map(|at| left_over(&cores[at], 0, now)).sum();
        prop_assert_eq!(hogs + times.run().0, 2 * SECOND);
    }
}

/// The smallest weight beside the largest is served all the same, by the bound that `fair` states.
#[test]
fn the_smallest_weight_does_not_starve() {
    let mut shares = vec![weighted(10_000); 3];
    shares.push(weighted(1));
    let mut core = core(&shares, 0);
    let end = 100 * SECOND;
    run(&mut core, 0, end, || 0);
    let times = core.times(Id(3), Ticks(end)).expect("it is there");
    assert!(times.turns >= 3);
    let bound = SLICE + 3 * (SLICE * 10_000 + SLICE);
    assert!(times.worst_wait.0 <= bound, "{times:?} of {bound}");
}

/// It runs for next to nothing and sleeps for less than the host needs to switch: what it costs the others is its own.
#[test]
fn a_storm_pays_for_the_switches_that_it_makes() {
    let (cost, period) = (1_600, 10 * SLICE);
    let storm = Storm {
        run: 10,
        sleep: 10,
        cost,
    };
    for (share, share_of_core) in [
        (reserved(None, period / 10, period), 10),
        (weighted(1), 100),
        (reserved(Some(1), period / 10, period), 9),
    ] {
        let mut core = core(&[weighted(10_000), share], 0);
        core.set_wake_cost(Ticks(cost));
        let turns = storm.rage(&mut core, 1);
        let lost = turns * (cost + storm.run);
        // Beside its share, one wake-up in each period, which admission counts.
        let allowed = SECOND / share_of_core + (SECOND / period + 1) * cost;
        assert!(
            lost <= allowed,
            "{share:?}: {turns} turns, {lost} of {allowed}"
        );
        assert!(left_over(&core, 0, SECOND) + lost >= SECOND - SECOND / 100);
    }
}

#[test]
fn the_one_to_give_away_is_the_last_that_would_run_here() {
    let mut core = core(
        &[
            weighted(100),
            weighted(100),
            weighted(100),
            reserved(Some(1), 5, 100),
        ],
        0,
    );
    assert_eq!(core.movable(), Some(Id(2)));
    let mut now = 0;
    for _ in 0..50 {
        let decision = core.decide(Ticks(now));
        let running = decision.run.map(|(id, _)| id);
        let movable = core.movable();
        assert!(movable.is_some() && movable != running && movable != Some(Id(3)));
        now = decision.until.0;
    }
    for id in [0, 1, 2] {
        core.block(Id(id), None, Ticks(now));
    }
    core.decide(Ticks(now));
    assert_eq!(core.movable(), None);
}
