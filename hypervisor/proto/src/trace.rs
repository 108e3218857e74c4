//! What the schedulers did, as each core keeps it in a ring: a word for what, beside the time when.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::{Hz, Ticks};

/// The most events that an answer may hold, so that it fits the line's outbox beside whatever else waits there: with their times they
/// take 8 bytes each as a rule, and 20 at most.
pub const CHUNK: usize = 2000;

/// Something that a scheduler did. In a ring it is a word: [`Self::pack`].
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Event {
    /// What it did
    pub what: What,
    /// Number of the VM in the plan; zero where it is about none
    pub vm: u8,
    /// Number of the vCPU in the VM; zero where it is about none
    pub vcpu: u8,
    /// As [`What`] says; zero where it says nothing
    pub arg: u32,
}

/// What a scheduler did.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum What {
    /// The core goes on with this vCPU. Who had it before can still run, unless an event in between says otherwise.
    Run(Band),
    /// The core has nobody to run from here on
    Idle,
    /// This vCPU can run from here on: something has woken it
    Wake,
    /// This vCPU has nothing to do from here on
    Block,
    /// The budget of this vCPU is spent: it may not run from here on
    Spent,
    /// The budget of this vCPU is whole again: it may run from here on, if it wants to
    Refill,
    /// This vCPU goes to another core, whose number is `arg`
    Move,
    /// The hypervisor has done work that is no vCPU's; it has just ended and took `arg` ticks, or more if that is the largest number
    Host,
    /// The core has filled the memory of this VM for its start; `arg` as with [`What::Host`]
    Load,
}

/// What entitles a vCPU to the core.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Band {
    /// Its window in the core's table, or that the core is its own
    Window,
    /// Its reservation
    Reserved,
    /// Its weight
    LeftOver,
}

/// Bits of the kind, below those of the vCPU, the VM and the argument: without an argument it is three bytes on the line.
const KIND: u32 = 5;
const VCPU: u32 = KIND;
const VM: u32 = VCPU + u8::BITS;
const ARG: u32 = VM + u8::BITS;
const END: u32 = ARG + u32::BITS;

impl What {
    const fn number(self) -> u64 {
        match self {
            Self::Run(Band::Window) => 0,
            Self::Run(Band::Reserved) => 1,
            Self::Run(Band::LeftOver) => 2,
            Self::Idle => 3,
            Self::Wake => 4,
            Self::Block => 5,
            Self::Spent => 6,
            Self::Refill => 7,
            Self::Move => 8,
            Self::Host => 9,
            Self::Load => 10,
        }
    }

    const fn of(number: u64) -> Option<Self> {
        Some(match number {
            0 => Self::Run(Band::Window),
            1 => Self::Run(Band::Reserved),
            2 => Self::Run(Band::LeftOver),
            3 => Self::Idle,
            4 => Self::Wake,
            5 => Self::Block,
            6 => Self::Spent,
            7 => Self::Refill,
            8 => Self::Move,
            9 => Self::Host,
            10 => Self::Load,
            _ => return None,
        })
    }
}

impl Event {
    /// It as a word.
    #[inline]
    #[must_use]
    pub const fn pack(self) -> u64 {
        self.what.number()
            | (self.vcpu as u64) << VCPU
            | (self.vm as u64) << VM
            | (self.arg as u64) << ARG
    }

    /// What a word says, unless it is of a later version.
    #[must_use]
    pub const fn unpack(word: u64) -> Option<Self> {
        if word >> END != 0 {
            return None;
        }
        let Some(what) = What::of(word & ((1 << KIND) - 1)) else {
            return None;
        };
        Some(Self {
            what,
            vm: (word >> VM) as u8,
            vcpu: (word >> VCPU) as u8,
            arg: (word >> ARG) as u32,
        })
    }
}

/// A part of a core's ring. Events are numbered from zero, from when the machine came up.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct TraceChunk {
    /// The core's number in the plan
    pub core: u32,
    /// Frequency of the TSC
    pub tsc: Hz,
    /// When this was answered: what is not in the ring up to `end` did not happen before
    pub now: Ticks,
    /// Number of the first event of this answer. If that is above what was asked for, those between were overwritten.
    pub first: u64,
    /// Number of the event that the core will record next
    pub end: u64,
    /// For each event the ticks since the one before, for the first those since the TSC was zero; and its word
    pub events: Vec<(u64, u64)>,
}

impl TraceChunk {
    /// Number of the event to ask for next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first.saturating_add(self.events.len() as u64)
    }

    /// Takes in the next event, if there is room for it; says whether there was.
    pub fn push(&mut self, last: &mut Ticks, time: Ticks, word: u64) -> bool {
        if self.events.len() >= CHUNK {
            return false;
        }
        // Times of a core do not go back; if they did, it would be seen as no time at all.
        self.events.push((time.since(*last).0, word));
        *last = time.max(*last);
        true
    }

    /// The events with their times.
    pub fn timed(&self) -> impl Iterator<Item = (Ticks, u64)> {
        self.events.iter().scan(Ticks(0), |time, (since, word)| {
            *time = time.after(Ticks(*since));
            Some((*time, *word))
        })
    }
}
