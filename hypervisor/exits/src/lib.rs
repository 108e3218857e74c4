//! The neutral [`Exit`], [`Answer`] and [`Event`]: what the vendor crate and the VM say to each other.
//!
//! A vendor crate decodes each hardware exit once into an [`Exit`] that carries all its handler needs; the VM
//! answers with an [`Answer`], which the vendor crate alone turns back into machine state.
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

pub mod answer;
pub mod exit;

pub use answer::{Answer, Event, Stop, SystemWrite};
pub use exit::{Access, ControlWrite, Direction, Exit, GpaFault, PortAccess, StringAccess};
