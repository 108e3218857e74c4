//! Nested page tables, generic over the entry format.
//!
//! The same code builds a guest's nested tables and the hypervisor's own: [`Tables`] over a [`Format`].
//! Frames come from a [`seam::TableMem`]; a change takes all frames that it needs before it writes the first live
//! entry, so it either happens or does not.
#![no_std]

#[cfg(test)]
extern crate std;

mod change;
mod ept;
mod format;
mod long;
mod reserve;
mod tables;
#[cfg(test)]
mod tests;

pub use ept::Ept;
pub use format::{Address, Entry, Format, Level, Rights};
pub use long::{Hva, Long};
pub use tables::{Error, Met, Page, Tables};
