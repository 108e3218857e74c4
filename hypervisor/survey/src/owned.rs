//! Which memory is used for what, put together from several accounts.

use crate::ranges::merged;
use alloc::vec::Vec;
use proto::certificate::{Mapping, Owned, Range};

/// The memory behind the linear addresses from `from` up to `to`, lowest first.
#[must_use]
pub fn behind(mappings: &[Mapping], from: u64, to: u64) -> Vec<Range> {
    let Some(last) = to.checked_sub(1) else {
        return Vec::new();
    };
    let part = |m: &Mapping| {
        let (start, end) = (
            m.at.max(from),
            m.at.saturating_add(m.len.checked_sub(1)?).min(last),
        );
        let len = end.checked_sub(start)?.checked_add(1)?;
        let start = m.frame.checked_add(start.checked_sub(m.at)?)?;
        Some(Range { start, len })
    };
    merged(mappings.iter().filter_map(part).collect())
}

/// `outer`, none of which overlap, with `inner` in the place of what they lie in; lowest first, neighbours of the same use as one.
#[must_use]
pub fn composed(outer: &[Owned], mut inner: Vec<Owned>) -> Vec<Owned> {
    inner.sort_unstable_by_key(|o| o.range.start);
    let mut all = Vec::new();
    for whole in outer {
        around(whole, &inner, &mut all);
    }
    all.append(&mut inner);
    all.sort_unstable_by_key(|o| o.range.start);
    let mut joined: Vec<Owned> = Vec::new();
    for next in all {
        match joined.last_mut() {
            Some(last) if last.used == next.used && end(last) == next.range.start => {
                last.range.len = last.range.len.saturating_add(next.range.len);
            }
            _ => joined.push(next),
        }
    }
    joined
}

const fn end(owned: &Owned) -> u64 {
    owned.range.start.saturating_add(owned.range.len)
}

/// Adds what is left of `whole` around those of `inner`, sorted, that lie in it.
fn around(whole: &Owned, inner: &[Owned], all: &mut Vec<Owned>) {
    let mut at = whole.range.start;
    let mut piece = |from: u64, to: u64| {
        if let Some(len @ 1..) = to.checked_sub(from) {
            let range = Range { start: from, len };
            all.push(Owned {
                range,
                used: whole.used,
            });
        }
    };
    for hole in inner {
        if at <= hole.range.start && end(hole) <= end(whole) {
            piece(at, hole.range.start);
            at = end(hole);
        }
    }
    piece(at, end(whole));
}
