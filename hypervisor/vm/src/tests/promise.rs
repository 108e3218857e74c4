//! When boot is over, what is a breach, and which of them are told.

use crate::{Kind, Promise, Report};
use proptest::prelude::*;
use spec::Ticks;
use std::collections::BTreeMap;
use std::string::ToString;
use std::thread;
use std::vec;
use std::vec::Vec;

const SECOND: Ticks = Ticks(1000);

const BOOT: Ticks = Ticks(3000);

/// A promise that is made at 5000 and holds from 8000 on.
fn made() -> Promise {
    let promise = Promise::default();
    promise.restart(Ticks(5000), BOOT);
    promise
}

fn exit(promise: &Promise, kind: Kind, now: u64) -> Option<Report> {
    promise.exit(kind, Ticks(now), SECOND)
}

/// For how long it holds, and its breaches.
fn stands(promise: &Promise, now: u64) -> (Option<u64>, Vec<(Kind, u64)>) {
    let standing = promise.snapshot(Ticks(now));
    let breaches = standing.breaches().collect();
    (standing.holds_for.map(|ticks| ticks.0), breaches)
}

#[test]
fn boot_takes_as_long_as_was_said_however_quiet_it_is() {
    let promise = made();
    assert_eq!(stands(&promise, 5000), (None, vec![]));
    // Silent for longer than a second.
    for now in [5000, 5001, 7500, 7999] {
        assert_eq!(exit(&promise, Kind::Port, now), None);
        assert_eq!(stands(&promise, now), (None, vec![]));
    }
    // Seen without an exit that would say so.
    assert_eq!(stands(&promise, 8000), (Some(0), vec![]));
    assert_eq!(stands(&promise, 20_000), (Some(12_000), vec![]));
}

#[test]
fn each_exit_after_boot_is_a_breach() {
    let promise = made();
    assert_eq!(exit(&promise, Kind::Cpuid, 7999), None);
    assert!(exit(&promise, Kind::Port, 8000).is_some());
    assert_eq!(stands(&promise, 8001), (Some(1), vec![(Kind::Port, 1)]));
    exit(&promise, Kind::Port, 8001);
    assert!(exit(&promise, Kind::Cpuid, 8002).is_some());
    let breaches = vec![(Kind::Cpuid, 1), (Kind::Port, 2)];
    assert_eq!(stands(&promise, 8102), (Some(100), breaches));
}

#[test]
fn the_first_of_each_kind_is_told_and_of_the_others_one_a_second() {
    let promise = made();
    let first = exit(&promise, Kind::Port, 8000).unwrap();
    assert_eq!(first.to_string(), "exit=port breaches=1");
    assert!(first.is_first);
    for now in 8001..=8500 {
        assert_eq!(exit(&promise, Kind::Port, now), None);
    }
    let report = |kind, is_first, breaches| {
        Some(Report {
            kind,
            is_first,
            breaches,
        })
    };
    assert_eq!(
        exit(&promise, Kind::Hlt, 8501),
        report(Kind::Hlt, true, 501)
    );
    assert_eq!(exit(&promise, Kind::Port, 9500), None);
    assert_eq!(
        exit(&promise, Kind::Port, 9501),
        report(Kind::Port, false, 2)
    );
    assert_eq!(
        exit(&promise, Kind::Hlt, 99_999),
        report(Kind::Hlt, false, 1)
    );
}

#[test]
fn a_vcpu_that_starts_again_boots_again() {
    let promise = made();
    assert!(exit(&promise, Kind::Port, 9000).is_some());
    promise.restart(Ticks(9500), BOOT);
    assert_eq!(stands(&promise, 12_499), (None, vec![]));
    assert_eq!(exit(&promise, Kind::Port, 12_499), None);
    // Told anew, although it was told before.
    assert!(exit(&promise, Kind::Port, 12_500).unwrap().is_first);
}

