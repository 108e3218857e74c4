//! Nested page tables, generic over the entry format.
//!
//! The same code builds a guest's nested tables and the hypervisor's own: [`Tables`] over a [`Format`].
//! Frames come from a [`seam::TableMem`]; a change takes all frames that it needs before it writes the first live
//! entry, so it either happens or does not.
#![no_std]
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

#[cfg(test)]
extern crate std;

mod change;
mod ept;
mod format;
mod long;
mod reserve;
mod stacks;
mod tables;
#[cfg(test)]
mod tests;

pub use ept::Ept;
pub use format::{Address, Entry, Format, Level, Rights};
pub use long::{Hva, Long};
pub use stacks::Stacks;
pub use tables::{Error, Met, Page, Tables};
