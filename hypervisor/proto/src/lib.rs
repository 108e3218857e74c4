//! The management protocol between the machine and the workstation: messages, and the frames in which they travel on a serial
//! line or any other stream of bytes. `PROTOCOL.md` beside this crate is its page.
//!
//! A line is noisy, and readers come and go: a [`Decoder`] takes any bytes, yields the messages whose checksum is right, and counts
//! what it dropped.
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

mod answer;
pub mod certificate;
mod command;
mod decoder;
mod frame;
mod message;
mod outbox;
mod times;
pub mod trace;

pub use answer::{
    Answer, Breach, CoreInfo, ExitRow, Occupant, Promise, VcpuStatistics, VmInfo, VmState,
    VmStatistics,
};
pub use command::Command;
pub use decoder::Decoder;
pub use frame::{TooLong, encode, frame, frame_len};
pub use message::{FromMachine, Message, ToMachine};
pub use outbox::Outbox;
pub use times::{Class, Cleared, CoreTimes, MachineTimes, Reservation, VcpuTimes};

/// Version of the protocol. It changes when a reader of the last version would misread a message; messages, commands and answers
/// that are added at the end of their list do not change it.
pub const VERSION: u16 = 3;

#[cfg(test)]
mod tests;
