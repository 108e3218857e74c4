//! What events mean.

use super::*;
use crate::trace::timeline::{Does, Holder, Mark, Slice, State, Vcpu};
use What::{Block, Host, Move, Refill, Spent, Wake};
use proptest::prelude::*;

const A: Vcpu = Vcpu { vm: 0, vcpu: 0 };
const B: Vcpu = Vcpu { vm: 1, vcpu: 0 };

/// A timeline of ten milliseconds from what cores recorded from the start.
fn timeline(cores: &[&[(u64, u64)]]) -> Timeline {
    let rings = (0..).zip(cores).map(|(core, events)| {
        let mut ring = Ring::new(core);
        ring.take(&chunk(core, 0, events), 0, 0);
        ring
    });
    Timeline::new(&recording(rings.collect()))
}

fn recording(cores: Vec<Ring>) -> Recording {
    Recording {
        tsc: TSC,
        entered: ENTERED,
        from: at(0),
        until: at(10_000),
        vms: Vec::new(),
        cores,
    }
}

fn slices<T: Copy>(slices: &[Slice<T>]) -> Vec<(u64, u64, T)> {
    let micros = |time: Ticks| time.since(ENTERED).0;
    slices
        .iter()
        .map(|slice| (micros(slice.start), micros(slice.end), slice.what))
        .collect()
}

fn states(timeline: &Timeline, vcpu: Vcpu) -> Vec<(u64, u64, u32, Does)> {
    let states = slices(&timeline.vcpus[&vcpu].states);
    let flat = |(start, end, State { core, does })| (start, end, core, does);
    states.into_iter().map(flat).collect()
}

#[test]
fn who_loses_the_core_waits_unless_it_sleeps() {
    let left = Band::LeftOver;
    let timeline = timeline(&[&[
        (0, run(left, 0, 0)),
        (1000, run(left, 1, 0)),
        (2000, event(Block, 1, 0, 0)),
        (2010, run(left, 0, 0)),
        (3000, idle()),
    ]]);
    assert_eq!(
        states(&timeline, A),
        [
            (0, 1000, 0, Does::Run(left)),
            (1000, 2010, 0, Does::Wait),
            (2010, 3000, 0, Does::Run(left)),
            (3000, 10_000, 0, Does::Wait),
        ]
    );
    assert_eq!(states(&timeline, B), [(1000, 2000, 0, Does::Run(left))]);
    assert_eq!(
        slices(&timeline.cores[0].holders),
        [
            (0, 1000, Holder::Vcpu(A, left)),
            (1000, 2000, Holder::Vcpu(B, left)),
            (2010, 3000, Holder::Vcpu(A, left)),
            (3000, 10_000, Holder::Idle),
        ]
    );
}

#[test]
fn who_is_outside_its_window_does_not_wait_for_another() {
    let window = Band::Window;
    let timeline = timeline(&[&[
        (0, run(window, 0, 0)),
        (4000, idle()),
        (5000, run(window, 1, 0)),
        (6000, run(window, 0, 0)),
    ]]);
    assert_eq!(
        states(&timeline, A),
        [
            (0, 4000, 0, Does::Run(window)),
            (4000, 6000, 0, Does::Throttled),
            (6000, 10_000, 0, Does::Run(window)),
        ]
    );
    assert_eq!(states(&timeline, B)[1], (6000, 10_000, 0, Does::Throttled));
}

#[test]
fn a_spent_budget_throttles_until_it_is_whole_or_left_over_time_is_given() {
    let timeline = timeline(&[&[
        (0, run(Band::Reserved, 0, 0)),
        (1000, event(Spent, 0, 0, 0)),
        (1500, event(Wake, 0, 0, 0)),
        (4000, event(Refill, 0, 0, 0)),
        (4100, run(Band::Reserved, 0, 0)),
        (5100, event(Spent, 0, 0, 0)),
        (5100, run(Band::LeftOver, 0, 0)),
        (6000, event(Refill, 0, 0, 0)),
        (6000, run(Band::Reserved, 0, 0)),
    ]]);
    assert_eq!(
        states(&timeline, A),
        [
            (0, 1000, 0, Does::Run(Band::Reserved)),
            (1000, 4000, 0, Does::Throttled),
            (4000, 4100, 0, Does::Wait),
            (4100, 5100, 0, Does::Run(Band::Reserved)),
            (5100, 6000, 0, Does::Run(Band::LeftOver)),
            (6000, 10_000, 0, Does::Run(Band::Reserved)),
        ]
    );
}

