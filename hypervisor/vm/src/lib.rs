//! A VM as a value: memory, chips, policies, and the software state of its vCPUs.
//!
//! [`step`] turns one exit into an [`exits::Answer`]: safe code on plain values, the same on the host and on metal. What belongs to
//! one vCPU is in [`Vcpu`], without locks; chips that vCPUs share are in [`Vm`], each behind its own; another core
//! reaches a vCPU only through its [`Mailbox`].
#![no_std]

extern crate alloc;
// What the tests share with the integration test names this crate as others do.
#[cfg(test)]
extern crate self as vm;
#[cfg(test)]
extern crate std;

mod chips;
mod control;
mod interrupts;
pub mod life;
mod mailbox;
mod mmio;
mod msrs;
mod pdptes;
mod ports;
mod statistics;
mod step;
#[cfg(test)]
mod tests;
mod vcpu;

pub use chips::Chips;
pub use mailbox::Mailbox;
pub use statistics::Statistics;
pub use step::step;
pub use vcpu::{Vcpu, Wants};

use alloc::boxed::Box;
use alloc::string::String;
use platform::{CpuidPolicy, MsrPolicy};
use seam::{GuestMem, SerialLine};

/// What a VM's CPUs show and allow.
#[derive(Debug)]
pub struct Policy {
    /// CPUID, and the control-register bits that follow from it
    pub cpuid: CpuidPolicy,
    /// MSRs
    pub msrs: MsrPolicy,
}

/// One virtual machine.
#[derive(Debug)]
pub struct Vm<M, L> {
    /// Its name in the plan
    pub name: String,
    /// Its RAM
    pub memory: M,
    /// What its CPUs show and allow
    pub policy: Policy,
    /// The chips that its vCPUs share
    pub chips: Chips<L>,
    /// A mailbox for each vCPU, by index
    pub mailboxes: Box<[Mailbox]>,
}

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    /// A VM of `vcpus` vCPUs, at least one, as at power-on.
    pub fn new(name: String, memory: M, policy: Policy, chips: Chips<L>, vcpus: u32) -> Self {
        Self {
            name,
            memory,
            policy,
            chips,
            mailboxes: (0..vcpus.max(1)).map(Mailbox::new).collect(),
        }
    }

    /// The mailbox of a vCPU of this VM.
    #[inline]
    pub fn mailbox(&self, vcpu: &Vcpu) -> &Mailbox {
        // Indices are ours, given at creation; the first stands in for one that cannot be.
        self.mailboxes
            .get(vcpu.index as usize)
            .unwrap_or(&self.mailboxes[0])
    }

    /// Empties the mailboxes and sets the chips back to power-on; memory is its owner's to scrub and load.
    pub fn reset(&mut self, chips: Chips<L>) {
        self.chips = chips;
        for (index, mailbox) in (0..).zip(&mut self.mailboxes) {
            *mailbox = Mailbox::new(index);
        }
    }
}
