//! What the statistics of a vCPU, or of all of a VM, said at one moment.

use crate::{BUCKETS, Kind};
use alloc::boxed::Box;
use core::fmt;
use spec::Ticks;

/// The exits of one kind.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// What they were for
    pub kind: Kind,
    /// Time in root operation, of all of them
    pub sum: Ticks,
    /// Time in root operation, of the one that took longest
    pub worst: Ticks,
    /// How many took how long, by [`crate::bucket`]
    pub histogram: [u64; BUCKETS],
}

impl Row {
    const fn new(kind: Kind) -> Self {
        Self {
            kind,
            sum: Ticks(0),
            worst: Ticks(0),
            histogram: [0; BUCKETS],
        }
    }

    /// How many there were.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.histogram.iter().fold(0, |sum, &n| sum.wrapping_add(n))
    }
}

/// Statistics, read.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Snapshot {
    /// On the heap, for there is more of it than of a core's stack to spare
    rows: Box<[Row]>,
    counted: bool,
}

impl Default for Snapshot {
    /// Nothing, to which others can be added.
    fn default() -> Self {
        Self {
            rows: Kind::ALL.into_iter().map(Row::new).collect(),
            counted: true,
        }
    }
}

impl Snapshot {
    pub(crate) fn new(rows: impl Iterator<Item = Row>, counted: bool) -> Self {
        let mut new = Self {
            counted,
            ..Self::default()
        };
        for (to, from) in new.rows.iter_mut().zip(rows) {
            *to = from;
        }
        new
    }

    /// Whether exits are counted at all in this build.
    #[must_use]
    pub const fn is_counted(&self) -> bool {
        self.counted
    }

    /// The kinds of exits that there were, in the order of [`Kind::ALL`].
    pub fn rows(&self) -> impl Iterator<Item = &Row> {
        self.rows.iter().filter(|r| r.count() != 0)
    }

    /// All exits.
    #[must_use]
    pub fn exits(&self) -> u64 {
        self.rows
            .iter()
            .fold(0, |sum, r| sum.wrapping_add(r.count()))
    }

    /// Time in root operation.
    #[must_use]
    pub fn root(&self) -> Ticks {
        Ticks(self.rows.iter().fold(0, |sum, r| sum.wrapping_add(r.sum.0)))
    }

    /// Adds those of another vCPU.
    pub fn add(&mut self, other: &Self) {
        self.counted &= other.counted;
        for (to, from) in self.rows.iter_mut().zip(&other.rows) {
            to.sum = Ticks(to.sum.0.wrapping_add(from.sum.0));
            to.worst = to.worst.max(from.worst);
            for (to, from) in to.histogram.iter_mut().zip(&from.histogram) {
                *to = to.wrapping_add(*from);
            }
        }
    }
}

impl fmt::Display for Snapshot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.counted {
            return f.write_str("exits=not-counted");
        }
        write!(f, "exits={} root_ticks={}", self.exits(), self.root().0)?;
        for row in self.rows() {
            write!(f, " {}={}", row.kind.name(), row.count())?;
        }
        Ok(())
    }
}
