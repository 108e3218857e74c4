//! Against a model, a walk written from the manual, and every state in between.

use super::*;
use proptest::prelude::*;
use seam::TableMem;
use spec::{Gpa, Hpa, memory_type::MemoryType};
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::vec::Vec;

extern crate std;

const K4: u64 = 1 << 12;
const M2: u64 = 1 << 21;
const G1: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq, Debug)]
enum Event {
    Alloc(Hpa),
    Free(Hpa),
    Write(Hpa, usize, u64),
    Flush,
}

/// Frames with their history. The first frame handed out is at address zero, which must be as good as any.
#[derive(Default)]
struct State {
    frames: BTreeMap<u64, Box<[u64; 512]>>,
    history: Vec<Event>,
    next: u64,
    left: u64,
}

#[derive(Clone, Default)]
struct Mem(Rc<RefCell<State>>);

impl Mem {
    fn with(left: u64) -> Self {
        let mem = Self::default();
        mem.0.borrow_mut().left = left;
        mem
    }

    fn in_use(&self) -> usize {
        self.0.borrow().frames.len()
    }

    fn flush(&self) {
        self.0.borrow_mut().history.push(Event::Flush);
    }

    fn frames(&self) -> BTreeMap<u64, Box<[u64; 512]>> {
        self.0.borrow().frames.clone()
    }
}

impl TableMem for Mem {
    fn alloc(&mut self) -> Option<Hpa> {
        let mut s = self.0.borrow_mut();
        s.left = s.left.checked_sub(1)?;
        let frame = s.next;
        s.next += K4;
        s.frames.insert(frame, Box::new([0; 512]));
        s.history.push(Event::Alloc(Hpa(frame)));
        Some(Hpa(frame))
    }

    fn free(&mut self, frame: Hpa) {
        let mut s = self.0.borrow_mut();
        s.left += 1;
        s.frames.remove(&frame.0).expect("freed once");
        s.history.push(Event::Free(frame));
    }

    fn read(&self, frame: Hpa, index: usize) -> u64 {
        self.0.borrow().frames[&frame.0][index]
    }

    fn write(&mut self, frame: Hpa, index: usize, entry: u64) {
        let mut s = self.0.borrow_mut();
        s.frames.get_mut(&frame.0).expect("allocated")[index] = entry;
        s.history.push(Event::Write(frame, index, entry));
    }
}

/// What an EPT walk of the hardware finds (SDM vol. 3, "EPT Translation Mechanism").
fn hardware(frames: &BTreeMap<u64, Box<[u64; 512]>>, root: Hpa, gpa: u64) -> Option<(u64, u64)> {
    let mut table = root.0;
    let mut rights = 7;
    for shift in [39, 30, 21, 12] {
        let entry = frames.get(&table).expect("a table in an allocated frame")
            [(gpa >> shift) as usize & 511];
        if entry & 7 == 0 {
            return None;
        }
        rights &= entry & 7;
        let address = entry & 0x000f_ffff_ffff_f000;
        if shift == 12 || entry & 0x80 != 0 {
            assert_ne!(shift, 39, "bit 7 is reserved at the root");
            let inside = (1 << shift) - 1;
            assert_eq!(address & inside, 0, "reserved bits of a large page");
            return Some((address | (gpa & inside), rights));
        }
        assert_eq!(entry & 0xf8, 0, "reserved bits of a table entry");
        table = address;
    }
    unreachable!()
}

/// Frames that the hardware can reach from the root.
fn reachable(
    frames: &BTreeMap<u64, Box<[u64; 512]>>,
    table: u64,
    shift: u32,
    into: &mut BTreeSet<u64>,
) {
    into.insert(table);
    for entry in frames[&table].iter() {
        if shift > 12 && entry & 7 != 0 && entry & 0x80 == 0 {
            reachable(frames, entry & 0x000f_ffff_ffff_f000, shift - 9, into);
        }
    }
}