#[test]
fn who_goes_to_another_core_waits_there() {
    let left = Band::LeftOver;
    let timeline = timeline(&[
        &[
            (0, run(left, 1, 0)),
            (100, event(Wake, 0, 0, 0)),
            (500, event(Move, 0, 0, 1)),
        ],
        &[(0, idle()), (700, run(left, 0, 0)), (900, idle())],
    ]);
    assert_eq!(
        states(&timeline, A)[..3],
        [
            (100, 500, 0, Does::Wait),
            (500, 700, 1, Does::Wait),
            (700, 900, 1, Does::Run(left)),
        ]
    );
    let marks = [(at(100), Mark::Wake), (at(500), Mark::Move(1))];
    assert_eq!(timeline.vcpus[&A].marks, marks);
}

#[test]
fn of_what_was_overwritten_nothing_is_claimed() {
    let left = Band::LeftOver;
    let mut ring = Ring::new(0);
    let before = [(0, run(left, 0, 0)), (1000, event(Wake, 1, 0, 0))];
    ring.take(&chunk(0, 0, &before), 0, 0);
    ring.take(&chunk(0, 40, &[(5000, run(left, 1, 0))]), 2, 0);
    assert_eq!((ring.lost, ring.events()), (38, 3));
    let timeline = Timeline::new(&recording(vec![ring]));
    assert_eq!(
        slices(&timeline.cores[0].holders),
        [
            (0, 1000, Holder::Vcpu(A, left)),
            (1000, 5000, Holder::Lost),
            (5000, 10_000, Holder::Vcpu(B, left)),
        ]
    );
    assert_eq!(states(&timeline, A), [(0, 1000, 0, Does::Run(left))]);
    assert_eq!(states(&timeline, B), [(5000, 10_000, 0, Does::Run(left))]);
}

#[test]
fn what_is_missing_from_before_is_no_loss() {
    let mut ring = Ring::new(0);
    ring.take(&chunk(0, 30, &[(0, idle())]), 10, 40);
    assert_eq!((ring.lost, ring.events()), (0, 1));
    let mut ring = Ring::new(0);
    ring.take(&chunk(0, 45, &[(0, idle())]), 10, 40);
    assert_eq!(ring.lost, 5);
}

#[test]
fn work_of_the_hypervisor_ends_when_it_is_told() {
    let timeline = timeline(&[&[
        (500, event(Host, 0, 0, 2000)),
        (3000, event(Host, 0, 0, 1000)),
        (10_400, event(Host, 0, 0, 500)),
    ]]);
    assert_eq!(
        slices(&timeline.cores[0].host),
        [(0, 500, None), (2000, 3000, None), (9900, 10_000, None)]
    );
}

proptest! {
    /// A machine can answer anything.
    #[test]
    fn whatever_is_recorded_is_drawn_without_overlap(
        cores in prop::collection::vec(
            prop::collection::vec((0..400u64, 0..16u64, 0..3u8, 0..2u8, 0..5u32), 0..60),
            1..4,
        ),
        first in 0..3u64,
    ) {
        let rings = (0..).zip(cores).map(|(core, events)| {
            let mut ring = Ring::new(core);
            let mut time = 0;
            let mut from = 0;
            for events in events.chunks(9) {
                let events: Vec<(u64, u64)> = events
                    .iter()
                    .map(|(since, kind, vm, vcpu, arg)| {
                        time += since;
                        let word = kind | u64::from(*vcpu) << 5 | u64::from(*vm) << 13 | u64::from(*arg) << 21;
                        (time, word)
                    })
                    .collect();
                ring.take(&chunk(core, from + first, &events), from, 0);
                from += first + events.len() as u64;
            }
            ring
        });
        let recording = recording(rings.collect());
        let timeline = Timeline::new(&recording);
        let apart = |ends: Vec<(u64, u64)>| {
            ends.iter().all(|(start, end)| start < end && *end <= 10_000)
                && ends.is_sorted_by(|(_, end), (start, _)| end <= start)
        };
        for core in &timeline.cores {
            prop_assert!(apart(slices(&core.holders).iter().map(|it| (it.0, it.1)).collect()));
        }
        for doings in timeline.vcpus.values() {
            prop_assert!(apart(slices(&doings.states).iter().map(|it| (it.0, it.1)).collect()));
        }
        perfetto::json(&recording, &timeline).unwrap();
        picture::svg(&recording, &timeline);
    }
}
