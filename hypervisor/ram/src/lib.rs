//! Physical memory: the window through which it is reached, the frames that are free, and guest memory.
#![no_std]

pub mod frames;
pub mod guest;
pub mod tables;
pub mod window;

pub use frames::{Extent, Frames};
pub use guest::GuestRam;
pub use tables::FrameTables;
pub use window::Window;
