//! The list against the words of the manual and of the design, number by number.

extern crate std;

use super::*;
use std::collections::BTreeMap;
use std::vec::Vec;

/// Each register of a list with its rights; none twice.
fn rights(list: &[Grant]) -> BTreeMap<u32, Rights> {
    let mut all = BTreeMap::new();
    for grant in list {
        assert!(grant.first <= grant.last && !grant.rights.is_empty() && !grant.why.is_empty());
        for msr in grant.msrs() {
            assert_eq!(all.insert(msr.0, grant.rights), None, "{msr:?} twice");
        }
    }
    all
}

fn with(all: &BTreeMap<u32, Rights>, right: Rights) -> Vec<u32> {
    all.iter()
        .filter(|(_, r)| r.contains(right))
        .map(|(&msr, _)| msr)
        .collect()
}

#[test]
fn the_software_carrier_grants_nothing() {
    assert!(grants(Carrier::Software).is_empty());
}

#[test]
fn accelerated_reads_come_from_the_page_and_writes_are_those_that_the_processor_redirects() {
    let all = rights(grants(Carrier::Accelerated));
    let mut reads = std::vec![0x808, 0x80a];
    reads.extend(0x810..=0x827);
    assert_eq!(with(&all, Rights::READ), reads);
    assert_eq!(with(&all, Rights::WRITE), [0x808, 0x80b, 0x83f]);
}

#[test]
fn direct_grants_what_reaches_nobody_but_the_guest() {
    let all = rights(grants(Carrier::Direct));
    let mut reads = std::vec![0x3b, 0x6e0, 0x808, 0x80a];
    reads.extend(0x810..=0x827);
    reads.extend([0x838, 0x839]);
    assert_eq!(with(&all, Rights::READ), reads);
    assert_eq!(
        with(&all, Rights::WRITE),
        [0x6e0, 0x808, 0x80b, 0x838, 0x83f]
    );
}

#[test]
fn the_id_the_icr_and_the_local_vector_table_always_exit() {
    for carrier in [Carrier::Software, Carrier::Accelerated, Carrier::Direct] {
        let all = rights(grants(carrier));
        for msr in [0x802, 0x803, 0x80d, 0x80f, 0x828, 0x830]
            .into_iter()
            .chain(0x832..=0x837)
            .chain([0x83e, 0x1b])
        {
            assert!(!all.contains_key(&msr), "{carrier}: {msr:#x}");
        }
    }
}

#[test]
fn what_is_withheld_was_granted() {
    let direct = rights(grants(Carrier::Direct));
    let withheld = rights(WITHHELD_WITH_LEVEL_IN_FLIGHT);
    for (msr, rights) in &withheld {
        assert!(direct[msr].contains(*rights), "{msr:#x}");
    }
    assert_eq!(with(&withheld, Rights::WRITE), [0x80b]);
    assert_eq!(
        with(&withheld, Rights::READ),
        (0x818..=0x81f).collect::<Vec<_>>()
    );
}
