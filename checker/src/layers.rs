//! Ranges that may overlap, cut where one of them begins or ends.

use proto::certificate::Range;

/// What lies where.
#[derive(Clone, Debug)]
pub(crate) struct Layers<T> {
    /// Sorted and apart from each other; no two that touch are of the same, and none is of nothing
    pieces: Vec<(u64, u64, Vec<T>)>,
}

/// A part of memory in which nothing begins or ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Piece<'a, T> {
    pub(crate) range: Range,
    /// All that lies there
    pub(crate) of: &'a [T],
}

/// One past its last byte. A range that wraps ends with the last address: what a machine tells is no promise.
pub(crate) const fn end(range: &Range) -> u64 {
    range.start.saturating_add(range.len)
}

/// From one address to before another.
pub(crate) const fn between(start: u64, end: u64) -> Range {
    Range {
        start,
        len: end.saturating_sub(start),
    }
}

impl<T: Copy + PartialEq> Layers<T> {
    pub(crate) fn new(ranges: impl IntoIterator<Item = (Range, T)>) -> Self {
        let ranges: Vec<_> = ranges
            .into_iter()
            .filter(|(range, _)| range.len != 0)
            .collect();
        let begins = ranges.iter().map(|(range, _)| range.start);
        let ends = ranges.iter().map(|(range, _)| end(range));
        let mut edges: Vec<(u64, bool, usize)> = begins
            .zip(0..)
            .map(|(at, which)| (at, true, which))
            .chain(ends.zip(0..).map(|(at, which)| (at, false, which)))
            .collect();
        edges.sort_unstable();
        let mut here: Vec<usize> = Vec::new();
        let mut layers = Self { pieces: Vec::new() };
        let mut from = 0;
        for (at, begins, which) in edges {
            if at > from && !here.is_empty() {
                let of = here.iter().filter_map(|which| ranges.get(*which));
                layers.push(from, at, of.map(|(_, of)| *of).collect());
            }
            from = at;
            if begins {
                here.push(which);
            } else {
                here.retain(|other| *other != which);
            }
        }
        layers
    }

    fn push(&mut self, start: u64, end: u64, of: Vec<T>) {
        match self.pieces.last_mut() {
            Some((_, last, same)) if *last == start && *same == of => *last = end,
            _ => self.pieces.push((start, end, of)),
        }
    }

    /// All that anything lies in.
    pub(crate) fn pieces(&self) -> impl Iterator<Item = Piece<'_, T>> {
        self.pieces.iter().map(|(start, end, of)| Piece {
            range: between(*start, *end),
            of,
        })
    }

    /// The pieces of a range, lowest first and without a gap: where nothing lies, a piece is of nothing.
    pub(crate) fn over(&self, range: Range) -> Vec<Piece<'_, T>> {
        let (mut from, to) = (range.start, end(&range));
        if from == to {
            return Vec::new();
        }
        let first = self.pieces.partition_point(|(_, end, _)| *end <= from);
        let mut found = Vec::new();
        for (start, end, of) in self.pieces.iter().skip(first) {
            if *start >= to {
                break;
            }
            if *start > from {
                found.push(Piece {
                    range: between(from, *start),
                    of: &[],
                });
            }
            found.push(Piece {
                range: between(from.max(*start), to.min(*end)),
                of,
            });
            from = *end;
        }
        if from < to {
            found.push(Piece {
                range: between(from, to),
                of: &[],
            });
        }
        found
    }

    /// Bytes in which anything lies.
    pub(crate) fn bytes(&self) -> u64 {
        self.pieces().map(|piece| piece.range.len).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn range() -> impl Strategy<Value = Range> {
        (0u64..64, 0u64..16).prop_map(|(start, len)| Range { start, len })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn each_byte_is_of_what_lies_there(ranges in prop::collection::vec(range(), 0..12), asked in range()) {
            let named = || ranges.iter().copied().zip(0usize..);
            let layers = Layers::new(named());
            let mut at = asked.start;
            for piece in layers.over(asked) {
                prop_assert_eq!(piece.range.start, at);
                prop_assert!(piece.range.len > 0);
                at = end(&piece.range);
                for byte in piece.range.start..at {
                    let mut of = piece.of.to_vec();
                    of.sort_unstable();
                    let lies = |range: &Range| (range.start..end(range)).contains(&byte);
                    let right: Vec<usize> = named().filter(|(range, _)| lies(range)).map(|(_, n)| n).collect();
                    prop_assert_eq!(of, right);
                }
            }
            prop_assert_eq!(at, end(&asked));
        }
    }

    #[test]
    fn a_range_that_wraps_ends_with_the_last_address() {
        let wraps = Range {
            start: u64::MAX - 7,
            len: 100,
        };
        let layers = Layers::new([(wraps, 'a')]);
        assert_eq!(layers.bytes(), 7);
        assert_eq!(layers.over(wraps).len(), 1);
    }
}
