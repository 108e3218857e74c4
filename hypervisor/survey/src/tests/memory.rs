//! Physical memory for tests, also as `paging` wants it.

use crate::{Frame, Memory};
use seam::TableMem;
use spec::Hpa;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Frames that are there, with what they hold.
#[derive(Clone, Default)]
pub(super) struct Fake(Rc<RefCell<BTreeMap<u64, Box<[u64; 512]>>>>);

impl Fake {
    /// Puts a word at an address, whose frame is there from now on.
    pub(super) fn put(&self, at: u64, word: u64) {
        let mut frames = self.0.borrow_mut();
        let frame = frames
            .entry(at & !0xfff)
            .or_insert_with(|| Box::new([0; 512]));
        frame[(at & 0xfff) as usize / 8] = word;
    }

    /// Puts a frame of ones there.
    pub(super) fn ones(&self, at: u64) {
        self.0.borrow_mut().insert(at, Box::new([u64::MAX; 512]));
    }

    /// Flips a bit, which counts from the frame's first.
    pub(super) fn flip(&self, frame: u64, bit: u64) {
        let at = frame + bit / 64 * 8;
        self.put(at, self.word(at) ^ 1 << (bit % 64));
    }

    fn word(&self, at: u64) -> u64 {
        self.0.borrow()[&(at & !0xfff)][(at & 0xfff) as usize / 8]
    }

    /// Frames that are there.
    pub(super) fn frames(&self) -> Vec<u64> {
        self.0.borrow().keys().copied().collect()
    }
}

impl Memory for Fake {
    fn read(&self, at: u64, words: &mut Frame) -> bool {
        let frames = self.0.borrow();
        let frame = frames.get(&at);
        frame
            .inspect(|frame| words.copy_from_slice(&frame[..]))
            .is_some()
    }
}

impl TableMem for Fake {
    fn alloc(&mut self) -> Option<Hpa> {
        // Not all tables are neighbours.
        let last = self.0.borrow().keys().last().copied().unwrap_or(0x10_0000);
        let at = last + if last % 3 == 0 { 0x1000 } else { 0x3000 };
        self.put(at, 0);
        Some(Hpa(at))
    }

    fn free(&mut self, frame: Hpa) {
        self.0.borrow_mut().remove(&frame.0);
    }

    fn read(&self, frame: Hpa, index: usize) -> u64 {
        self.word(frame.0 + 8 * index as u64)
    }

    fn write(&mut self, frame: Hpa, index: usize, entry: u64) {
        self.put(frame.0 + 8 * index as u64, entry);
    }
}