/// A vCPU that waits for its start-up has not booted, however long it waits.
#[test]
fn who_has_not_begun_keeps_no_promise() {
    let promise = Promise::default();
    assert_eq!(stands(&promise, 1 << 40), (None, vec![]));
    assert_eq!(exit(&promise, Kind::Port, 1 << 40), None);
    promise.restart(Ticks(0), BOOT);
    assert_eq!(stands(&promise, 2999), (None, vec![]));
    assert_eq!(stands(&promise, 3001), (Some(1), vec![]));
    promise.clear();
    assert_eq!(stands(&promise, 1 << 41), (None, vec![]));
}

#[test]
fn no_time_is_too_early_or_too_late() {
    let promise = Promise::default();
    promise.restart(Ticks(0), Ticks(0));
    assert_eq!(stands(&promise, 1), (Some(0), vec![]));
    // It does not look like a breach, nor overflow.
    promise.restart(Ticks(1 << 62), Ticks(u64::MAX));
    assert_eq!(stands(&promise, 1 << 62), (None, vec![]));
    assert_eq!(exit(&promise, Kind::Port, 1 << 62), None);
}

/// The time-stamp counters of two cores may differ a little.
#[test]
fn a_reader_whose_clock_is_behind_sees_no_long_time() {
    let promise = made();
    assert!(exit(&promise, Kind::Port, 8000).is_some());
    assert_eq!(stands(&promise, 7990).0, Some(0));
    promise.restart(Ticks(9000), BOOT);
    assert_eq!(stands(&promise, 8990).0, None);
}

/// Any core may look at any time; a count once seen does not go back, and a broken promise does not look as if it held long.
#[test]
fn another_core_may_read_while_one_counts() {
    const FROM: u64 = 8000;
    const EXITS: u64 = 100_000;
    let promise = made();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..EXITS {
                exit(&promise, Kind::Hlt, FROM + n);
            }
        });
        let mut seen = 0;
        while seen < EXITS {
            let (holds_for, breaches) = stands(&promise, FROM);
            assert_eq!(holds_for, Some(0));
            let count = breaches.first().map_or(0, |(_, count)| *count);
            assert!(count >= seen && count <= EXITS);
            seen = count;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn breaches_agree_with_a_list_of_all_exits(
        exits in prop::collection::vec((0..Kind::ALL.len(), prop_oneof![9 => 0..400u64, 1 => 0..3000u64]), 0..200),
    ) {
        let promise = made();
        let mut now = 5000;
        let mut by_kind: BTreeMap<usize, u64> = BTreeMap::new();
        let mut told: Vec<(u64, Report)> = Vec::new();
        for (kind, pause) in exits {
            now += pause;
            let has_booted = now >= 8000;
            let report = exit(&promise, Kind::ALL[kind], now);
            prop_assert!(has_booted || report.is_none());
            if has_booted {
                let count = by_kind.entry(kind).or_default();
                *count += 1;
                prop_assert_eq!(*count == 1, report.is_some_and(|report| report.is_first));
            }
            told.extend(report.map(|report| (now, report)));
        }
        let (holds_for, breaches) = stands(&promise, now);
        prop_assert_eq!(holds_for, (now >= 8000).then_some(0));
        let breaches: BTreeMap<usize, u64> = breaches.iter().map(|(kind, count)| (*kind as usize, *count)).collect();
        prop_assert_eq!(&breaches, &by_kind);
        let all: u64 = by_kind.values().sum();
        // No more lines than these, and none of the breaches is told twice or was forgotten.
        for pair in told.windows(2) {
            prop_assert!(pair[1].1.is_first || pair[1].0 - pair[0].0 >= SECOND.0);
        }
        let sum: u64 = told.iter().map(|(_, report)| report.breaches).sum();
        let last = told.last().map_or(now, |(at, _)| *at);
        prop_assert!(sum <= all && (sum == all || now - last < SECOND.0));
    }
}
