//! What a guest is told: CPUID and MSR policy, ACPI tables, memory map.
//!
//! A small modern machine, as stock Linux kernels need it and no larger. Every table here is an allow-list: what
//! it does not name, the guest does not have.
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

pub mod acpi;
pub mod apic;
pub mod control;
pub mod cpuid;
pub mod layout;
pub mod msr;
pub mod reset_vector;

pub use acpi::AcpiFacts;
pub use control::GeneralProtection;
pub use cpuid::CpuidPolicy;
pub use layout::{MemoryError, MemoryMap};
pub use msr::MsrPolicy;
