//! Config text to a validated [`Plan`], or a refusal with its place in the file and its mend; and the
//! [`bundle`] in which `boot` hands the plan and the files that it names to the hypervisor.
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

mod admission;
pub mod bundle;
mod canonical;
mod claims;
mod cores;
mod cyclic;
mod document;
mod duration;
mod excerpt;
mod facts;
mod file;
mod fit;
mod format;
mod interrupts;
pub mod layout;
mod model;
mod modules;
mod nearest;
mod owners;
mod placement;
mod recovery;
mod refusal;
mod runs;
mod seats;
mod share;
mod syntax;
mod table;
mod text;
mod units;
mod value;
mod vm;
mod watchdog;
mod windows;

pub use admission::Unfit;
pub use cores::MAX_VCPUS;
pub use document::{MAX_VMS, parse};
pub use facts::{Cores, Facts, SizeOf};
pub use model::{
    CONSOLE_CORE, Cyclic, DEFAULT_BOOT, DEFAULT_WEIGHT, Exits, Format, Interrupts, MAX_DELAY,
    MAX_WEIGHT, Module, Plan, Recovery, Reservation, Runs, Share, Smt, Spare, Start, Then, Vm,
    Window,
};
pub use refusal::Refusal;
pub use text::{MAX_TEXT, text};
