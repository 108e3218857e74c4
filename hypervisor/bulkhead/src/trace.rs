//! What each core's scheduler did last: a ring that its core writes and any core reads.

use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use proto::trace::{CHUNK, Event, TraceChunk, What};
use spec::{Hz, Ticks};

/// Events that are kept, a power of two.
const EVENTS: u64 = 2048;

/// A ring of events.
pub(crate) struct Ring {
    /// When, and what
    events: Box<[[AtomicU64; 2]]>,
    /// How many there have been, with the one that is being written
    begun: AtomicU64,
    /// How many are there to be read
    written: AtomicU64,
}

impl Ring {
    /// An empty one.
    pub(crate) fn new() -> Self {
        Self {
            events: (0..EVENTS).map(|_| Default::default()).collect(),
            begun: AtomicU64::new(0),
            written: AtomicU64::new(0),
        }
    }

    /// Writes an event down. Only the ring's core does.
    #[inline]
    pub(crate) fn note(&self, at: Ticks, event: Event) {
        let number = self.written.load(Ordering::Relaxed);
        if let Some([time, word]) = self.events.get((number & (EVENTS - 1)) as usize) {
            // A reader that sees a part of the new event also sees, behind its own fence, that the old one's place was taken.
            self.begun.store(number + 1, Ordering::Relaxed);
            fence(Ordering::Release);
            time.store(at.0, Ordering::Relaxed);
            word.store(event.pack(), Ordering::Relaxed);
            self.written.store(number + 1, Ordering::Release);
        }
    }

    /// The events from number `from` on, as far as they are there and an answer holds them.
    pub(crate) fn read(&self, core: u32, tsc: Hz, now: Ticks, from: u64) -> TraceChunk {
        let end = self.written.load(Ordering::Acquire);
        let mut first = from.clamp(end.saturating_sub(EVENTS), end);
        let mut copied: Vec<(Ticks, u64)> = (first..end)
            .take(CHUNK)
            .filter_map(|number| self.events.get((number & (EVENTS - 1)) as usize))
            .map(|[time, word]| {
                (
                    Ticks(time.load(Ordering::Relaxed)),
                    word.load(Ordering::Relaxed),
                )
            })
            .collect();
        fence(Ordering::Acquire);
        // What was overwritten meanwhile is left out.
        let oldest = self.begun.load(Ordering::Relaxed).saturating_sub(EVENTS);
        if oldest > first {
            let lost = usize::try_from(oldest - first).unwrap_or(usize::MAX);
            copied.drain(..lost.min(copied.len()));
            first = oldest.min(end);
        }
        TraceChunk::new(core, tsc, now, first, end, copied)
    }
}

/// An event that took some time.
pub(crate) fn took(what: What, who: (u32, u32), time: Ticks) -> Event {
    of(what, who, u32::try_from(time.0).unwrap_or(u32::MAX))
}

/// An event that is about one vCPU.
pub(crate) fn of(what: What, (vm, vcpu): (u32, u32), arg: u32) -> Event {
    Event {
        what,
        // A plan has at most 64 VMs of 64 vCPUs.
        vm: vm as u8,
        vcpu: vcpu as u8,
        arg,
    }
}
