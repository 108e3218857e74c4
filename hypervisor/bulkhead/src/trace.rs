//! What each core's scheduler did last: a ring that its core writes and any core reads.

use crate::seat;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU64, Ordering, fence};
use proto::trace::{Event, TraceChunk, What};
use spec::{Hz, Ticks};
use spin::Mutex;

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

    /// What is there now, and the number of the first.
    fn copy(&self) -> (u64, Vec<(Ticks, u64)>) {
        let end = self.written.load(Ordering::Acquire);
        let first = end.saturating_sub(EVENTS);
        let place = |number: u64| self.events.get((number & (EVENTS - 1)) as usize);
        let read = |word: &AtomicU64| word.load(Ordering::Relaxed);
        let mut events: Vec<(Ticks, u64)> = (first..end)
            .filter_map(place)
            .map(|[time, word]| (Ticks(read(time)), read(word)))
            .collect();
        fence(Ordering::Acquire);
        // What was overwritten meanwhile is left out.
        let lost = self.begun.load(Ordering::Relaxed).saturating_sub(EVENTS);
        let lost = lost.saturating_sub(first).min(end - first);
        events.drain(..lost as usize);
        (first + lost, events)
    }
}

/// The rings of all cores as they were at one time. Whoever wants what they hold asks several times, over a slow line, while the rings go on.
struct Copies {
    taken: Ticks,
    /// For each core the number of the first event, and the events
    cores: Vec<(u64, Vec<(Ticks, u64)>)>,
}

static COPIES: Mutex<Option<Copies>> = Mutex::new(None);

/// The events of a core from number `from` on, as many as an answer holds. `None` if there is no such core.
pub(crate) fn read(core: u32, from: u64, tsc: Hz) -> Option<TraceChunk> {
    let now = hw::tsc::now();
    let end = seat::at(core)?.trace.written.load(Ordering::Acquire);
    if from >= end {
        return Some(TraceChunk::new(core, tsc, now, end, end, []));
    }
    let mut copies = COPIES.lock();
    let has = |copies: &Copies| {
        let (first, events) = copies.cores.get(core as usize)?;
        usize::try_from(from.checked_sub(*first)?)
            .ok()
            .filter(|at| *at < events.len())
    };
    let mut at = copies.as_ref().and_then(has);
    if at.is_none() {
        *copies = Some(Copies {
            taken: now,
            cores: seat::all().iter().map(|seat| seat.trace.copy()).collect(),
        });
        // What was overwritten is passed over.
        at = copies.as_ref().and_then(has).or(Some(0));
    }
    let copies = copies.as_ref()?;
    let (first, events) = copies.cores.get(core as usize)?;
    let at = at?;
    let rest = events.get(at..)?.iter().copied();
    let end = first + events.len() as u64;
    Some(TraceChunk::new(
        core,
        tsc,
        copies.taken,
        first + at as u64,
        end,
        rest,
    ))
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
