//! Bitmaps made by hand: each bit of them, and any.

use super::*;
use crate::bitmaps::{msrs, ports};
use proptest::prelude::*;
use proto::certificate::MsrGrant;

const A: u64 = 0x1000;
const B: u64 = 0x2000;

fn closed() -> Fake {
    let memory = Fake::default();
    memory.ones(A);
    memory.ones(B);
    memory
}

/// Where the bit of an MSR is that has one.
fn place(msr: u32, write: bool) -> u64 {
    let high = if msr < 0x2000 { 0 } else { 1024 * 8 };
    high + u64::from(msr & 0x1fff) + if write { 2048 * 8 } else { 0 }
}

#[test]
fn where_all_exits_nothing_is_granted() {
    assert_eq!(msrs(&closed(), A), Ok(vec![]));
    assert_eq!(ports(&closed(), A, B), Ok(vec![]));
}

#[test]
fn each_msr_at_the_edges_is_told_with_its_direction() {
    for msr in [0, 0x10, 0x1fff, 0xc000_0000, 0xc000_0100, 0xc000_1fff] {
        for (read, write) in [(true, false), (false, true), (true, true)] {
            let memory = closed();
            if read {
                memory.flip(A, place(msr, false));
            }
            if write {
                memory.flip(A, place(msr, true));
            }
            let grant = MsrGrant {
                first: msr,
                last: msr,
                read,
                write,
            };
            assert_eq!(msrs(&memory, A), Ok(vec![grant]));
        }
    }
}

#[test]
fn the_last_of_one_bitmap_and_the_first_of_the_next_are_no_range() {
    let memory = closed();
    memory.flip(A, place(0x1fff, false));
    memory.flip(A, place(0xc000_0000, false));
    assert_eq!(msrs(&memory, A).unwrap().len(), 2);
    let memory = closed();
    memory.flip(A, 0x7fff);
    memory.flip(B, 0);
    assert_eq!(ports(&memory, A, B), Ok(vec![(0x7fff, 0x8000)]));
}

#[test]
fn a_port_has_its_bit() {
    let memory = closed();
    // The edges of words, and some of all others.
    for port in (0..=u16::MAX).filter(|port| port % 64 == 0 || port % 64 == 63 || port % 41 == 0) {
        let map = if port < 0x8000 { A } else { B };
        memory.flip(map, u64::from(port & 0x7fff));
        assert_eq!(ports(&memory, A, B), Ok(vec![(port, port)]));
        memory.flip(map, u64::from(port & 0x7fff));
    }
}

#[test]
fn a_bitmap_where_there_is_no_memory_is_refused() {
    let memory = closed();
    assert_eq!(msrs(&memory, 0x3000), Err(Error::Elsewhere { at: 0x3000 }));
    assert_eq!(msrs(&memory, A + 8), Err(Error::Elsewhere { at: A + 8 }));
    assert_eq!(
        ports(&memory, A, 0x3000),
        Err(Error::Elsewhere { at: 0x3000 })
    );
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_told_is_what_is_open(
        open in prop::collection::btree_set((0u32..0x4000, any::<bool>()), 0..60),
        ports_open in prop::collection::btree_set(any::<u16>(), 0..60),
    ) {
        let number = |bit: u32| if bit < 0x2000 { bit } else { 0xc000_0000 + bit - 0x2000 };
        let memory = closed();
        for (bit, write) in &open {
            memory.flip(A, place(number(*bit), *write));
        }
        let grants = msrs(&memory, A).unwrap();
        prop_assert!(grants.windows(2).all(|w| w[0].last < w[1].first));
        let mut told = std::collections::BTreeSet::new();
        for grant in &grants {
            for msr in grant.first..=grant.last {
                let bit = if msr < 0x2000 { msr } else { msr - 0xc000_0000 + 0x2000 };
                prop_assert!(grant.read || grant.write);
                if grant.read {
                    told.insert((bit, false));
                }
                if grant.write {
                    told.insert((bit, true));
                }
            }
        }
        prop_assert_eq!(told, open);
        let memory = closed();
        for port in &ports_open {
            memory.flip(if *port < 0x8000 { A } else { B }, u64::from(port & 0x7fff));
        }
        let ranges = ports(&memory, A, B).unwrap();
        let told: std::collections::BTreeSet<u16> =
            ranges.iter().flat_map(|(first, last)| *first..=*last).collect();
        prop_assert_eq!(told, ports_open);
    }
}
