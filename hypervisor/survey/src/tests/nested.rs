//! Extended page tables made by hand, bit by bit.

use super::*;

const ROOT: u64 = 0x1000;
/// Four levels, write-back
const EPTP: u64 = ROOT | 0x1e;

/// Tables from the root at 0x1000 to the lowest at 0x4000, each linked in its first entry, with all rights.
fn four() -> Fake {
    let memory = Fake::default();
    for level in 1..4 {
        memory.put(0x1000 * level, (0x1000 * (level + 1)) | 7);
    }
    memory.put(0x4000, 0);
    memory
}

fn mappings(memory: &Fake) -> Vec<Mapping> {
    nested(memory, EPTP).unwrap().mappings
}

#[test]
fn each_level_has_pages_of_its_size() {
    let memory = four();
    memory.put(0x4000 + 8 * 3, 0x5_5000 | 0x37);
    memory.put(0x3000 + 8 * 2, 0x60_0000 | 0xb7);
    memory.put(0x2000 + 8 * 5, 0x80_0000_0000 | 0xb7);
    let wb = Cache::WriteBack;
    assert_eq!(
        mappings(&memory),
        [
            mapping(0x3000, 0x5_5000, 0x1000, "rwx", wb),
            mapping(0x40_0000, 0x60_0000, 0x20_0000, "rwx", wb),
            mapping(5 << 30, 0x80_0000_0000, 1 << 30, "rwx", wb),
        ]
    );
    let tables = nested(&memory, EPTP).unwrap().tables;
    let range = Range {
        start: 0x1000,
        len: 0x4000,
    };
    assert_eq!(tables, [range]);
}

#[test]
fn rights_are_those_that_all_levels_give() {
    let memory = four();
    memory.put(0x4000, 0x5000 | 0x37);
    for (at, left, rights) in [(0x3000, 0x4005, "rx"), (0x2000, 0x3003, "r")] {
        memory.put(at, left);
        assert_eq!(
            mappings(&memory),
            [mapping(0, 0x5000, 0x1000, rights, Cache::WriteBack)]
        );
    }
    // Execution alone, behind entries that give reads and writes alone: nothing.
    memory.put(0x4000, 0x5000 | 0x34);
    assert_eq!(mappings(&memory), []);
}

#[test]
fn an_entry_without_rights_is_nothing_whatever_else_it_says() {
    let memory = four();
    memory.put(0x4000, !7);
    memory.put(0x1008, 0xdead_f000);
    assert_eq!(mappings(&memory), []);
}

#[test]
fn each_memory_type_is_told() {
    let memory = four();
    let types = [
        (0, Cache::Uncacheable),
        (1, Cache::WriteCombining),
        (4, Cache::WriteThrough),
        (5, Cache::WriteProtected),
        (6, Cache::WriteBack),
    ];
    for (number, cache) in types {
        memory.put(0x4000, 0x5000 | 3 | number << 3);
        assert_eq!(mappings(&memory), [mapping(0, 0x5000, 0x1000, "rw", cache)]);
    }
}

#[test]
fn neighbours_are_one_only_if_all_of_them_goes_on() {
    let memory = four();
    for (index, entry) in (0..).zip([
        0x5_0037, 0x5_1037, 0x5_2033, 0x5_3033, 0x5_5033, 0x5_6003, 0, 0x5_8003,
    ]) {
        memory.put(0x4000 + 8 * index, entry);
    }
    let (wb, uc) = (Cache::WriteBack, Cache::Uncacheable);
    assert_eq!(
        mappings(&memory),
        [
            mapping(0, 0x5_0000, 0x2000, "rwx", wb),
            mapping(0x2000, 0x5_2000, 0x2000, "rw", wb),
            mapping(0x4000, 0x5_5000, 0x1000, "rw", wb),
            mapping(0x5000, 0x5_6000, 0x1000, "rw", uc),
            mapping(0x7000, 0x5_8000, 0x1000, "rw", uc),
        ]
    );
}

#[test]
fn what_the_processor_would_not_take_is_refused() {
    let bad = [
        // Writable and not readable.
        (0x4000, 0x5036),
        // Memory types 2, 3 and 7.
        (0x4000, 0x5017),
        (0x4000, 0x501f),
        (0x4000, 0x503f),
        // A large page whose address is not one, of either size.
        (0x3008, 0x1000 | 0xb7),
        (0x2008, 0x20_0000 | 0xb7),
        // A page of 512 GiB.
        (0x1008, 0xb7),
        // A table with a memory type.
        (0x2008, 0x3037),
    ];
    for (at, entry) in bad {
        let memory = four();
        memory.put(at, entry);
        assert_eq!(nested(&memory, EPTP), Err(Error::Malformed { at, entry }));
    }
}

#[test]
fn tables_outside_memory_are_not_looked_into() {
    let memory = four();
    memory.put(0x2008, 0x9_9000 | 7);
    assert_eq!(
        nested(&memory, EPTP),
        Err(Error::Elsewhere { at: 0x9_9000 })
    );
    let at = 0x7_7000;
    assert_eq!(nested(&memory, at | 0x1e), Err(Error::Elsewhere { at }));
}

#[test]
fn tables_that_lead_back_to_themselves_come_to_an_end() {
    let memory = Fake::default();
    for table in [0x1000, 0x2000, 0x3000, 0x4000] {
        for index in 0..512 {
            memory.put(table + 8 * index, (table + 0x1000).min(0x4000) | 7);
        }
    }
    // At level 1 these are pages, which are malformed or not, but never tables.
    (0..512).for_each(|index| memory.put(0x4000 + 8 * index, 0x4037));
    assert_eq!(nested(&memory, EPTP), Err(Error::TooMany));
}

#[test]
fn a_pointer_to_other_than_four_levels_is_refused() {
    let memory = four();
    for eptp in [
        ROOT | 0x26,
        ROOT | 0x16,
        ROOT | 0x1f,
        ROOT | 0x1c,
        ROOT | 0x9e,
        ROOT | 0x21e,
        ROOT | 1 << 63 | 0x1e,
    ] {
        assert_eq!(nested(&memory, eptp), Err(Error::Pointer { eptp }));
    }
    for eptp in [EPTP, ROOT | 0x5e, ROOT | 0x18] {
        assert!(nested(&memory, eptp).is_ok(), "{eptp:#x}");
    }
}
