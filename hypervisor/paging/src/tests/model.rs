//! Any changes against a model, with every state in between.

use super::frames::*;
use crate::*;
use proptest::prelude::*;
use spec::{Gpa, Hpa, memory_type::MemoryType};
use std::boxed::Box;
use std::collections::{BTreeMap, BTreeSet};

/// A change of the tables, in units that make overlaps, splits and large pages likely.
#[derive(Clone, Debug)]
enum Change {
    Map {
        gpa: u64,
        hpa: u64,
        len: u64,
        rights: Rights,
    },
    Unmap {
        gpa: u64,
        len: u64,
    },
}

/// Addresses near the borders of large pages.
fn address() -> impl Strategy<Value = u64> {
    (
        0..3u64,
        0..4u64,
        prop_oneof![Just(0), Just(1), Just(2), Just(511)],
    )
        .prop_map(|(g, m, k)| g * G1 + m * M2 + k * K4)
}

fn length() -> impl Strategy<Value = u64> {
    prop_oneof![
        1..4 * K4,
        Just(M2),
        Just(M2 + K4),
        Just(3 * M2),
        Just(G1),
        Just(2 * G1)
    ]
    .prop_map(|len| (len & !(K4 - 1)).max(K4))
}

fn change() -> impl Strategy<Value = Change> {
    let rights = prop_oneof![
        Just(Rights::R),
        Just(Rights::RW),
        Just(Rights::RX),
        Just(Rights::RWX)
    ];
    let same = prop_oneof![Just(0), Just(4 * G1), Just(7 * M2), Just(K4)];
    prop_oneof![
        3 => (address(), same, length(), rights)
            .prop_map(|(gpa, offset, len, rights)| Change::Map { gpa, hpa: gpa + offset, len, rights }),
        2 => (address(), length()).prop_map(|(gpa, len)| Change::Unmap { gpa, len }),
    ]
}

/// Which ranges are mapped: first address to (end, host address, rights), disjoint.
type Model = BTreeMap<u64, (u64, u64, Rights)>;

fn model_lookup(model: &Model, gpa: u64) -> Option<(u64, Rights)> {
    let (from, (end, hpa, rights)) = model.range(..=gpa).next_back()?;
    (gpa < *end).then(|| (hpa + (gpa - from), *rights))
}

fn model_unmap(model: &mut Model, gpa: u64, len: u64) {
    let end = gpa + len;
    let old = core::mem::take(model);
    for (from, (to, hpa, rights)) in old {
        if from < gpa.min(to) {
            model.insert(from, (to.min(gpa), hpa, rights));
        }
        if to > end.max(from) {
            let start = from.max(end);
            model.insert(start, (to, hpa + (start - from), rights));
        }
    }
}

fn bits(rights: Rights) -> u64 {
    u64::from(rights.r) | u64::from(rights.w) << 1 | u64::from(rights.x) << 2
}

/// The borders of all ranges, and their neighbours.
fn probes(a: &Model, b: &Model) -> BTreeSet<u64> {
    let borders = a
        .iter()
        .chain(b)
        .flat_map(|(from, (end, ..))| [*from, *end]);
    borders
        .flat_map(|at| [at.saturating_sub(1), at])
        .chain([0, M2, G1])
        .collect()
}