fn ept(largest: Level) -> Ept {
    Ept {
        largest,
        execute_only: false,
    }
}

fn tables(mem: &Mem, largest: Level) -> Tables<Ept, Mem> {
    Tables::new(ept(largest), mem.clone()).unwrap()
}

fn pages<F: Format, M: TableMem>(t: &Tables<F, M>) -> Vec<Page<F::Address>> {
    let mut found = Vec::new();
    t.walk(&mut |met| {
        if let Met::Page(page) = met {
            found.push(page);
        }
    });
    found
}

#[test]
fn the_largest_pages_that_fit_are_used() {
    let mem = Mem::with(100);
    let mut t = tables(&mem, Level::GIB_1);
    let wb = MemoryType::WriteBack;
    t.map(Gpa(0), Hpa(4 * G1), 2 * G1 + M2 + K4, Rights::RWX, wb)
        .unwrap();
    let sizes: Vec<_> = pages(&t).iter().map(|p| p.size).collect();
    assert_eq!(sizes, [G1, G1, M2, K4]);
    assert_eq!(
        t.translate(Gpa(G1 + 5)),
        Some((Hpa(5 * G1 + 5), Rights::RWX, G1))
    );
    assert_eq!(t.translate(Gpa(2 * G1 + M2 + K4)), None);

    let mut t = tables(&mem, Level::MIB_2);
    t.map(Gpa(0), Hpa(0), G1, Rights::RW, wb).unwrap();
    assert!(pages(&t).iter().all(|p| p.size == M2));

    let mut t = tables(&mem, Level::GIB_1);
    t.map(Gpa(0), Hpa(K4), 2 * M2, Rights::R, wb).unwrap();
    assert!(pages(&t).iter().all(|p| p.size == K4));
}

#[test]
fn an_ept_entry_has_the_bits_of_the_manual() {
    let mem = Mem::with(10);
    let mut t = tables(&mem, Level::MIB_2);
    t.map(Gpa(0), Hpa(M2), M2, Rights::RWX, MemoryType::WriteBack)
        .unwrap();
    t.map(Gpa(M2), Hpa(3 * K4), K4, Rights::R, MemoryType::Uncacheable)
        .unwrap();
    let frames = mem.frames();
    let next = |table: u64, index: usize| frames[&table][index];
    let directory = next(next(t.root().0, 0) & !0xfff, 0) & !0xfff;
    assert_eq!(next(directory, 0), M2 | 0x80 | (6 << 3) | 7);
    assert_eq!(next(next(directory, 1) & !0xfff, 0), (3 * K4) | 1);
}

#[test]
fn what_cannot_be_said_is_refused() {
    let mem = Mem::with(10);
    let mut t = tables(&mem, Level::GIB_1);
    let wb = MemoryType::WriteBack;
    let w = Rights {
        r: false,
        w: true,
        x: false,
    };
    let x = Rights {
        r: false,
        w: false,
        x: true,
    };
    let mut map = |gpa, hpa, len, rights| t.map(Gpa(gpa), Hpa(hpa), len, rights, wb);
    assert_eq!(map(1, 0, K4, Rights::R), Err(Error::Alignment));
    assert_eq!(map(0, 1, K4, Rights::R), Err(Error::Alignment));
    assert_eq!(map(0, 0, 1, Rights::R), Err(Error::Alignment));
    assert_eq!(map(0, 0, 0, Rights::R), Err(Error::Alignment));
    assert_eq!(map(1 << 48, 0, K4, Rights::R), Err(Error::Range));
    assert_eq!(map((1 << 48) - K4, 0, 2 * K4, Rights::R), Err(Error::Range));
    assert_eq!(map(K4, 0, !(K4 - 1), Rights::R), Err(Error::Range));
    assert_eq!(map(0, 1 << 52, K4, Rights::R), Err(Error::Range));
    assert_eq!(map(0, (1 << 52) - K4, 2 * K4, Rights::R), Err(Error::Range));
    assert_eq!(
        map(0, !(K4 - 1), K4, Rights::R),
        Err(Error::Range),
        "the last byte of all"
    );
    assert_eq!(map(0, 0, K4, w), Err(Error::Rights));
    assert_eq!(map(0, 0, K4, x), Err(Error::Rights));
    assert_eq!(map((1 << 48) - K4, (1 << 52) - K4, K4, Rights::R), Ok(()));
    let execute_only = Ept {
        largest: Level::KIB_4,
        execute_only: true,
    };
    let mut t = Tables::new(execute_only, Mem::with(10)).unwrap();
    assert_eq!(t.map(Gpa(0), Hpa(0), K4, x, wb), Ok(()));
    assert_eq!(t.translate(Gpa(0)), Some((Hpa(0), x, K4)));
}

