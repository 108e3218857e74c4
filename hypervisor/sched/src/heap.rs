//! A binary heap that knows where each vCPU is in it, so that any can be changed or taken out.

use alloc::vec;
use alloc::vec::Vec;

/// No place: no heap is that long, for ids are below `u16::MAX`.
const NOWHERE: u16 = u16::MAX;

/// The smallest key first, of equal ones the smallest id. Allocates when it is made and never again.
pub(crate) struct Heap<K> {
    nodes: Vec<(K, u16)>,
    /// By id
    places: Vec<u16>,
    /// Level moves so far
    steps: u64,
}

impl<K: Ord + Copy> Heap<K> {
    /// For ids below `capacity`.
    pub(crate) fn new(capacity: u16) -> Self {
        Self {
            nodes: Vec::with_capacity(usize::from(capacity)),
            places: vec![NOWHERE; usize::from(capacity)],
            steps: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.nodes.len()
    }

    pub(crate) fn steps(&self) -> u64 {
        self.steps
    }

    /// The first.
    #[inline]
    pub(crate) fn top(&self) -> Option<(K, u16)> {
        self.nodes.first().copied()
    }

    /// The first key, if it is not after `now`.
    #[inline]
    pub(crate) fn due(&self, now: K) -> Option<(K, u16)> {
        self.top().filter(|(key, _)| *key <= now)
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        // A table's window may be of an id that there cannot be.
        self.places
            .get(usize::from(id))
            .is_some_and(|place| *place != NOWHERE)
    }

    /// All, in no order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (K, u16)> {
        self.nodes.iter().copied()
    }

    /// Puts `id` where `key` belongs, whether it is here or not.
    pub(crate) fn put(&mut self, id: u16, key: K) {
        let place = self.places[usize::from(id)];
        let at = if place == NOWHERE {
            self.nodes.push((key, id));
            self.nodes.len() - 1
        } else {
            self.nodes[usize::from(place)].0 = key;
            usize::from(place)
        };
        self.sift(at);
    }

    /// Takes `id` out, if it is here.
    pub(crate) fn remove(&mut self, id: u16) {
        let place = self.places[usize::from(id)];
        if place == NOWHERE {
            return;
        }
        self.places[usize::from(id)] = NOWHERE;
        self.nodes.swap_remove(usize::from(place));
        if usize::from(place) < self.nodes.len() {
            self.sift(usize::from(place));
        }
    }

    /// Moves the node at `at`, the only one that may be out of order, up or down to where it belongs.
    fn sift(&mut self, mut at: usize) {
        let node = self.nodes[at];
        while at > 0 && node < self.nodes[(at - 1) / 2] {
            self.settle(at, self.nodes[(at - 1) / 2]);
            at = (at - 1) / 2;
        }
        loop {
            let (left, right) = (2 * at + 1, 2 * at + 2);
            let Some(&first) = self.nodes.get(left) else {
                break;
            };
            let (child, least) = match self.nodes.get(right) {
                Some(&second) if second < first => (right, second),
                _ => (left, first),
            };
            if node < least {
                break;
            }
            self.settle(at, least);
            at = child;
        }
        self.nodes[at] = node;
        self.places[usize::from(node.1)] = at as u16;
    }

    /// Moves a node by a level.
    fn settle(&mut self, at: usize, node: (K, u16)) {
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
            changes in proptest::collection::vec((0..20_u16, proptest::option::of(0..50_u64)), 0..200),
        ) {
            let mut heap = Heap::new(20);
            let mut model = BTreeMap::new();
            for (id, key) in changes {
                match key {
                    Some(key) => { heap.put(id, key); model.insert(id, key); }
                    None => { heap.remove(id); model.remove(&id); }
                }
                prop_assert_eq!(heap.top(), model.iter().map(|(id, key)| (*key, *id)).min());
                prop_assert_eq!(heap.len(), model.len());
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
