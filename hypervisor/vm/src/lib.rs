//! A VM as a value: memory, chips, policies, and the software state of its vCPUs.
//!
//! [`step`] turns one exit into an [`exits::Answer`]: safe code on plain values, the same on the host and on metal. What belongs to
//! one vCPU is in [`Vcpu`], without locks; chips that vCPUs share are in [`Vm`], each behind its own; another core
//! reaches a vCPU only through its [`Mailbox`].
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
// What the tests share with the integration test names this crate as others do.
#[cfg(test)]
extern crate self as vm;
#[cfg(test)]
extern crate std;

mod chips;
mod control;
mod exit_kind;
mod flight;
mod interrupts;
pub mod life;
mod mailbox;
mod mmio;
mod msrs;
mod pdptes;
mod ports;
mod promise;
pub mod recovery;
mod snapshot;
mod statistics;
mod step;
#[cfg(test)]
mod tests;
mod vcpu;
mod watchdog;

pub use chips::Chips;
pub use exit_kind::Kind;
pub use flight::Recorder;
pub use mailbox::Mailbox;
pub use promise::{Promise, Report, Standing};
pub use snapshot::{Row, Snapshot};
pub use statistics::{BUCKETS, Statistics, bucket};
pub use step::step;
pub use vcpu::{Vcpu, Wants};
pub use watchdog::Watched;

use alloc::boxed::Box;
use alloc::string::String;
use core::sync::atomic::{AtomicU32, Ordering};
use platform::cpuid::Dynamic;
use platform::{CpuidPolicy, MsrPolicy};
use seam::{GuestMem, Kick, SerialLine};
use spec::state::StartState;

/// What a VM's CPUs show and allow.
#[derive(Debug)]
pub struct Policy {
    /// CPUID, and the control-register bits that follow from it
    pub cpuid: CpuidPolicy,
    /// MSRs
    pub msrs: MsrPolicy,
}

/// One virtual machine. All cores share it.
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
    /// What each vCPU's exits were and cost, by index; its core alone counts
    pub statistics: Box<[Statistics]>,
    /// How a vCPU's core is told that its mailbox has something
    kick: Box<dyn Kick + Send + Sync>,
    /// Who took the last lowest-priority interrupt
    turn: AtomicU32,
}

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    /// A VM of `vcpus` vCPUs, at least one, as at power-on.
    pub fn new(
        name: String,
        memory: M,
        policy: Policy,
        chips: Chips<L>,
        vcpus: u32,
        kick: Box<dyn Kick + Send + Sync>,
    ) -> Self {
        let indices = 0..vcpus.max(1);
        Self {
            name,
            memory,
            policy,
            chips,
            mailboxes: indices.clone().map(Mailbox::new).collect(),
            statistics: indices.map(|_| Statistics::default()).collect(),
            kick,
            turn: AtomicU32::new(0),
        }
    }

    /// The mailbox of a vCPU of this VM.
    #[inline]
    pub fn mailbox(&self, vcpu: &Vcpu) -> &Mailbox {
        of(&self.mailboxes, vcpu)
    }

    /// The counters of a vCPU of this VM.
    #[inline]
    pub fn statistics(&self, vcpu: &Vcpu) -> &Statistics {
        of(&self.statistics, vcpu)
    }

    /// What the exits of all vCPUs were and cost.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        let mut all = Snapshot::default();
        for one in &self.statistics {
            all.add(&one.snapshot());
        }
        all
    }

    /// The registers of a vCPU that a start-up with this vector starts.
    #[must_use]
    pub fn start_up(&self, vector: u8) -> StartState {
        // What does not hang on the vCPU: its APIC id is elsewhere in this leaf.
        let any = Dynamic {
            apic_id: 0,
            apic_enabled: true,
            osxsave: false,
            xcr0: 1,
        };
        let [signature, ..] = self.policy.cpuid.lookup(1, 0, any);
        StartState::start_up(vector, signature)
    }

    /// Empties the mailboxes, zeroes the statistics and sets the chips back to power-on. All vCPUs are at rest; each is made anew
    /// after this, and memory is its owner's to scrub and load.
    pub fn reset(&self, chips: Chips<L>) {
        // The chips first: what they might still send goes with what the mailboxes hold.
        self.chips.replace(chips);
        for (index, mailbox) in (0..).zip(&self.mailboxes) {
            mailbox.reset(index);
        }
        for statistics in &self.statistics {
            statistics.clear();
        }
        self.turn.store(0, Ordering::Relaxed);
    }
}

/// The part of a vCPU. Indices are ours, given at creation; the first stands in for one that cannot be.
#[inline]
#[expect(clippy::indexing_slicing, reason = "a VM has one vCPU at least")]
fn of<'a, T>(parts: &'a [T], vcpu: &Vcpu) -> &'a T {
    parts.get(vcpu.index as usize).unwrap_or(&parts[0])
}
