//! Reads what can be reached from where out of the structures that the processor goes by: nested tables, the processor's own tables,
//! MSR and I/O bitmaps, control structures.
//!
//! It shares no code with what builds them: it has the manual's numbers for itself, so that a misunderstanding there is none here. Entries
//! are taken as what they are worth to the processor, whoever has written them: nothing is believed, and what makes no sense is an
//! [`Error`].
#![cfg_attr(not(test), no_std)]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;

mod bitmaps;
mod control;
mod linear;
mod nested;
mod owned;
mod ranges;
mod walk;

pub use control::{Control, Fields, Whose};
pub use linear::linear;
pub use nested::nested;
pub use owned::{behind, composed};
pub use ranges::merged;
pub use walk::{Half, Reached};

use core::fmt;

/// Physical memory as it is.
pub trait Memory {
    /// Reads the frame at `at`, each of its words once; `false` if that is no memory that may be read.
    fn read(&self, at: u64, words: &mut Frame) -> bool;
}

/// The words of a frame, which is a table, a bitmap, or two bitmaps.
pub type Frame = [u64; 512];

/// Why structures cannot be read.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// A table or bitmap lies where there is no memory for such
    Elsewhere {
        /// Where
        at: u64,
    },
    /// The processor would not take an entry
    Malformed {
        /// Where it is
        at: u64,
        /// What it is
        entry: u64,
    },
    /// An EPT pointer that is not one to four levels of tables
    Pointer {
        /// The pointer
        eptp: u64,
    },
    /// There are more tables, or pieces of memory, than anybody makes
    TooMany,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Elsewhere { at } => write!(
                f,
                "a table or bitmap is said to be at {at:#x}, where none can be"
            ),
            Self::Malformed { at, entry } => {
                write!(f, "the entry {entry:#x} at {at:#x} is malformed")
            }
            Self::Pointer { eptp } => {
                write!(
                    f,
                    "the EPT pointer {eptp:#x} is not one to four levels of tables"
                )
            }
            Self::TooMany => write!(
                f,
                "there are more tables, or pieces of memory, than can be told of"
            ),
        }
    }
}

#[cfg(test)]
mod tests;
