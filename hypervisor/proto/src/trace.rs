//! What the schedulers did, as each core keeps it in a ring: a word for what, beside the time when.

use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::{Hz, Ticks};

/// The most events that an answer may hold: the core that answers does nothing else meanwhile, some 450 ticks for each. With their times they
/// take 8 bytes each as a rule, and 20 at most.
pub const CHUNK: usize = 64;

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
    /// When this was answered: whatever happened before is among the events up to `end`
    pub now: Ticks,
    /// Number of the first event of this answer. If that is above what was asked for, those between were overwritten.
    pub first: u64,
    /// Number of the event that the core will record next
    pub end: u64,
    /// For each event the ticks since the one before, for the first those since the TSC was zero; and its word
    pub events: Vec<(u64, u64)>,
}

impl TraceChunk {
    /// An answer with these events, each with its time: the first [`CHUNK`] of them. It allocates once.
    #[must_use]
    pub fn new(
        core: u32,
        tsc: Hz,
        now: Ticks,
        first: u64,
        end: u64,
        events: impl IntoIterator<Item = (Ticks, u64)>,
    ) -> Self {
        let events = events.into_iter();
        let mut kept = Vec::with_capacity(events.size_hint().0.min(CHUNK));
        let mut last = Ticks(0);
        for (time, word) in events.take(CHUNK) {
            // Times of a core do not go back; one that did would be seen as no time at all.
            kept.push((time.since(last).0, word));
            last = last.max(time);
        }
        Self {
            core,
            tsc,
            now,
            first,
            end,
            events: kept,
        }
    }

    /// Number of the event to ask for next.
    #[must_use]
    pub fn next(&self) -> u64 {
        self.first.saturating_add(self.events.len() as u64)
    }

    /// The events with their times.
    pub fn timed(&self) -> impl Iterator<Item = (Ticks, u64)> {
        self.events.iter().scan(Ticks(0), |time, (since, word)| {
            *time = time.after(Ticks(*since));
            Some((*time, *word))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;
    use proptest::prelude::*;

    fn what() -> impl Strategy<Value = What> {
        (0..16u64).prop_filter_map("a kind that there is", What::of)
    }

    #[test]
    fn each_kind_has_a_number_of_its_own() {
        let known: Vec<What> = (0..1 << KIND).filter_map(What::of).collect();
        assert_eq!(known.len(), 11);
        for (number, what) in (0..).zip(known) {
            assert_eq!(what.number(), number);
        }
    }

    #[test]
    fn an_event_without_an_argument_is_three_bytes_on_the_line_at_most() {
        let event = Event {
            what: What::Load,
            vm: u8::MAX,
            vcpu: u8::MAX,
            arg: 0,
        };
        assert!(event.pack() < 1 << 21);
    }

    #[test]
    fn a_full_chunk_fits_the_outbox_however_odd_its_events() {
        let events = (0..).map(|n| (Ticks((n % 2) * u64::MAX), u64::MAX));
        let chunk = TraceChunk::new(u32::MAX, Hz(u64::MAX), Ticks(u64::MAX), u64::MAX, 0, events);
        assert_eq!(chunk.events.len(), CHUNK);
        assert_eq!(chunk.next(), u64::MAX);
        let events = (0..3000).map(|_| (Ticks(1 << 63), u64::MAX));
        let chunk = TraceChunk::new(1, Hz(1), Ticks(1), 0, 3000, events);
        let reply = crate::FromMachine::Reply {
            id: 1,
            answer: crate::Answer::Trace(chunk),
        };
        assert!(crate::frame(&reply).unwrap().len() < 48 * 1024);
    }

    #[test]
    fn time_that_goes_back_is_no_time() {
        let events = [(Ticks(5), 1), (Ticks(3), 2), (Ticks(6), 3)];
        let chunk = TraceChunk::new(0, Hz(1), Ticks(9), 7, 10, events);
        assert_eq!(chunk.events, [(5, 1), (0, 2), (1, 3)]);
        assert_eq!(chunk.next(), 10);
        let timed: Vec<_> = chunk.timed().collect();
        assert_eq!(timed, [(Ticks(5), 1), (Ticks(5), 2), (Ticks(6), 3)]);
    }

    #[test]
    fn an_odd_answer_is_no_overflow() {
        let chunk = TraceChunk {
            events: vec![(u64::MAX, 0), (u64::MAX, 0)],
            ..TraceChunk::new(0, Hz(0), Ticks(0), 0, 0, [])
        };
        assert!(chunk.timed().all(|(time, _)| time == Ticks(u64::MAX)));
    }

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(what in what(), vm: u8, vcpu: u8, arg: u32) {
            let event = Event { what, vm, vcpu, arg };
            prop_assert_eq!(Event::unpack(event.pack()), Some(event));
        }

        #[test]
        fn a_word_that_is_understood_is_understood_wholly(word in prop_oneof![any::<u64>(), 0..1u64 << END]) {
            if let Some(event) = Event::unpack(word) {
                prop_assert_eq!(event.pack(), word);
            }
        }

        #[test]
        fn times_come_back(mut times in prop::collection::vec(any::<u64>(), 0..50), now: u64) {
            times.sort_unstable();
            let events: Vec<_> = times.iter().map(|time| (Ticks(*time), time ^ now)).collect();
            let chunk = TraceChunk::new(3, Hz(1), Ticks(now), 0, 50, events.iter().copied());
            prop_assert_eq!(chunk.timed().collect::<Vec<_>>(), events);
        }
    }
}