/// Replays what the change wrote: every state in between shows each address as before or as after, and no
/// table is given back while the hardware can reach it or before the flush.
fn check_history(
    mut frames: BTreeMap<u64, Box<[u64; 512]>>,
    history: &[Event],
    root: Hpa,
    before: &Model,
    after: &Model,
) {
    let probes = probes(before, after);
    let mut fresh = BTreeSet::new();
    let mut flushed = false;
    for event in history {
        match *event {
            Event::Alloc(frame) => {
                fresh.insert(frame.0);
                frames.insert(frame.0, Box::new([0; 512]));
            }
            Event::Flush => flushed = true,
            Event::Free(frame) => {
                let mut reach = BTreeSet::new();
                reachable(&frames, root.0, 39, &mut reach);
                assert!(!reach.contains(&frame.0), "{frame} is freed and in use");
                assert!(
                    flushed || fresh.contains(&frame.0),
                    "{frame} is freed before the flush"
                );
                frames.remove(&frame.0);
            }
            Event::Write(frame, index, entry) => {
                frames.get_mut(&frame.0).unwrap()[index] = entry;
                for gpa in &probes {
                    let seen = hardware(&frames, root, *gpa);
                    let [old, new] = [before, after]
                        .map(|m| model_lookup(m, *gpa).map(|(hpa, rights)| (hpa, bits(rights))));
                    assert!(
                        seen == old || seen == new,
                        "{gpa:#x}: {seen:x?} for {old:x?}, {new:x?}"
                    );
                }
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(if cfg!(miri) { 2 } else { 256 }))]

    #[test]
    fn any_changes_do_as_the_model_and_never_show_a_wrong_frame(
        changes in prop::collection::vec(change(), 1..12),
        left in prop_oneof![3..24u64, Just(10_000)],
        largest in prop_oneof![Just(Level::KIB_4), Just(Level::MIB_2), Just(Level::GIB_1)],
    ) {
        let mem = Mem::with(left);
        let mut t = tables(&mem, largest);
        let mut model = Model::new();
        for change in changes {
            let frames = mem.frames();
            mem.0.borrow_mut().history.clear();
            let before = model.clone();
            let done = match change {
                Change::Map { gpa, hpa, len, rights } => {
                    // With small pages alone a gibibyte is a million entries: too slow to try often.
                    let len = if largest == Level::KIB_4 || (hpa - gpa) % M2 != 0 { len.min(M2 + K4) } else { len };
                    let overlap = model.iter().any(|(from, (end, ..))| *from < gpa + len && gpa < *end);
                    let done = t.map(Gpa(gpa), Hpa(hpa), len, rights, MemoryType::WriteBack);
                    match done {
                        Ok(()) => {
                            prop_assert!(!overlap);
                            model.insert(gpa, (gpa + len, hpa, rights));
                        }
                        Err(Error::Overlap(at)) => prop_assert!(model_lookup(&model, at.0).is_some()),
                        Err(e) => prop_assert!(e == Error::Frames && left < 10_000 && !overlap),
                    }
                    done
                }
                Change::Unmap { gpa, len } => {
                    let done = t.unmap(Gpa(gpa), len, || mem.flush());
                    match done {
                        Ok(()) => model_unmap(&mut model, gpa, len),
                        Err(e) => prop_assert!(e == Error::Frames && left < 10_000),
                    }
                    done
                }
            };
            if done.is_err() {
                prop_assert_eq!(&frames, &mem.frames(), "a refused change leaves no trace");
            }
            let history = mem.0.borrow().history.clone();
            check_history(frames, &history, t.root(), &before, &model);

            // What is there now, by three ways.
            for gpa in probes(&before, &model) {
                let want = model_lookup(&model, gpa);
                prop_assert_eq!(t.translate(Gpa(gpa)).map(|(hpa, rights, _)| (hpa.0, rights)), want);
            }
            let found = pages(&t);
            let mapped: u64 = model.iter().map(|(from, (end, ..))| end - from).sum();
            prop_assert_eq!(found.iter().map(|p| p.size).sum::<u64>(), mapped);
            for page in found {
                prop_assert_eq!(model_lookup(&model, page.at.0), Some((page.frame.0, page.rights)));
                prop_assert_eq!(
                    model_lookup(&model, page.at.0 + page.size - 1),
                    Some((page.frame.0 + page.size - 1, page.rights))
                );
            }
            // No table leaks: each frame in use is one that the walk meets.
            let mut count = 0;
            t.walk(&mut |met| count += usize::from(matches!(met, Met::Table(_))));
            prop_assert_eq!(count, mem.in_use());
        }
        t.unmap(Gpa(0), 8 * G1, || mem.flush()).unwrap();
        prop_assert_eq!(mem.in_use(), 1, "only the root is left");
        t.free();
        prop_assert_eq!(mem.in_use(), 0);
    }
}
