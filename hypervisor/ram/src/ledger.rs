//! What frames that are not free are used for: ranges, sorted and merged.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "`Frames` gives ranges that end below 2^64, which are disjoint; places are found among those that there are"
)]

use crate::Extent;
use spec::Hpa;

/// What frames are used for. VMs go by their numbers in the plan.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Use {
    /// The hypervisor's heap
    Heap,
    /// Tables of the hypervisor's own address spaces
    HostTables,
    /// Stacks of cores
    Stack,
    /// VMXON regions of cores
    VmxRegion,
    /// Memory of a VM
    Ram(u16),
    /// Taken with a VM's memory, which comes in large pages, and given to nobody
    Reserved(u16),
    /// Nested tables of a VM
    NestedTables(u16),
    /// Control structures of a VM's vCPUs
    Vmcs(u16),
    /// MSR and I/O bitmaps of a VM
    Bitmap(u16),
    /// Given back, or never had, since the table of free ranges was full: nobody gets it again
    Lost,
}

/// A range, and what it is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Owned {
    /// Where
    pub extent: Extent,
    /// What for
    pub used: Use,
}

/// How many separate ranges are kept track of: a VM takes some eight, a core some four.
pub const MAX_OWNED: usize = 1024;

/// What is used for what. What finds no room is not told of, so that it shows as missing.
#[derive(Debug)]
pub(crate) struct Ledger {
    entries: [Owned; MAX_OWNED],
    count: usize,
}

impl Ledger {
    pub(crate) const fn new() -> Self {
        let none = Owned {
            extent: Extent {
                start: Hpa(0),
                len: 0,
            },
            used: Use::Lost,
        };
        Self {
            entries: [none; MAX_OWNED],
            count: 0,
        }
    }

    /// All, lowest first.
    pub(crate) fn entries(&self) -> &[Owned] {
        self.entries.get(..self.count).unwrap_or(&[])
    }

    /// `extent` is used for this from now on, whatever it was used for before.
    pub(crate) fn note(&mut self, extent: Extent, used: Use) {
        if extent.len == 0 {
            return;
        }
        self.strike(extent);
        let at = self.after(extent.start);
        let mut extent = extent;
        let joins = |owned: Option<&Owned>| owned.filter(|o| o.used == used).map(|o| o.extent);
        let before = at.checked_sub(1).and_then(|i| joins(self.entries().get(i)));
        let after = joins(self.entries().get(at));
        let (mut from, mut to) = (at, at);
        if let Some(before) = before.filter(|b| b.end() == extent.start.0) {
            extent.start = before.start;
            extent.len += before.len;
            from -= 1;
        }
        if let Some(after) = after.filter(|a| a.start.0 == extent.end()) {
            extent.len += after.len;
            to += 1;
        }
        self.replace(from, to, &[Owned { extent, used }]);
    }

    /// Nothing is known of `extent` any more.
    pub(crate) fn strike(&mut self, extent: Extent) {
        if extent.len == 0 {
            return;
        }
        let from = self
            .entries()
            .partition_point(|o| o.extent.end() <= extent.start.0);
        let to = self.after(Hpa(extent.end()));
        let (Some(first), Some(last)) = (
            self.entries().get(from).copied(),
            to.checked_sub(1)
                .and_then(|i| self.entries().get(i))
                .copied(),
        ) else {
            return;
        };
        if from >= to {
            return;
        }
        let part = |start: u64, end: u64, used| Owned {
            extent: Extent {
                start: Hpa(start),
                len: end.saturating_sub(start),
            },
            used,
        };
        let low = part(first.extent.start.0, extent.start.0, first.used);
        let high = part(extent.end(), last.extent.end(), last.used);
        match (low.extent.len, high.extent.len) {
            (0, 0) => self.replace(from, to, &[]),
            (_, 0) => self.replace(from, to, &[low]),
            (0, _) => self.replace(from, to, &[high]),
            _ => self.replace(from, to, &[low, high]),
        }
    }

    /// The place of the first that begins at `start` or above.
    fn after(&self, start: Hpa) -> usize {
        self.entries().partition_point(|o| o.extent.start < start)
    }

    /// Puts `new` in the places `from..to`, as far as there is room.
    fn replace(&mut self, from: usize, to: usize, new: &[Owned]) {
        let room = MAX_OWNED - self.count + (to - from);
        let new = new.get(..room.min(new.len())).unwrap_or(new);
        self.entries.copy_within(to..self.count, from + new.len());
        for (place, owned) in self.entries.iter_mut().skip(from).zip(new) {
            *place = *owned;
        }
        self.count = self.count + new.len() - (to - from);
    }
}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;
    use std::vec::Vec;

    const PAGE: u64 = 4096;

    fn extent(first: u64, pages: u64) -> Extent {
        Extent {
            start: Hpa(first * PAGE),
            len: pages * PAGE,
        }
    }

    fn pages(e: Extent) -> impl Iterator<Item = u64> {
        (e.start.0 / PAGE)..(e.end() / PAGE)
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: if cfg!(miri) { 8 } else { 512 }, failure_persistence: None, ..ProptestConfig::default() })]
        #[test]
        fn each_frame_is_known_by_its_last_use(
            ops in proptest::collection::vec((0u64..64, 0u64..16, proptest::option::of(0u16..3)), 0..60)
        ) {
            let mut ledger = Ledger::new();
            let mut model = BTreeMap::new();
            for (first, len, used) in ops {
                let extent = extent(first, len);
                match used {
                    Some(vm) => {
                        ledger.note(extent, Use::Ram(vm));
                        model.extend(pages(extent).map(|page| (page, vm)));
                    }
                    None => {
                        ledger.strike(extent);
                        pages(extent).for_each(|page| { model.remove(&page); });
                    }
                }
                let told: Vec<(u64, Use)> = ledger.entries().iter()
                    .flat_map(|o| pages(o.extent).map(|page| (page, o.used))).collect();
                let meant: Vec<(u64, Use)> = model.iter().map(|(page, vm)| (*page, Use::Ram(*vm))).collect();
                prop_assert_eq!(told, meant);
                prop_assert!(
                    ledger.entries().windows(2).all(|w| w[0].used != w[1].used || w[0].extent.end() < w[1].extent.start.0),
                    "merged"
                );
            }
        }
    }

    #[test]
    fn a_full_ledger_forgets_rather_than_lies() {
        let mut ledger = Ledger::new();
        for n in 0..MAX_OWNED as u64 {
            ledger.note(extent(4 * n, 3), Use::Stack);
        }
        assert_eq!(ledger.entries().len(), MAX_OWNED);
        ledger.note(extent(4 * MAX_OWNED as u64, 1), Use::Stack);
        assert_eq!(ledger.entries().len(), MAX_OWNED);
        // A hole in the first: what is behind it finds no room.
        ledger.strike(extent(1, 1));
        assert_eq!(ledger.entries().len(), MAX_OWNED);
        assert_eq!(ledger.entries()[0].extent, extent(0, 1));
        assert_eq!(ledger.entries()[1].extent, extent(4, 3));
        // Neighbours need none.
        ledger.note(extent(7, 1), Use::Stack);
        assert_eq!(ledger.entries()[1].extent, extent(4, 7));
    }
}
