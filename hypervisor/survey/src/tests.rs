mod bitmaps;
mod built;
mod control;
mod linear;
mod memory;
mod nested;
mod owned;

use crate::*;
use memory::Fake;
use proto::certificate::{Cache, Mapping, Range};

/// A mapping with rights written as `rwx`.
fn mapping(at: u64, frame: u64, len: u64, rights: &str, cache: Cache) -> Mapping {
    Mapping {
        at,
        frame,
        len,
        read: rights.contains('r'),
        write: rights.contains('w'),
        execute: rights.contains('x'),
        cache,
    }
}

#[test]
fn ranges_that_touch_or_overlap_are_one() {
    let range = |start, len| Range { start, len };
    let all = vec![
        range(0x3000, 0x1000),
        range(0, 0x1000),
        range(0x4000, 0x1000),
        range(0x3000, 0x1000),
        range(0x9000, 0),
    ];
    assert_eq!(merged(all), [range(0, 0x1000), range(0x3000, 0x2000)]);
}
