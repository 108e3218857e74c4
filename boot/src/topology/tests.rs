use super::*;
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use proptest::prelude::*;

/// A processor, by the leaves that count: `(leaf, subleaf)` and the registers. What is not listed reads zero.
struct Cpu(BTreeMap<(u32, u32), Registers>);

impl Cpu {
    fn new(leaves: &[((u32, u32), Registers)]) -> Self {
        Self(leaves.iter().copied().collect())
    }

    fn ask(&self) -> impl Fn(u32, u32) -> Registers {
        |leaf, subleaf| self.0.get(&(leaf, subleaf)).copied().unwrap_or_default()
    }

    /// The places of some ids, as package, core and thread.
    fn places<const N: usize>(&self, ids: [u32; N]) -> [(u32, u32, u32); N] {
        let topology = Topology::read(self.ask());
        ids.map(|id| {
            let place = topology.locate(id);
            (place.package, place.core, place.thread)
        })
    }
}

/// A processor with levels of `(type, bits)` in a leaf.
fn levels(leaf: u32, levels: &[(u32, u32)], id: u32) -> Cpu {
    let mut leaves = Vec::from([((0, 0), [leaf, 0, 0, 0])]);
    for (n, (level_type, bits)) in levels.iter().enumerate() {
        let registers = [*bits, 1 << *bits & 0xffff, level_type << 8 | n as u32, id];
        leaves.push(((leaf, n as u32), registers));
    }
    // Past the last level the leaf still answers with the number that it was asked for, and the id.
    let last = levels.len() as u32;
    leaves.push(((leaf, last), [0, 0, last, id]));
    Cpu::new(&leaves)
}

/// A processor without such a leaf: ids of a package, and cores of leaf 4.
fn counts(ids: u32, cores: u32) -> Cpu {
    Cpu::new(&[
        ((0, 0), [0xa, 0, 0, 0]),
        ((1, 0), [0, 0x0700_0000 | ids << 16, 0, 1 << 28]),
        ((4, 0), [(cores - 1) << 26 | 0x21, 0, 0, 0]),
    ])
}

#[test]
fn siblings_share_a_core_and_cores_a_package() {
    // Core i7-4770: two threads, room for eight cores.
    let cpu = levels(0xb, &[(1, 1), (2, 4)], 5);
    assert_eq!(
        cpu.places([0, 1, 2, 7, 16]),
        [(0, 0, 0), (0, 0, 1), (0, 1, 0), (0, 3, 1), (1, 0, 0)]
    );
    assert_eq!(own_id(cpu.ask()), 5);
}

#[test]
fn a_core_without_siblings_has_room_for_one_or_not() {
    // Core i5-4570: the ids are even. A machine of an emulator: there is no room.
    assert_eq!(
        levels(0xb, &[(1, 1), (2, 4)], 0).places([0, 2, 6]),
        [(0, 0, 0), (0, 1, 0), (0, 3, 0)]
    );
    assert_eq!(
        levels(0xb, &[(1, 0), (2, 2)], 0).places([0, 1, 3, 4]),
        [(0, 0, 0), (0, 1, 0), (0, 3, 0), (1, 0, 0)]
    );
}

#[test]
fn shifts_may_be_odd_and_ids_above_255() {
    // Xeon Phi 7250: four threads, seven bits of cores.
    assert_eq!(
        levels(0xb, &[(1, 2), (2, 9)], 0).places([3, 4, 295, 511, 512]),
        [(0, 0, 3), (0, 1, 0), (0, 73, 3), (0, 127, 3), (1, 0, 0)]
    );
    // Xeon Platinum 8490H, eight sockets.
    assert_eq!(
        levels(0x1f, &[(1, 1), (2, 7)], 0x3ff).places([0, 119, 128, 0x3ff, u32::MAX]),
        [
            (0, 0, 0),
            (0, 59, 1),
            (1, 0, 0),
            (7, 63, 1),
            (0x1ff_ffff, 63, 1)
        ]
    );
}

#[test]
fn all_levels_below_the_package_count_as_cores() {
    // Xeon Platinum 9282: two dies; its leaf 0xB ends with the cores of one.
    let mut cpu = levels(0x1f, &[(1, 1), (2, 6), (5, 7)], 0);
    cpu.0.extend(levels(0xb, &[(1, 1), (2, 6)], 0).0);
    cpu.0.insert((0, 0), [0x1f, 0, 0, 0]);
    assert_eq!(
        cpu.places([64, 127, 128]),
        [(0, 32, 0), (0, 63, 1), (1, 0, 0)]
    );
    // A type that nobody has thought of yet.
    assert_eq!(
        levels(0x1f, &[(1, 1), (2, 5), (3, 6), (7, 8)], 0).places([255, 256]),
        [(0, 127, 1), (1, 0, 0)]
    );
}

