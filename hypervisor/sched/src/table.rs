//! A core's cyclic table: a major frame that repeats from an origin, and windows in it (ARINC 653, partition scheduling).
#![expect(
    clippy::indexing_slicing,
    reason = "remainders by the number of windows, and pairs are two"
)]

use crate::Id;
use alloc::vec::Vec;
use spec::Ticks;
use thiserror::Error;

/// A part of the frame that is one vCPU's.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Window {
    /// Counted from the start of the frame
    pub at: Ticks,
    /// How long
    pub length: Ticks,
    /// Whose
    pub id: Id,
}

/// Why windows are no table.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum TableError {
    /// The frame has no length.
    #[error("the frame has no length")]
    NoFrame,
    /// A window has no length.
    #[error("the window at {} has no length", .0.at.0)]
    NoLength(Window),
    /// A window ends after its frame.
    #[error("the window at {} leaves the frame", .0.at.0)]
    LeavesFrame(Window),
    /// Two windows overlap.
    #[error("the windows at {} and {} overlap", .0.at.0, .1.at.0)]
    Overlap(Window, Window),
}

/// Windows of one frame, none of which overlap.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Table {
    frame: u64,
    origin: u64,
    /// By their start
    windows: Vec<Window>,
}

impl Table {
    /// The windows in any order; the first frame starts at `origin`.
    ///
    /// # Errors
    ///
    /// A frame or a window without length, a window that leaves the frame, two that overlap.
    pub fn new(frame: Ticks, origin: Ticks, mut windows: Vec<Window>) -> Result<Self, TableError> {
        if frame.0 == 0 {
            return Err(TableError::NoFrame);
        }
        for window in &windows {
            if window.length.0 == 0 {
                return Err(TableError::NoLength(*window));
            }
            match window.at.0.checked_add(window.length.0) {
                Some(end) if end <= frame.0 => {}
                _ => return Err(TableError::LeavesFrame(*window)),
            }
        }
        windows.sort_unstable_by_key(|window| window.at);
        for pair in windows.windows(2) {
            if pair[0].at.0 + pair[0].length.0 > pair[1].at.0 {
                return Err(TableError::Overlap(pair[0], pair[1]));
            }
        }
        Ok(Self {
            frame: frame.0,
            origin: origin.0,
            windows,
        })
    }

    /// Where `now` is. Before the origin there is no window.
    pub(crate) fn spot(&self, now: u64) -> Spot {
        let Some(first) = self.windows.first() else {
            return Spot::NONE;
        };
        let Some(passed) = now.checked_sub(self.origin) else {
            return Spot {
                next: self.origin.saturating_add(first.at.0),
                ..Spot::NONE
            };
        };
        let phase = passed % self.frame;
        let base = now - phase;
        let index = self.windows.partition_point(|it| it.at.0 <= phase);
        let next = match self.windows.get(index) {
            Some(window) => base.saturating_add(window.at.0),
            None => base.saturating_add(self.frame).saturating_add(first.at.0),
        };
        let window = index
            .checked_sub(1)
            .map(|index| self.windows[index])
            .filter(|window| phase - window.at.0 < window.length.0);
        Spot {
            owner: window.map(|window| window.id.0),
            start: window.map_or(0, |window| base + window.at.0),
            end: window.map_or(u64::MAX, |window| {
                (base + window.at.0).saturating_add(window.length.0)
            }),
            next,
            index,
            given: false,
        }
    }

    /// The windows of one frame that start after `spot` was found, in order, each with its start.
    pub(crate) fn coming(&self, spot: &Spot) -> impl Iterator<Item = (u64, u16)> {
        let count = self.windows.len();
        let first = self.windows.get(spot.index % count.max(1));
        // The frame in which the next window is.
        let base = spot.next.saturating_sub(first.map_or(0, |it| it.at.0));
        (spot.index..spot.index + count).map(move |index| {
            let window = self.windows[index % count];
            let later = if index % count < spot.index % count {
                self.frame
            } else {
                0
            };
            (
                base.saturating_add(later).saturating_add(window.at.0),
                window.id.0,
            )
        })
    }
}

/// A place in the table.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Spot {
    /// Whose window it is
    pub(crate) owner: Option<u16>,
    /// Of that window
    pub(crate) start: u64,
    /// Of that window
    pub(crate) end: u64,
    /// The next window's start
    pub(crate) next: u64,
    /// The next window
    index: usize,
    /// The window's vCPU has had the core in it
    pub(crate) given: bool,
}

impl Spot {
    /// In no table.
    pub(crate) const NONE: Self = Self {
        owner: None,
        start: 0,
        end: u64::MAX,
        next: u64::MAX,
        index: 0,
        given: false,
    };

    /// When another place begins.
    #[inline]
    pub(crate) fn edge(&self) -> u64 {
        self.end.min(self.next)
    }
}
