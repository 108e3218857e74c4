//! The processor's own tables made by hand, bit by bit.

use super::*;

const ROOT: u64 = 0x1000;
/// As after reset.
const PAT: u64 = 0x0007_0406_0007_0406;
const NX: u64 = 1 << 63;

/// Tables from the root at 0x1000 to the lowest at 0x4000, each linked in entry `index`, with all rights.
fn four(index: u64) -> Fake {
    let memory = Fake::default();
    for level in 1..4 {
        memory.put(0x1000 * level + 8 * index, (0x1000 * (level + 1)) | 3);
    }
    memory.put(0x4000, 0);
    memory
}

fn mappings(memory: &Fake, half: Half) -> Vec<Mapping> {
    linear(memory, ROOT | 0x18, PAT, half).unwrap().mappings
}

#[test]
fn the_upper_half_is_sign_extended_and_can_be_left_out() {
    let memory = four(256);
    memory.put(0x4000 + 8 * 511, 0x5_5001);
    let at = 0xffff_8000_0000_0000 + (256 << 30) + (256 << 21) + 0x1f_f000;
    assert_eq!(
        mappings(&memory, Half::Both),
        [mapping(at, 0x5_5000, 0x1000, "rx", Cache::WriteBack)]
    );
    let lower = linear(&memory, ROOT, PAT, Half::Lower).unwrap();
    assert_eq!(lower.mappings, []);
    let range = Range {
        start: ROOT,
        len: 0x1000,
    };
    assert_eq!(lower.tables, [range], "only what was looked into");
}

#[test]
fn rights_are_those_that_all_levels_give() {
    for (middle, entry, rights) in [
        (0x4003, 0x5003, "rwx"),
        (0x4003, 0x5001, "rx"),
        (0x4001, 0x5003, "rx"),
        (0x4003, 0x5003 | NX, "rw"),
        (0x4003 | NX, 0x5003, "rw"),
        (0x4001 | NX, 0x5003, "r"),
    ] {
        let memory = four(0);
        memory.put(0x3000, middle);
        memory.put(0x4000, entry);
        assert_eq!(
            mappings(&memory, Half::Both),
            [mapping(0, 0x5000, 0x1000, rights, Cache::WriteBack)]
        );
    }
}

#[test]
fn the_index_into_the_pat_is_where_each_level_has_it() {
    // Of the second four entries, in which an entry's PAT bit shows: WP, WC.
    let pat = 0x0001_0500_0007_0406;
    for (bits, cache) in [
        (0, Cache::WriteBack),
        (0x08, Cache::WriteThrough),
        (0x10, Cache::Uncacheable),
        (0x18, Cache::Uncacheable),
    ] {
        let memory = four(0);
        memory.put(0x4000, 0x5001 | bits);
        memory.put(0x3008, 0x20_0081 | bits);
        memory.put(0x2008, 1 << 30 | 0x81 | bits);
        let all = linear(&memory, ROOT, pat, Half::Both).unwrap().mappings;
        assert!(all.iter().all(|m| m.cache == cache), "{all:?}");
        assert_eq!(all.len(), 3);
    }
    let memory = four(0);
    memory.put(0x4000, 0x5089);
    memory.put(0x3008, 0x20_1091);
    memory.put(0x2008, 1 << 30 | 0x1089);
    let all = linear(&memory, ROOT, pat, Half::Both).unwrap().mappings;
    assert_eq!(
        all,
        [
            mapping(0, 0x5000, 0x1000, "rx", Cache::WriteProtected),
            mapping(0x20_0000, 0x20_0000, 0x20_0000, "rx", Cache::WriteCombining),
            mapping(1 << 30, 1 << 30, 1 << 30, "rx", Cache::WriteProtected),
        ]
    );
}

#[test]
fn what_is_not_present_is_nothing_and_what_is_malformed_is_refused() {
    let memory = four(0);
    memory.put(0x4000, !1);
    assert_eq!(mappings(&memory, Half::Both), []);
    for (at, entry) in [
        // A page of 512 GiB, and large pages whose address is not one.
        (0x1008, 0x81),
        (0x2008, 0x20_0081),
        (0x3008, 0x2081),
    ] {
        let memory = four(0);
        memory.put(at, entry);
        let got = linear(&memory, ROOT, PAT, Half::Both);
        assert_eq!(got, Err(Error::Malformed { at, entry }));
    }
    let memory = four(0);
    memory.put(0x4000, 0x5001);
    let reserved = linear(&memory, ROOT, 2, Half::Both);
    let (at, entry) = (0x4000, 0x5001);
    assert_eq!(reserved, Err(Error::Malformed { at, entry }));
}
