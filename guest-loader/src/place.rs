//! Which guest RAM is still free.

use crate::LoadError;
use alloc::vec::Vec;
use spec::linux::{E820Kind, MemoryRange};
use spec::{Gpa, PAGE_SIZE};

/// Hands out guest RAM, each byte once. Half-open ranges, `start..end`.
pub(crate) struct Placer<'a> {
    map: &'a [MemoryRange],
    taken: Vec<(u64, u64)>,
}

impl<'a> Placer<'a> {
    pub(crate) fn new(map: &'a [MemoryRange]) -> Self {
        Self {
            map,
            taken: Vec::new(),
        }
    }

    /// The map that it was made with.
    pub(crate) fn map(&self) -> &'a [MemoryRange] {
        self.map
    }

    /// The first byte past all that is taken.
    pub(crate) fn end_of_taken(&self) -> u64 {
        self.taken.iter().map(|t| t.1).max().unwrap_or(0)
    }

    /// RAM as `(start, end)`; a range that wraps is none.
    fn ram(&self) -> impl Iterator<Item = (u64, u64)> {
        self.map
            .iter()
            .filter(|r| r.kind == E820Kind::Ram)
            .filter_map(|r| Some((r.start.0, r.end()?.0)))
    }

    /// Takes exactly `len` bytes at `start`.
    pub(crate) fn claim(&mut self, start: Gpa, len: u64) -> Result<(), LoadError> {
        let end = start.checked_add(len).map(|e| e.0);
        let Some(end) = end.filter(|&e| self.ram().any(|r| r.0 <= start.0 && e <= r.1)) else {
            return Err(LoadError::NotRam { start, len });
        };
        if self.taken.iter().any(|t| start.0 < t.1 && t.0 < end) {
            return Err(LoadError::Overlap { start, len });
        }
        self.taken.push((start.0, end));
        Ok(())
    }

    /// Takes `len` bytes at the lowest address from `from` on that is a multiple of `align` (a power of two) and
    /// that keeps them below `limit`.
    pub(crate) fn lowest(&mut self, len: u64, align: u64, from: u64, limit: u64) -> Option<Gpa> {
        let starts = self.ram().map(|r| r.0);
        let ends = self.taken.iter().map(|t| t.1);
        let mut candidates: Vec<u64> = starts
            .chain(ends)
            .filter_map(|a| a.max(from).checked_next_multiple_of(align))
            .collect();
        candidates.sort_unstable();
        self.first_that_fits(&candidates, len, limit)
    }

    /// Takes `len` bytes at the highest page below `limit`.
    pub(crate) fn highest(&mut self, len: u64, limit: u64) -> Option<Gpa> {
        let ends = self.ram().map(|r| r.1.min(limit));
        let starts = self.taken.iter().map(|t| t.0);
        let mut candidates: Vec<u64> = ends
            .chain(starts)
            .filter_map(|a| Some(Gpa(a.checked_sub(len)?).align_down(PAGE_SIZE).0))
            .collect();
        candidates.sort_unstable_by(|a, b| b.cmp(a));
        self.first_that_fits(&candidates, len, limit)
    }

    fn first_that_fits(&mut self, candidates: &[u64], len: u64, limit: u64) -> Option<Gpa> {
        let start = candidates.iter().map(|&a| Gpa(a)).find(|&a| {
            a.checked_add(len).is_some_and(|e| e.0 <= limit) && self.claim(a, len).is_ok()
        })?;
        Some(start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MAP: [MemoryRange; 3] = [
        MemoryRange {
            start: Gpa(0),
            len: 0xa_0000,
            kind: E820Kind::Ram,
        },
        MemoryRange {
            start: Gpa(0xe_0000),
            len: 0x2_0000,
            kind: E820Kind::Reserved,
        },
        MemoryRange {
            start: Gpa(0x10_0000),
            len: 0x10_0000,
            kind: E820Kind::Ram,
        },
    ];

    #[test]
    fn each_byte_is_given_once_and_only_ram() {
        let mut p = Placer::new(&MAP);
        assert!(p.claim(Gpa(0x10_0000), 0x1000).is_ok());
        assert_eq!(
            p.claim(Gpa(0x10_0fff), 1),
            Err(LoadError::Overlap {
                start: Gpa(0x10_0fff),
                len: 1
            })
        );
        for (start, len) in [
            (0xe_0000, 1),
            (0x9_ffff, 2),
            (0x20_0000, 1),
            (u64::MAX, 2),
            (0x10_0000, u64::MAX),
        ] {
            assert!(matches!(
                p.claim(Gpa(start), len),
                Err(LoadError::NotRam { .. })
            ));
        }
    }

    #[test]
    fn the_lowest_and_the_highest_free_place_are_found() {
        let mut p = Placer::new(&MAP);
        assert_eq!(p.lowest(0x1000, 0x1000, 0x1000, 1 << 32), Some(Gpa(0x1000)));
        assert_eq!(p.lowest(0x1000, 0x1000, 0x1000, 1 << 32), Some(Gpa(0x2000)));
        assert_eq!(p.lowest(0xa_0000, 0x1000, 0, 1 << 32), Some(Gpa(0x10_0000)));
        assert_eq!(p.highest(0x1001, 1 << 32), Some(Gpa(0x1f_e000)));
        assert_eq!(p.highest(1, 1 << 32), Some(Gpa(0x1f_d000)));
        assert_eq!(p.highest(0x1000, 0x1f_0000), Some(Gpa(0x1e_f000)));
        assert_eq!(p.lowest(0x10_0000, 0x1000, 0, 1 << 32), None);
        assert_eq!(p.lowest(0x1000, 0x1000, u64::MAX, u64::MAX), None);
    }
}
