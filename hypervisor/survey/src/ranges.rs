//! Ranges that lie side by side are one.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "the ranges are sorted, and mappings in a row lie in 48 bits of addresses"
)]

use alloc::vec::Vec;
use proto::certificate::{Mapping, Range};

/// These ranges lowest first, each byte once, neighbours joined.
#[must_use]
pub fn merged(mut ranges: Vec<Range>) -> Vec<Range> {
    ranges.sort_unstable();
    let mut all: Vec<Range> = Vec::new();
    for range in ranges.into_iter().filter(|range| range.len != 0) {
        match all.last_mut() {
            Some(last) if last.start.saturating_add(last.len) >= range.start => {
                let end = range.start.saturating_add(range.len);
                last.len = last.len.max(end - last.start);
            }
            _ => all.push(range),
        }
    }
    all
}

/// Adds a mapping behind all others, to the last one if it goes on with it.
pub(crate) fn push(mappings: &mut Vec<Mapping>, next: Mapping) {
    if let Some(last) = mappings.last_mut() {
        let going_on = Mapping {
            at: last.at.wrapping_add(last.len),
            frame: last.frame.wrapping_add(last.len),
            len: next.len,
            ..*last
        };
        if going_on == next {
            last.len += next.len;
            return;
        }
    }
    mappings.push(next);
}
