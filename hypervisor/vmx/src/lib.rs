//! VT-x over a VMCS trait: control selection, entry checks, exit decoding, injection.
//!
//! Nothing here touches the processor: `hw` gives the [`Vmcs`] by VMREAD and VMWRITE, and carries out the
//! [`Effect`]s that lie outside the VMCS. The way through the crate:
//!
//! 1. [`Capabilities::new`] reads the capability MSRs; [`Capabilities::missing`] names what stands in the way.
//! 2. [`controls::select`] chooses the controls; [`setup::initialise`] writes the whole VMCS and gives a [`Vcpu`].
//! 3. [`Vcpu::carry`] changes who carries its local APIC, before any entry.
//! 4. After each exit [`Vcpu::decode`] gives the [`exits::Exit`]; [`Vcpu::apply`] carries out the answer.
//! 5. When an entry fails, [`check()`] names the rules that are broken and [`Dump`] shows the fields.
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

#[cfg(any(test, feature = "fake"))]
extern crate std;

mod advance;
mod apply;
#[cfg(test)]
mod apply_tests;
pub mod capabilities;
mod carry;
#[cfg(test)]
mod carry_tests;
pub mod check;
pub mod controls;
mod decode;
#[cfg(test)]
mod decode_tests;
mod double_fault;
mod dump;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod fields;
#[cfg(test)]
mod fixture;
mod inject;
#[cfg(test)]
mod inject_tests;
pub mod io_bitmap;
pub mod missing;
#[cfg(test)]
mod missing_tests;
pub mod msr_bitmap;
pub mod setup;
mod start;
#[cfg(test)]
mod start_tests;
mod timer;
mod vcpu;
mod vmcs;

pub use apply::{Effect, merge_dr6};
pub use capabilities::Capabilities;
pub use carry::{Carried, Posted};
pub use check::{AddressWidths, Failure, check};
pub use controls::{Controls, Wants};
pub use dump::{Dump, Shown};
pub use fields::exists;
pub use io_bitmap::IoBitmaps;
pub use missing::Missing;
pub use msr_bitmap::MsrBitmap;
pub use setup::{HostState, Pointers, Setup};
pub use vcpu::Vcpu;
pub use vmcs::Vmcs;
