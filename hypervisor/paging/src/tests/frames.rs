//! Frames with their history, and a walk of them as the manual has it.

use crate::*;
use seam::TableMem;
use spec::Hpa;
use std::boxed::Box;
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;
use std::vec::Vec;

pub(super) const K4: u64 = 1 << 12;
pub(super) const M2: u64 = 1 << 21;
pub(super) const G1: u64 = 1 << 30;

#[derive(Clone, Copy, PartialEq, Debug)]
pub(super) enum Event {
    Alloc(Hpa),
    Free(Hpa),
    Write(Hpa, usize, u64),
    Flush,
}

/// Frames with their history. The first frame handed out is at address zero, which must be as good as any.
#[derive(Default)]
pub(super) struct State {
    frames: BTreeMap<u64, Box<[u64; 512]>>,
    pub(super) history: Vec<Event>,
    next: u64,
    left: u64,
}

#[derive(Clone, Default)]
pub(super) struct Mem(pub(super) Rc<RefCell<State>>);

impl Mem {
    pub(super) fn with(left: u64) -> Self {
        let mem = Self::default();
        mem.0.borrow_mut().left = left;
        mem
    }

    pub(super) fn in_use(&self) -> usize {
        self.0.borrow().frames.len()
    }

    pub(super) fn flush(&self) {
        self.0.borrow_mut().history.push(Event::Flush);
    }

    pub(super) fn frames(&self) -> BTreeMap<u64, Box<[u64; 512]>> {
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
pub(super) fn hardware(
    frames: &BTreeMap<u64, Box<[u64; 512]>>,
    root: Hpa,
    gpa: u64,
) -> Option<(u64, u64)> {
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
pub(super) fn reachable(
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

pub(super) fn ept(largest: Level) -> Ept {
    Ept {
        largest,
        execute_only: false,
    }
}

pub(super) fn tables(mem: &Mem, largest: Level) -> Tables<Ept, Mem> {
    Tables::new(ept(largest), mem.clone()).unwrap()
}

pub(super) fn pages<F: Format, M: TableMem>(t: &Tables<F, M>) -> Vec<Page<F::Address>> {
    let mut found = Vec::new();
    t.walk(&mut |met| {
        if let Met::Page(page) = met {
            found.push(page);
        }
    });
    found
}
