//! A binary heap that knows where each vCPU is in it, so that any can be changed or taken out.
#![expect(
    clippy::indexing_slicing,
    reason = "numbers are below the capacity that the scheduler was made with; places are those of the heap"
)]

use alloc::vec;
use alloc::vec::Vec;

/// No place: no heap is that long, for ids are below `u16::MAX`.
const NOWHERE: u16 = u16::MAX;

/// The smallest key first, of equal ones the smallest id. Allocates when it is made and never again.
pub(crate) struct Heap {
    nodes: Vec<(u64, u16)>,
    /// By id
    places: Vec<u16>,
    /// Level moves so far
    steps: u64,
}

impl Heap {
    /// For ids below `capacity`.
    pub(crate) fn new(capacity: u16) -> Self {
        Self {
            nodes: Vec::with_capacity(usize::from(capacity)),
            places: vec![NOWHERE; usize::from(capacity)],
            steps: 0,
        }
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.nodes.is_empty()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The first.
    #[inline]
    pub(crate) fn top(&self) -> Option<(u64, u16)> {
        self.nodes.first().copied()
    }

    /// The first key, if it is not after `now`.
    #[inline]
    pub(crate) fn due(&self, now: u64) -> Option<(u64, u16)> {
        self.top().filter(|(key, _)| *key <= now)
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        self.places[usize::from(id)] != NOWHERE
    }

    /// All, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, u16)> {
        self.nodes.iter().copied()
    }

    /// Puts `id` where `key` belongs, whether it is here or not.
    #[inline]
    pub(crate) fn put(&mut self, id: u16, key: u64) {
        let place = self.places[usize::from(id)];
        let at = if place == NOWHERE {
            let last = self.nodes.len();
            self.nodes.push((key, id));
            self.places[usize::from(id)] = last as u16;
            last
        } else {
            self.nodes[usize::from(place)].0 = key;
            usize::from(place)
        };
        if self.nodes.len() > 1 {
            self.sift(at);
        }
    }

    /// Takes `id` out, if it is here.
    #[inline]
    pub(crate) fn remove(&mut self, id: u16) {
        let place = core::mem::replace(&mut self.places[usize::from(id)], NOWHERE);
        if place == NOWHERE {
            return;
        }
        let last = self.nodes.pop();
        // Unless it was the last itself.
        if let (Some(last), Some(node)) = (last, self.nodes.get_mut(usize::from(place))) {
            *node = last;
            self.sift(usize::from(place));
        }
    }

    /// Puts `id` in and takes the first out, which is `id` itself if none is before it.
    pub(crate) fn exchange(&mut self, id: u16, key: u64) -> u16 {
        match self.nodes.first_mut() {
            Some(top) if *top < (key, id) => {
                let (_, first) = core::mem::replace(top, (key, id));
                self.places[usize::from(first)] = NOWHERE;
                self.sift(0);
                first
            }
            _ => id,
        }
    }

    /// Makes all keys less by as much, which none is below.
    pub(crate) fn lower(&mut self, by: u64) {
        for (key, _) in &mut self.nodes {
            *key -= by;
        }
    }

    /// Moves the node at `at`, the only one that may be out of order, up or down to where it belongs.
    fn sift(&mut self, at: usize) {
        let node = self.nodes[at];
        let top = self.rise(at, node);
        let at = if top == at { self.sink(at, node) } else { top };
        self.nodes[at] = node;
        self.places[usize::from(node.1)] = at as u16;
    }

    /// Makes room for `node` at `at` or above it. Says where.
    #[inline]
    fn rise(&mut self, mut at: usize, node: (u64, u16)) -> usize {
        while at > 0 {
            let parent = (at - 1) / 2;
            let above = self.nodes[parent];
            if above < node {
                break;
            }
            self.settle(at, above);
            at = parent;
        }
        at
    }

    /// Makes room for `node` at `at` or below it. Says where.
    #[inline]
    fn sink(&mut self, mut at: usize, node: (u64, u16)) -> usize {
        loop {
            let left = at << 1 | 1;
            let (child, least) = match self.nodes.get(left..) {
                Some(&[first, second, ..]) if second < first => (left + 1, second),
                Some(&[first, ..]) => (left, first),
                _ => return at,
            };
            if node < least {
                return at;
            }
            self.settle(at, least);
            at = child;
        }
    }

    /// Moves a node by a level.
    #[inline]
    fn settle(&mut self, at: usize, node: (u64, u16)) {
        self.nodes[at] = node;
        // A heap is at most as long as there are ids.
        self.places[usize::from(node.1)] = at as u16;
        self.steps += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn the_first_is_the_least_whatever_is_put_and_removed(
            changes in proptest::collection::vec((0..20_u16, 0..50_u64, 0..4), 0..200),
        ) {
            let mut heap = Heap::new(20);
            let mut model = BTreeMap::new();
            for (id, key, change) in changes {
                match change {
                    0 | 1 => { heap.put(id, key); model.insert(id, key); }
                    2 => { heap.remove(id); model.remove(&id); }
                    _ if model.contains_key(&id) => {}
                    _ => {
                        model.insert(id, key);
                        let first = model.iter().map(|(id, key)| (*key, *id)).min();
                        let out = heap.exchange(id, key);
                        prop_assert_eq!(Some(out), first.map(|(_, id)| id));
                        model.remove(&out);
                    }
                }
                prop_assert_eq!(heap.top(), model.iter().map(|(id, key)| (*key, *id)).min());
                prop_assert_eq!(heap.is_empty(), model.is_empty());
                for id in 0..20 {
                    prop_assert_eq!(heap.contains(id), model.contains_key(&id));
                }
            }
        }
    }

    #[test]
    fn a_change_among_256_moves_at_most_eight_levels() {
        let mut heap = Heap::new(256);
        let mut worst = 0;
        let mut seed = 1_u64;
        for round in 0..20_000_u64 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            let before = heap.steps();
            let id = (seed >> 56) as u16;
            match round % 3 {
                0 => heap.put(id, round),
                1 => heap.put(id, 20_000 - round),
                _ => heap.remove(id),
            }
            worst = worst.max(heap.steps() - before);
        }
        for id in 0..256 {
            heap.put(id, u64::from(id));
        }
        for id in [0, 255] {
            let before = heap.steps();
            heap.put(id, if id == 0 { 1000 } else { 0 });
            worst = worst.max(heap.steps() - before);
        }
        assert!((7..=8).contains(&worst), "{worst}");
    }
}
