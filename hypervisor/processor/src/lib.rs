//! What the processor's own weaknesses ask of a hypervisor, as pure functions of what it says of itself.
#![no_std]

pub mod hygiene;
