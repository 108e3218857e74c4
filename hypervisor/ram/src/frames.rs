//! Which physical memory is free: ranges, sorted and merged; and what the rest of it is used for.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "`add` takes only ranges that end below 2^64, which are disjoint; 256 of them at most"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "`count` is the number of ranges in the table, and places are found among them"
)]

use crate::ledger::{Ledger, Owned, Use};
use spec::{Hpa, PAGE_SIZE};

/// A range of host-physical memory, whole frames.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Extent {
    /// First byte
    pub start: Hpa,
    /// In bytes
    pub len: u64,
}

impl Extent {
    pub(crate) const fn end(&self) -> u64 {
        self.start.0 + self.len
    }
}

/// How many separate ranges are kept track of. UEFI maps of large servers have a few hundred entries, of which
/// the usable ones merge into far fewer.
pub const MAX_EXTENTS: usize = 256;

/// The free memory of the machine. Its own memory is fixed: it is what the heap is made from.
#[derive(Debug)]
pub struct Frames {
    free: [Extent; MAX_EXTENTS],
    count: usize,
    ledger: Ledger,
}

impl Default for Frames {
    fn default() -> Self {
        Self::new()
    }
}

impl Frames {
    /// No memory.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            free: [Extent {
                start: Hpa(0),
                len: 0,
            }; MAX_EXTENTS],
            count: 0,
            ledger: Ledger::new(),
        }
    }

    /// Free ranges, lowest first.
    #[must_use]
    pub fn extents(&self) -> &[Extent] {
        self.free.get(..self.count).unwrap_or(&[])
    }

    /// What is used for what, lowest first: all that was taken, or could not be added.
    #[must_use]
    pub fn owned(&self) -> &[Owned] {
        self.ledger.entries()
    }

    /// A part of what was taken is used for this from now on.
    pub fn reuse(&mut self, extent: Extent, used: Use) {
        self.ledger.note(extent, used);
    }

    /// Nothing is known any more of what a part of what was taken is used for: a fault, for tests of who looks for it.
    pub fn disown(&mut self, extent: Extent) {
        self.ledger.strike(extent);
    }

    /// Free bytes.
    #[must_use]
    pub fn available(&self) -> u64 {
        self.extents().iter().map(|e| e.len).sum()
    }

    /// Adds `extent` to what is free, cut to whole frames. `false` if it overlaps what is free already, wraps, or
    /// the table is full; nothing is added then, and that memory is lost, never given twice.
    #[must_use]
    pub fn add(&mut self, extent: Extent) -> bool {
        let Some(end) = extent.start.checked_add(extent.len) else {
            return false;
        };
        let Some(start) = extent.start.checked_add(PAGE_SIZE - 1) else {
            return false;
        };
        let (start, end) = (start.align_down(PAGE_SIZE), end.align_down(PAGE_SIZE));
        if end <= start {
            return true;
        }
        let extent = Extent {
            start,
            len: end.0 - start.0,
        };
        let is_free = |e: &Extent| e.start.0 < extent.end() && extent.start.0 < e.end();
        if self.extents().iter().any(is_free) {
            return false;
        }
        let added = self.add_whole(extent);
        if added {
            self.ledger.strike(extent);
        } else {
            self.ledger.note(extent, Use::Lost);
        }
        added
    }

    /// Adds whole frames of which none is free; `false` if the table is full.
    fn add_whole(&mut self, extent: Extent) -> bool {
        let at = self.extents().partition_point(|e| e.start < extent.start);
        let before = at
            .checked_sub(1)
            .and_then(|i| self.extents().get(i))
            .copied();
        let after = self.extents().get(at).copied();
        let joins_before = before.is_some_and(|b| b.end() == extent.start.0);
        let joins_after = after.is_some_and(|a| extent.end() == a.start.0);
        match (joins_before, joins_after) {
            (true, true) => {
                let more = extent.len + after.map_or(0, |a| a.len);
                self.free[at - 1].len += more;
                self.remove(at);
            }
            (true, false) => self.free[at - 1].len += extent.len,
            (false, true) => {
                self.free[at].start = extent.start;
                self.free[at].len += extent.len;
            }
            (false, false) => return self.insert(at, extent),
        }
        true
    }

    /// Takes `len` bytes aligned to `align` (a power of two, at least a frame) from the highest range that has
    /// them, to be used for `used`: low memory is scarce and wanted by trampolines and old DMA.
    pub fn take(&mut self, len: u64, align: u64, used: Use) -> Option<Extent> {
        let len = len.checked_next_multiple_of(PAGE_SIZE).filter(|&l| l > 0)?;
        for i in (0..self.count).rev() {
            let e = self.free[i];
            let Some(start) = e.end().checked_sub(len).map(|s| s & !(align - 1)) else {
                continue;
            };
            if start >= e.start.0 {
                return self.carve(i, start, len, used);
            }
        }
        None
    }

    /// Takes the largest multiple of `align`, at most `max` bytes, that lies in one range and is aligned to `align`, to be used for
    /// `used`.
    pub fn take_largest(&mut self, max: u64, align: u64, used: Use) -> Option<Extent> {
        let aligned = |e: &Extent| {
            let start = e.start.0.checked_next_multiple_of(align)?;
            let len = e.end().checked_sub(start)? & !(align - 1);
            (len > 0).then_some((start, len))
        };
        let (i, (start, len)) = self
            .extents()
            .iter()
            .enumerate()
            .filter_map(|(i, e)| aligned(e).map(|a| (i, a)))
            .max_by_key(|(_, (_, len))| *len)?;
        let want = len.min(max & !(align - 1));
        if want == 0 {
            return None;
        }
        self.carve(i, start + (len - want), want, used)
    }

    /// Cuts `start..start + len` out of range `i`, which holds it.
    fn carve(&mut self, i: usize, start: u64, len: u64, used: Use) -> Option<Extent> {
        let e = self.free[i];
        let before = start - e.start.0;
        let after = e.end() - (start + len);
        match (before, after) {
            (0, 0) => self.remove(i),
            (_, 0) => self.free[i].len = before,
            (0, _) => {
                self.free[i] = Extent {
                    start: Hpa(start + len),
                    len: after,
                }
            }
            _ => {
                if !self.insert(
                    i + 1,
                    Extent {
                        start: Hpa(start + len),
                        len: after,
                    },
                ) {
                    return None;
                }
                self.free[i].len = before;
            }
        }
        let taken = Extent {
            start: Hpa(start),
            len,
        };
        self.ledger.note(taken, used);
        Some(taken)
    }

    fn insert(&mut self, at: usize, extent: Extent) -> bool {
        if self.count == MAX_EXTENTS {
            return false;
        }
        self.free.copy_within(at..self.count, at + 1);
        self.free[at] = extent;
        self.count += 1;
        true
    }

    fn remove(&mut self, at: usize) {
        self.free.copy_within(at + 1..self.count, at);
        self.count -= 1;
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;
    use std::vec::Vec;

    fn pages(e: Extent) -> impl Iterator<Item = u64> {
        (e.start.0 / PAGE_SIZE)..(e.end() / PAGE_SIZE)
    }

    #[derive(Clone, Debug)]
    enum Op {
        Add(u64, u64),
        Take(u64, u32),
        Largest(u64, u32),
        GiveBack(usize),
    }

    fn op() -> impl Strategy<Value = Op> {
        prop_oneof![
            (0u64..64, 1u64..16).prop_map(|(s, l)| Op::Add(s, l)),
            (1u64..8, 0u32..4).prop_map(|(l, a)| Op::Take(l, a)),
            (1u64..32, 0u32..4).prop_map(|(l, a)| Op::Largest(l, a)),
            (0usize..8).prop_map(Op::GiveBack),
        ]
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 1 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn no_frame_is_lost_or_given_twice(ops in proptest::collection::vec(op(), 0..60)) {
            let mut f = Frames::new();
            let mut free = BTreeSet::new();
            let mut taken: Vec<Extent> = Vec::new();
            for op in ops {
                match op {
                    Op::Add(s, l) => {
                        let e = Extent { start: Hpa(s * PAGE_SIZE), len: l * PAGE_SIZE };
                        if taken.iter().any(|t| pages(*t).any(|p| pages(e).any(|q| p == q))) {
                            continue;
                        }
                        let clash = pages(e).any(|p| free.contains(&p));
                        prop_assert_eq!(f.add(e), !clash);
                        if !clash {
                            free.extend(pages(e));
                        }
                    }
                    Op::Take(l, a) | Op::Largest(l, a) => {
                        let align = PAGE_SIZE << a;
                        let got = if matches!(op, Op::Take(..)) { f.take(l * PAGE_SIZE, align, Use::Stack) } else { f.take_largest(l * PAGE_SIZE, align, Use::Heap) };
                        if let Some(e) = got {
                            prop_assert!(e.start.is_aligned(align));
                            for p in pages(e) {
                                prop_assert!(free.remove(&p), "a frame that was not free");
                            }
                            taken.push(e);
                        }
                    }
                    Op::GiveBack(i) if i < taken.len() => {
                        let e = taken.swap_remove(i);
                        prop_assert!(f.add(e));
                        free.extend(pages(e));
                    }
                    Op::GiveBack(_) => {}
                }
                let listed: Vec<u64> = f.extents().iter().flat_map(|e| pages(*e)).collect();
                prop_assert_eq!(&listed, &free.iter().copied().collect::<Vec<_>>());
                prop_assert!(f.extents().windows(2).all(|w| w[0].end() < w[1].start.0), "sorted, merged");
                let owned: BTreeSet<u64> = f.owned().iter().flat_map(|o| pages(o.extent)).collect();
                let used: BTreeSet<u64> = taken.iter().flat_map(|e| pages(*e)).collect();
                prop_assert_eq!(owned, used, "what is taken is known, and nothing else");
            }
        }
    }

    #[test]
    fn a_full_table_loses_memory_rather_than_giving_it_twice() {
        let mut f = Frames::new();
        for i in 0..MAX_EXTENTS as u64 {
            assert!(f.add(Extent {
                start: Hpa(i * 2 * PAGE_SIZE),
                len: PAGE_SIZE
            }));
        }
        assert!(!f.add(Extent {
            start: Hpa(1 << 30),
            len: PAGE_SIZE
        }));
        assert_eq!(f.available(), MAX_EXTENTS as u64 * PAGE_SIZE);
        let lost = Owned {
            extent: Extent {
                start: Hpa(1 << 30),
                len: PAGE_SIZE,
            },
            used: Use::Lost,
        };
        assert_eq!(f.owned(), &[lost]);
    }

    #[test]
    fn what_is_free_is_not_lost_for_being_given_back_twice() {
        let mut f = Frames::new();
        let all = Extent {
            start: Hpa(0),
            len: 4 * PAGE_SIZE,
        };
        assert!(f.add(all));
        assert!(!f.add(all));
        assert_eq!((f.owned(), f.available()), (&[][..], all.len));
    }

    #[test]
    fn parts_of_frames_are_never_given() {
        let mut f = Frames::new();
        assert!(f.add(Extent {
            start: Hpa(0x1001),
            len: 0x1ffe
        }));
        assert_eq!(
            f.extents(),
            &[Extent {
                start: Hpa(0x2000),
                len: 0x0
            }][..0]
        );
        assert!(f.add(Extent {
            start: Hpa(0x1001),
            len: 0x1fff
        }));
        assert_eq!(
            f.extents(),
            &[Extent {
                start: Hpa(0x2000),
                len: 0x1000
            }]
        );
        assert!(!f.add(Extent {
            start: Hpa(u64::MAX - 10),
            len: 100
        }));
    }
}