#[test]
fn an_empty_leaf_is_none() {
    // Leaf 0x1F is there and says nothing.
    let mut cpu = levels(0xb, &[(1, 1), (2, 4)], 9);
    cpu.0.insert((0, 0), [0x20, 0, 0, 0]);
    cpu.0.insert((0x1f, 0), [0, 0, 0, 77]);
    assert_eq!(cpu.places([3, 16]), [(0, 1, 1), (1, 0, 0)]);
    assert_eq!(own_id(cpu.ask()), 9);
    // Beyond the last leaf a processor answers as to the last, here leaf 0xB without levels.
    let mut cpu = counts(2, 2);
    cpu.0.insert((0xb, 0), [1, 2, 0x100, 77]);
    assert_eq!(cpu.places([1, 2]), [(0, 1, 0), (1, 0, 0)]);
    assert_eq!(own_id(cpu.ask()), 7);
}

#[test]
fn without_the_leaf_ids_are_counted() {
    // Pentium 4 with two threads; Core 2 Quad; Core i7-860 as its leaves 1 and 4 have it; six cores of two.
    assert_eq!(counts(2, 1).places([1, 2]), [(0, 0, 1), (1, 0, 0)]);
    assert_eq!(
        counts(4, 4).places([1, 3, 4]),
        [(0, 1, 0), (0, 3, 0), (1, 0, 0)]
    );
    assert_eq!(
        counts(16, 8).places([1, 2, 16]),
        [(0, 0, 1), (0, 1, 0), (1, 0, 0)]
    );
    assert_eq!(
        counts(12, 6).places([1, 11, 16]),
        [(0, 0, 1), (0, 5, 1), (1, 0, 0)]
    );
}

#[test]
fn without_hyper_threading_technology_a_package_is_a_core() {
    let mut cpu = counts(1, 1);
    cpu.0.insert((1, 0), [0, 0x0300_0000, 0, 0]);
    assert_eq!(cpu.places([0, 1, 3]), [(0, 0, 0), (1, 0, 0), (3, 0, 0)]);
    assert_eq!(own_id(cpu.ask()), 3);
}

#[test]
fn amd_counts_cores_elsewhere() {
    // Phenom II X6: leaf 4 does not exist; six cores in three bits.
    let mut cpu = counts(6, 1);
    cpu.0.remove(&(4, 0));
    cpu.0.insert((0, 0), [6, 0, 0, 0]);
    cpu.0.insert((0x8000_0000, 0), [0x8000_001b, 0, 0, 0]);
    cpu.0.insert((0x8000_0001, 0), [0, 0, 1 << 1, 0]);
    cpu.0.insert((0x8000_0008, 0), [0, 0, 0x3005, 0]);
    assert_eq!(cpu.places([5, 8]), [(0, 5, 0), (1, 0, 0)]);
    // Athlon 64 X2: the size is not told.
    cpu.0.insert((0x8000_0008, 0), [0, 0, 1, 0]);
    cpu.0.insert((1, 0), [0, 2 << 16, 0, 1 << 28]);
    assert_eq!(cpu.places([1, 2]), [(0, 1, 0), (1, 0, 0)]);
}

proptest! {
    /// Whatever CPUID says: no panic, and no two ids have the same place.
    #[test]
    fn places_are_as_many_as_ids(
        max in prop_oneof![Just(1u32), Just(4), Just(0xb), Just(0x1f)],
        leaves in proptest::collection::vec(any::<Registers>(), 24),
        ids in proptest::collection::btree_set(any::<u32>(), 1..50),
    ) {
        let cpu = |leaf: u32, subleaf: u32| {
            let n = leaf.wrapping_mul(7).wrapping_add(subleaf) as usize % leaves.len();
            if leaf == 0 { [max, 0, 0, 0] } else { leaves[n] }
        };
        let topology = Topology::read(cpu);
        let places: BTreeSet<_> = ids.iter().map(|id| topology.locate(*id)).collect();
        prop_assert_eq!(places.len(), ids.len());
    }
}
