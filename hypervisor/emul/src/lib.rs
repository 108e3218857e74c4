//! Decodes and carries out the instructions that reach emulated memory, and INS and OUTS.
//!
//! A guest is an attacker, and its other processors may change its memory and its page tables at any time. So
//! the instruction is copied once and only the copy is decoded; each operand is translated once, by a walk of
//! the guest's own tables with the rights of the moment, and only what that walk found is accessed. Nothing is
//! taken from an exit but the registers, and the processor's own translation where the operand is what it
//! translated: a walk would find the same, or what has replaced it since.
//!
//! Three steps, apart from one another: [`fetch`] copies bytes, [`decode()`] turns them into a plain
//! [`Operation`], [`execute`] carries that out. [`Cache`] makes the second cheap for an instruction that comes again.
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
#[cfg(test)]
extern crate std;

mod access;
mod alu;
mod cache;
mod decode;
mod error;
mod execute;
mod fetch;
mod linear;
mod listing;
mod operation;
mod port;
mod reach;
mod registers;
mod string;
#[cfg(test)]
mod tests;
mod walk;

pub use access::Bus;
pub use cache::Cache;
pub use decode::{Bitness, DecodeError, decode, prepare};
pub use error::{Error, Fault};
pub use execute::{Done, execute};
pub use fetch::{Code, fetch};
pub use listing::{Line, listing};
pub use operation::{
    Address, Arithmetic, BitAction, Kind, Operand, Operation, Register, Repeat, StringKind, Unary,
};
pub use port::{PortBus, Progress, StringPort, run_string_port};
pub use reach::may_access;
pub use walk::{Intent, Translation, WalkError, walk};
