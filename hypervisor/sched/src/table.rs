//! A core's cyclic table: a major frame that repeats from an origin, and windows in it (ARINC 653, partition scheduling).

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
}
