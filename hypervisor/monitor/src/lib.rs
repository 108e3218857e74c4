//! The machine's prompt, and the consoles of its guests on its one serial line: pure logic, bytes in and bytes out.
//!
//! [`mux::Mux`] is what the hypervisor serves its serial line with; [`command`] and [`render`](mod@render) are the workstation's
//! too, so that both understand and show the same.
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

extern crate alloc;

pub mod command;
mod escape;
pub mod mux;
mod nearest;
pub mod prompt;
pub mod render;
pub mod screen;
