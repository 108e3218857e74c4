//! Config text to a validated [`Plan`], or a refusal with its place in the file and its mend; and the
//! [`bundle`] in which `boot` hands the plan and the files that it names to the hypervisor.
#![no_std]

extern crate alloc;

pub mod bundle;
mod model;

pub use model::{Format, Plan, Start, Vm};