#[test]
fn an_overlap_is_refused_and_changes_nothing() {
    let mem = Mem::with(100);
    let mut t = tables(&mem, Level::GIB_1);
    let wb = MemoryType::WriteBack;
    t.map(Gpa(G1 + 5 * K4), Hpa(0), K4, Rights::R, wb).unwrap();
    let before = mem.frames();
    let twice = t.map(Gpa(0), Hpa(0), 2 * G1, Rights::R, wb);
    assert_eq!(twice, Err(Error::Overlap(Gpa(G1 + 5 * K4))));
    assert_eq!(mem.frames(), before);
}

#[test]
fn the_host_format_is_write_xor_execute_and_canonical() {
    let mem = Mem::with(100);
    let long = Long {
        largest: Level::MIB_2,
        global: true,
    };
    let mut t = Tables::new(long, mem.clone()).unwrap();
    let wb = MemoryType::WriteBack;
    let top = 0xffff_ffff_ffe0_0000;
    assert_eq!(
        t.map(Hva(top), Hpa(0), M2, Rights::RWX, wb),
        Err(Error::Rights)
    );
    assert_eq!(
        t.map(Hva(1 << 47), Hpa(0), K4, Rights::RW, wb),
        Err(Error::Range)
    );
    assert_eq!(
        t.map(Hva((1 << 47) - K4), Hpa(0), 2 * K4, Rights::RW, wb),
        Err(Error::Range)
    );
    assert_eq!(
        t.map(Hva(top), Hpa(0), 2 * M2, Rights::RW, wb),
        Err(Error::Range)
    );
    assert_eq!(
        t.map(Hva(0), Hpa(0), K4, Rights::RW, MemoryType::WriteCombining),
        Err(Error::Rights)
    );
    t.map(Hva(top), Hpa(M2), M2, Rights::RX, wb).unwrap();
    t.map(Hva(K4), Hpa(K4), K4, Rights::RW, MemoryType::Uncacheable)
        .unwrap();
    t.map(
        Hva(2 * K4),
        Hpa(K4),
        K4,
        Rights::R,
        MemoryType::WriteThrough,
    )
    .unwrap();
    let frames = mem.frames();
    let follow = |path: &[usize]| {
        path.iter().fold(t.root().0, |table, index| {
            frames[&(table & 0x000f_ffff_ffff_f000)][*index]
        })
    };
    // Present, accessed, dirty, large, global; not writable, and executable.
    assert_eq!(follow(&[511, 511, 511]), M2 | 0x1e1);
    // Present, writable, uncached (PAT entry 3), accessed, dirty, global, not executable.
    assert_eq!(follow(&[0, 0, 0, 1]), K4 | (1 << 63) | 0x17b);
    let found = pages(&t);
    assert_eq!(found[0].at, Hva(K4));
    assert_eq!(found[0].cache, MemoryType::Uncacheable);
    assert_eq!(found[1].cache, MemoryType::WriteThrough);
    assert_eq!(
        (found[2].at, found[2].rights, found[2].size),
        (Hva(top), Rights::RX, M2)
    );
}

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
