//! What is promised, tick by tick, with guests that try to get more.

mod simulation;

use proptest::prelude::*;
use sched::{Id, Reservation, Share, Weight, Window};
use simulation::{Behaviour, Simulation};
use spec::Ticks;

/// All periods divide it.
const WHOLE: u64 = 120;

fn behaviours() -> impl Strategy<Value = Behaviour> {
    let some = (
        (1..6_u64, 0..12_u64),
        (1..4_u64, 0..30_u64),
        any::<bool>(),
        any::<bool>(),
    );
    prop_oneof![
        1 => Just(Behaviour::SPINS),
        3 => some.prop_map(|((run, more), (sleep, longer), timer, sly)| Behaviour {
            run: (run, run + more),
            sleep: (sleep, sleep + longer),
            timer,
            sly,
        }),
    ]
}

fn weights() -> impl Strategy<Value = Option<Weight>> {
    proptest::option::of(
        prop_oneof![Just(1), Just(100), 1..400_u32]
            .prop_map(|it| Weight::new(it).expect("in range")),
    )
}

/// Reservations that fill a core, if `full` exactly, each with its guest.
fn reservations() -> impl Strategy<Value = Vec<(Share, Behaviour)>> {
    let periods = prop_oneof![
        Just(4),
        Just(5),
        Just(6),
        Just(10),
        Just(12),
        Just(20),
        Just(30),
        Just(60_u64)
    ];
    let one = (periods, 1..100_u64, weights(), behaviours());
    (
        proptest::collection::vec(one, 1..5),
        any::<bool>(),
        behaviours(),
    )
        .prop_map(|(wanted, full, last)| {
            let mut rest = WHOLE;
            let mut guests = Vec::new();
            for (period, percent, weight, behaviour) in wanted {
                let budget = (period * percent / 100).clamp(1, period);
                let used = budget * WHOLE / period;
                if used <= rest {
                    rest -= used;
                    guests.push((share(weight, Some((budget, period))), behaviour));
                }
            }
            if full && rest > 0 {
                guests.push((share(None, Some((rest, WHOLE))), last));
            }
            guests
        })
}

fn share(weight: Option<Weight>, reservation: Option<(u64, u64)>) -> Share {
    Share {
        weight,
        reservation: reservation.map(|(budget, period)| Reservation {
            budget: Ticks(budget),
            period: Ticks(period),
        }),
    }
}

fn weighted() -> impl Strategy<Value = Vec<(Share, Behaviour)>> {
    proptest::collection::vec((weights(), behaviours()), 0..4).prop_map(|guests| {
        let guests = guests.into_iter();
        guests
            .map(|(weight, behaviour)| (share(weight.or(Some(Weight::default())), None), behaviour))
            .collect()
    })
}

/// Of left-over time, what one may have to wait, as `fair` states it.
fn bound(guests: &[(Share, Behaviour)], slice: u64, own: usize) -> Option<u64> {
    let weight = |at: usize| guests[at].0.weight.map(|it| u64::from(it.get()));
    let own_weight = weight(own)?;
    let others = (0..guests.len()).filter(|it| *it != own).filter_map(weight);
    let waits = others.map(|it| (slice * it).div_ceil(own_weight) + slice);
    Some(slice + waits.sum::<u64>())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 250, failure_persistence: None, ..ProptestConfig::default() })]

    /// No budget is exceeded or denied, the earliest deadline runs, left-over time goes to weights alone, nobody idles
    /// beside one that may run, and nobody comes without cause: all of this is looked at in each tick.
    #[test]
    fn reservations_that_fit_get_their_budgets_whatever_the_others_do(
        reserved in reservations(), weighted in weighted(), slice in 1..15_u64, seed: u64,
    ) {
        let guests = [reserved, weighted].concat();
        let mut simulation = Simulation::new(slice, seed, &guests);
        simulation.run(1200);
        simulation.check_times();
        for (at, guest) in simulation.guests.iter().enumerate() {
            if let Some(bound) = bound(&guests, slice, at) {
                prop_assert!(guest.worst_hunger <= bound, "{at} waited {} of {bound}", guest.worst_hunger);
            }
            let Some(reservation) = guests[at].0.reservation else { continue };
            let (budget, period) = (reservation.budget.0, reservation.period.0);
            for (from, (start, _)) in guest.reserved.iter().enumerate() {
                let mut sum = 0;
                for (begin, end) in &guest.reserved[from..] {
                    sum += end - begin;
                    prop_assert!(sum <= 2 * budget + ((end - start) * budget).div_ceil(period));
                }
            }
        }
    }

    /// Each window is its vCPU's from the first tick to the last, if it wants it; the rest is left over.
    #[test]
    fn windows_are_exact_whatever_the_others_do(
        gaps in proptest::collection::vec((0..10_u64, 1..12_u64, behaviours()), 1..5),
        tail in 1..20_u64, origin in 0..50_u64, weighted in weighted(), slice in 1..15_u64, seed: u64,
    ) {
        let (mut windows, mut guests, mut at) = (Vec::new(), Vec::new(), 0);
        for (id, (gap, length, behaviour)) in (0..).zip(gaps) {
            // Each second window is of the vCPU before.
            let id = Id(id / 2);
            windows.push(Window { at: Ticks(at + gap), length: Ticks(length), id });
            at += gap + length;
            if usize::from(id.0) == guests.len() {
                guests.push((Share::default(), behaviour));
            }
        }
        let cyclic = guests.len();
        guests.extend(weighted);
        let mut simulation = Simulation::new(slice, seed, &guests);
        simulation.set_table(at + tail, origin, windows);
        simulation.run(1200);
        simulation.check_times();
        for id in 0..cyclic {
            let times = simulation.scheduler.times(Id(id as u16), Ticks(1200)).expect("it is there");
            prop_assert_eq!(times.worst_late, Ticks(0));
        }
    }
}

#[test]
fn with_nothing_to_decide_nobody_comes() {
    let spins = |weight| (share(weight, None), Behaviour::SPINS);
    let mut alone = Simulation::new(10, 1, &[spins(Some(Weight::default()))]);
    alone.run(10_000);
    assert_eq!(alone.ticks, 0);
    let mut two = Simulation::new(10, 1, &[spins(Some(Weight::MAX)), spins(Some(Weight::MAX))]);
    two.run(10_000);
    assert!((990..=1000).contains(&two.ticks), "{}", two.ticks);
    let mut full = Simulation::new(10, 1, &[(share(None, Some((10, 10))), Behaviour::SPINS)]);
    full.run(10_000);
    assert!((990..=1000).contains(&full.ticks), "{}", full.ticks);
}
