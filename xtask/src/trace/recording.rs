//! What was collected.

use proto::trace::{Event, TraceChunk, What};
use spec::{Hz, Ticks};

/// What the schedulers of a machine did in a length of time.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Recording {
    /// Frequency of the TSC
    pub tsc: Hz,
    /// When the hypervisor was entered
    pub entered: Ticks,
    /// Where the time begins that was asked for
    pub from: Ticks,
    /// Where it ends
    pub until: Ticks,
    /// Names of the VMs, in the order of the plan
    pub vms: Vec<String>,
    /// What each core recorded
    pub cores: Vec<Ring>,
}

/// What a core recorded, a little of it from before the time that was asked for, which tells how that began.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Ring {
    /// The core's number in the plan
    pub core: u32,
    /// In the order of their times
    pub records: Vec<Record>,
    /// How many events of the time that was asked for were overwritten before they could be read
    pub lost: u64,
    /// How many words are of a later version than this program
    pub unknown: u64,
}

/// A piece of what a core recorded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Record {
    /// An event
    Event(Ticks, Event),
    /// Events that were overwritten before they could be read
    Gap,
}

impl Ring {
    /// Of a core of which nothing is known yet.
    #[must_use]
    pub fn new(core: u32) -> Ring {
        Ring {
            core,
            records: Vec::new(),
            lost: 0,
            unknown: 0,
        }
    }

    /// Takes in an answer to who has asked for the events from `from` on, of which those below `wanted` can be missed.
    pub fn take(&mut self, chunk: &TraceChunk, from: u64, wanted: u64) {
        let lost = chunk.first.saturating_sub(from.max(wanted));
        self.lost = self.lost.saturating_add(lost);
        if lost != 0 && !self.records.is_empty() {
            self.records.push(Record::Gap);
        }
        for (time, word) in chunk.timed() {
            match Event::unpack(word) {
                Some(event) => self.records.push(Record::Event(time, event)),
                None => self.unknown += 1,
            }
        }
    }

    /// Puts the events of an answer below `until` before those that there are.
    pub(super) fn precede(&mut self, chunk: &TraceChunk, until: u64) {
        let before = (chunk.first..until).zip(chunk.timed());
        let mut records: Vec<Record> = before
            .filter_map(|(_, (time, word))| Some(Record::Event(time, Event::unpack(word)?)))
            .collect();
        if chunk.next() < until {
            records.push(Record::Gap);
        }
        records.append(&mut self.records);
        self.records = records;
    }

    /// Whether it is known who had the core at a time, or that nobody had it.
    pub(super) fn tells_who_had(&self, when: Ticks) -> bool {
        let tells = |record: &Record| match record {
            Record::Event(time, event) => {
                *time <= when && matches!(event.what, What::Run(_) | What::Idle)
            }
            Record::Gap => false,
        };
        self.records.iter().any(tells)
    }

    /// How many events there are.
    #[must_use]
    pub fn events(&self) -> usize {
        let is_event = |record: &&Record| matches!(record, Record::Event(..));
        self.records.iter().filter(is_event).count()
    }
}

impl Recording {
    /// The name of a VM, by its number in the plan.
    #[must_use]
    pub fn vm(&self, number: u8) -> String {
        let name = self.vms.get(usize::from(number));
        name.cloned().unwrap_or_else(|| format!("vm-{number}"))
    }

    /// Nanoseconds from the hypervisor's entry to a time.
    pub(super) fn nanos(&self, time: Ticks) -> u64 {
        self.tsc.nanos(time.since(self.entered))
    }
}
