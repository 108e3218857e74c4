//! What is counted of exits.

use super::fake::Machine;
use crate::{BUCKETS, Kind, Snapshot, Statistics, bucket};
use exits::{Direction, Exit, PortAccess};
use proptest::prelude::*;
use spec::{Msr, Port, Ticks, Vector, Width, msr};
use std::collections::BTreeMap;
use std::format;
use std::string::ToString;
use std::thread;
use std::vec::Vec;

#[test]
fn a_bucket_holds_what_has_as_many_bits() {
    for (ticks, n) in [
        (0, 0),
        (1, 1),
        (2, 2),
        (3, 2),
        (1023, 10),
        (1024, 11),
        ((1 << 30) - 1, 30),
        (1 << 30, 31),
        (u64::MAX, 31),
    ] {
        assert_eq!(bucket(Ticks(ticks)), n, "{ticks}");
    }
    assert!((0..64).all(|n| bucket(Ticks(1 << n)) < BUCKETS));
}

#[test]
fn what_a_user_asks_about_has_a_kind_of_its_own() {
    let port = PortAccess {
        port: Port(0x3f8),
        width: Width::B1,
        direction: Direction::Out,
    };
    for (exit, name) in [
        (Exit::Cpuid, "cpuid"),
        (Exit::Port(port), "port"),
        (Exit::MsrWrite(msr::TSC_DEADLINE), "tsc_deadline"),
        (Exit::MsrWrite(Msr(0x830)), "icr"),
        (Exit::MsrWrite(Msr(0x80b)), "eoi"),
        (Exit::MsrWrite(Msr(0x80f)), "wrmsr"),
        (Exit::MsrRead(msr::TSC_DEADLINE), "rdmsr"),
        (Exit::HostNmi, "kick"),
        (Exit::HostInterrupt(Vector(0x20)), "host_interrupt"),
        (Exit::Unknown(7), "end"),
    ] {
        assert_eq!(Kind::of(&exit).name(), name);
    }
    let names: Vec<_> = Kind::ALL.iter().map(|k| k.name()).collect();
    for (i, name) in names.iter().enumerate() {
        assert_eq!(Kind::ALL[i] as usize, i);
        assert!(!names[..i].contains(name), "{name} twice");
        assert!(
            !name.contains([' ', '=']),
            "{name} is one word of a log line"
        );
    }
}

#[test]
fn the_log_line_names_what_there_was() {
    let m = Machine::new(2);
    assert!(m.vm.snapshot().is_counted());
    assert_eq!(m.vm.snapshot().to_string(), "exits=0 root_ticks=0");
    let [one, two] = &*m.vm.statistics else {
        panic!("as many as vCPUs");
    };
    one.record(Kind::Cpuid, Ticks(0), Ticks(970));
    one.record(Kind::Cpuid, Ticks(0), Ticks(30));
    two.record(Kind::Kick, Ticks(0), Ticks(500));
    assert_eq!(
        m.vm.snapshot().to_string(),
        "exits=3 root_ticks=1500 cpuid=2 kick=1"
    );
    assert!(core::ptr::eq(m.vm.statistics(&m.vcpus[1]), two));
    let all = m.vm.snapshot();
    let row = all.rows().next().unwrap();
    assert_eq!((row.kind, row.count()), (Kind::Cpuid, 2));
    assert_eq!((row.sum, row.worst), (Ticks(1000), Ticks(970)));
    assert_eq!((row.histogram[5], row.histogram[10]), (1, 1));
    m.vm.reset(Machine::new(1).vm.chips);
    assert_eq!(m.vm.snapshot(), Snapshot::default());
}

/// Any core may look at any time; a count once seen does not go back.
#[test]
fn another_core_may_read_while_one_counts() {
    const EXITS: u64 = 100_000;
    let statistics = Statistics::default();
    thread::scope(|scope| {
        scope.spawn(|| {
            for n in 0..EXITS {
                statistics.record(Kind::Hlt, Ticks(0), Ticks(n & 0xff));
            }
        });
        let mut seen = 0;
        while seen < EXITS {
            let now = statistics.snapshot().exits();
            assert!(now >= seen && now <= EXITS);
            seen = now;
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

    #[test]
    fn counters_agree_with_a_list_of_all_that_was_recorded(
        records in prop::collection::vec((0..Kind::ALL.len(), (any::<u64>(), 0..64u32)), 0..200),
    ) {
        let statistics = Statistics::default();
        let mut by_kind: BTreeMap<usize, Vec<u64>> = BTreeMap::new();
        for (kind, (ticks, shift)) in records {
            let ticks = ticks >> shift;
            statistics.record(Kind::ALL[kind], Ticks(0), Ticks(ticks));
            by_kind.entry(kind).or_default().push(ticks);
        }
        let snapshot = statistics.snapshot();
        prop_assert_eq!(snapshot.rows().count(), by_kind.len());
        for (row, (kind, list)) in snapshot.rows().zip(&by_kind) {
            prop_assert_eq!(row.kind as usize, *kind);
            prop_assert_eq!(row.count(), list.len() as u64);
            prop_assert_eq!(row.worst.0, *list.iter().max().unwrap());
            prop_assert_eq!(row.sum.0, list.iter().fold(0, |a: u64, b| a.wrapping_add(*b)));
            for (n, count) in row.histogram.iter().enumerate() {
                // The first number above the bucket, by another way than the bucket is found
                let below = |n: usize| if n >= 31 { u128::MAX } else { 1u128 << n };
                let inside = |t: &&u64| {
                    let t = u128::from(**t);
                    t < below(n) && (n == 0 || t >= below(n - 1))
                };
                prop_assert_eq!(*count, list.iter().filter(inside).count() as u64, "bucket {}", n);
            }
        }
        let mut twice = snapshot.clone();
        twice.add(&snapshot);
        prop_assert_eq!(twice.exits(), 2 * snapshot.exits());
        let line = format!("exits={} root_ticks={}", snapshot.exits(), snapshot.root().0);
        prop_assert!(snapshot.to_string().starts_with(&line));
        statistics.clear();
        prop_assert_eq!(statistics.snapshot(), Snapshot::default());
    }
}
