//! Physical memory: the window through which it is reached, the frames that are free, and guest memory.
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

pub mod frames;
pub mod guest;
pub mod ledger;
pub mod tables;
pub mod window;

pub use frames::{Extent, Frames};
pub use guest::GuestRam;
pub use ledger::{Owned, Use};
pub use tables::FrameTables;
pub use window::Window;
