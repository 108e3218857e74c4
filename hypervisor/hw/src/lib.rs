//! The machine: instructions, MSRs, ports, per-core state, VM entry.
//!
//! Privileged instructions are here and nowhere else but in `boot`. Each module says what its `unsafe` is for.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
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

pub mod apic;
pub mod control;
pub mod core_local;
pub mod cpuid;
pub mod entry;
pub mod extended_state;
pub mod firmware;
mod gap;
pub mod guest_msrs;
pub mod hygiene;
pub mod idle;
pub mod ioapic;
pub mod msr;
pub mod pic;
pub mod port;
pub mod rescue;
pub mod segments;
pub mod startup;
pub mod trap;
pub mod tsc;
pub mod vmx_ops;
