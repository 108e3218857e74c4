//! Accounts of memory put together.

use super::*;
use proto::certificate::{Owned, Use};

const fn range(start: u64, len: u64) -> Range {
    Range { start, len }
}

const fn owned(start: u64, len: u64, used: Use) -> Owned {
    Owned {
        range: range(start, len),
        used,
    }
}

#[test]
fn memory_behind_addresses_is_cut_where_they_begin_and_end() {
    let top = 0xffff_ffff_ffff_e000;
    let mappings = [
        mapping(0x1000, 0x9000, 0x3000, "rx", Cache::WriteBack),
        mapping(0x4000, 0x2000, 0x1000, "rw", Cache::WriteBack),
        mapping(0x6000, 0xc000, 0x1000, "rw", Cache::WriteBack),
        mapping(top, 0x8_0000, 0x2000, "r", Cache::WriteBack),
    ];
    assert_eq!(
        behind(&mappings, 0x2000, 0x7000),
        [range(0x2000, 0x1000), range(0xa000, 0x3000)]
    );
    assert_eq!(behind(&mappings, 0x2000, 0x2000), []);
    assert_eq!(behind(&mappings, 0, 0), []);
    assert_eq!(
        behind(&mappings, top + 0x1000, u64::MAX),
        [range(0x8_1000, 0xfff)]
    );
}

#[test]
fn what_lies_in_something_takes_its_place() {
    let outer = [
        owned(0x8000, 0x4000, Use::Heap),
        owned(0, 0x4000, Use::Free),
        owned(0x4000, 0x4000, Use::Free),
    ];
    let vm = 1;
    let inner = vec![
        owned(0xa000, 0x1000, Use::VirtualApic { vm }),
        owned(0x9000, 0x1000, Use::VirtualApic { vm }),
        owned(0x8000, 0x1000, Use::VirtualApic { vm: 0 }),
    ];
    assert_eq!(
        composed(&outer, inner),
        [
            owned(0, 0x8000, Use::Free),
            owned(0x8000, 0x1000, Use::VirtualApic { vm: 0 }),
            owned(0x9000, 0x2000, Use::VirtualApic { vm }),
            owned(0xb000, 0x1000, Use::Heap),
        ]
    );
}
