//! The processors of one guest, as kernels find them out: each vCPU a core of its own, all in one package.

extern crate std;

use super::tests::{FACTS, rich};
use super::*;
use std::collections::BTreeSet;
use std::vec::Vec;

/// Every count that a plan may ask for, and the most that ids of xAPIC mode allow.
fn counts() -> impl Iterator<Item = u8> {
    (1..=64).chain([100, 128, 129, 254])
}

fn vcpu(index: u8) -> Dynamic {
    Dynamic {
        apic_id: index.into(),
        apic_enabled: true,
        osxsave: true,
        xcr0: 7,
    }
}

fn policy(vcpus: u8) -> CpuidPolicy {
    CpuidPolicy::new(&rich, Facts { vcpus, ..FACTS })
}

/// Where a vCPU is: package, core, thread.
type Place = (u32, u32, u32);

/// By the extended topology, as the manual has software read it (SDM vol. 3, "Hierarchical Mapping of CPUID
/// Extended Topology Leaf") and Linux does, with all that it warns of.
fn by_extended_topology(policy: &CpuidPolicy, now: Dynamic) -> Place {
    let (mut smt, mut core) = (None, None);
    for subleaf in 0.. {
        let [eax, ebx, ecx, edx] = policy.lookup(leaf::TOPOLOGY, subleaf, now);
        assert_eq!(ecx & 0xff, subleaf, "the level repeats what was asked");
        assert_eq!(edx, now.apic_id, "each level tells the same id");
        let (kind, shift) = (ecx >> 8 & 0xff, eax & 0x1f);
        if kind == 0 {
            assert_eq!((eax, ebx), (0, 0), "past the last level");
            break;
        }
        assert!(ebx & 0xffff != 0, "a level holds someone");
        assert!(
            ebx & 0xffff <= 1 << shift,
            "a level has room for all that it holds"
        );
        let level = match kind {
            1 => &mut smt,
            2 => &mut core,
            _ => panic!("unknown level {kind}"),
        };
        assert!(level.replace((shift, ebx & 0xffff)).is_none(), "told twice");
    }
    let ((smt, threads), (package, processors)) = (smt.unwrap(), core.unwrap());
    assert!(smt <= package && threads <= processors);
    let id = now.apic_id;
    (
        id >> package,
        id >> smt & ((1 << (package - smt)) - 1),
        id & ((1 << smt) - 1),
    )
}

/// By leaves 1 and 4, as what does not know leaf 0xb does.
fn by_older_leaves(policy: &CpuidPolicy, now: Dynamic) -> Place {
    let [_, ebx, _, edx] = policy.lookup(leaf::FEATURES, 0, now);
    let id = ebx >> 24;
    let room = |n: u32| n.next_power_of_two().trailing_zeros();
    let logical = if edx & Leaf1Edx::HTT.bits() == 0 {
        1
    } else {
        ebx >> 16 & 0xff
    };
    let cores = (policy.lookup(leaf::CACHES, 0, now)[EAX] >> 26) + 1;
    let package = room(logical);
    let smt = package - room(cores);
    (
        id >> package,
        (id & ((1 << package) - 1)) >> smt,
        id & ((1 << smt) - 1),
    )
}

#[test]
fn each_vcpu_is_a_core_of_its_own_in_one_package() {
    for vcpus in counts() {
        let policy = policy(vcpus);
        let mut cores = BTreeSet::new();
        for index in 0..vcpus {
            let now = vcpu(index);
            let place = by_extended_topology(&policy, now);
            assert_eq!((place.0, place.2), (0, 0), "{index} of {vcpus}");
            assert!(cores.insert(place.1), "{index} of {vcpus}");
            // Leaf 4 counts to 64.
            if vcpus <= 64 {
                assert_eq!(by_older_leaves(&policy, now), place, "{index} of {vcpus}");
            }
            assert_eq!(
                policy.lookup(leaf::FEATURES, 0, now)[EBX] >> 24,
                u32::from(index)
            );
        }
        let [_, processors, ..] = policy.lookup(leaf::TOPOLOGY, 1, vcpu(0));
        assert_eq!(processors, u32::from(vcpus));
    }
}

/// L1 and L2 are each core's own; of the third level there is one for all, and one only.
#[test]
fn caches_are_shared_as_the_cores_are() {
    for vcpus in counts() {
        let policy = policy(vcpus);
        for subleaf in 0.. {
            let [eax, ..] = policy.lookup(leaf::CACHES, subleaf, vcpu(0));
            if eax & 0x1f == 0 {
                assert!(subleaf > 2);
                break;
            }
            let sharing = (eax >> 14 & 0xfff) + 1;
            let shift = sharing.next_power_of_two().trailing_zeros();
            let caches: BTreeSet<_> = (0..u32::from(vcpus)).map(|id| id >> shift).collect();
            let expected = if eax >> 5 & 7 >= 3 { 1 } else { vcpus.into() };
            assert_eq!(caches.len(), expected, "{subleaf} of {vcpus}");
        }
    }
}

/// All but what tells them apart is the same on all, or Linux speaks of inconsistent processors.
#[test]
fn vcpus_differ_in_their_ids_alone() {
    let policy = policy(8);
    let all = |index: u8| -> Vec<(u32, u32, Registers)> {
        let leaves = (0..=MAX_BASIC).chain(leaf::EXTENDED..=MAX_EXTENDED);
        leaves
            .flat_map(|leaf| (0..8).map(move |subleaf| (leaf, subleaf)))
            .map(|(leaf, subleaf)| {
                let mut r = policy.lookup(leaf, subleaf, vcpu(index));
                match leaf {
                    leaf::FEATURES => r[EBX] &= 0xff_ffff,
                    leaf::TOPOLOGY => r[EDX] = 0,
                    _ => {}
                }
                (leaf, subleaf, r)
            })
            .collect()
    };
    for index in 1..8 {
        assert_eq!(all(index), all(0));
    }
}
