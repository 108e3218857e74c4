//! The promise of a vCPU to make no exit once it has booted, and its breaches.
//!
//! As with the statistics, the core that runs the vCPU is the only one that writes; any other may read at any time.

use crate::Kind;
use crate::exit_kind::KINDS;
use core::array;
use core::fmt;
use core::sync::atomic::{AtomicU64, Ordering};
use spec::Ticks;

/// Set in the time of a breach. Sixty-three bits of ticks last for decades. It tells a breach, to which a reader's time-stamp counter may
/// be behind, from an end of boot that is yet to come.
const BROKEN: u64 = 1 << 63;

/// The promise of one vCPU.
#[derive(Debug, Default)]
pub struct Promise {
    /// When boot is over, or with [`BROKEN`] the last breach was; zero if the vCPU has not begun
    holds_since: AtomicU64,
    /// By kind
    breaches: [AtomicU64; KINDS],
    /// When a breach was reported last
    reported: AtomicU64,
    /// Breaches since then
    unreported: AtomicU64,
}

/// A breach that the log is to tell.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Report {
    /// What the exit was for
    pub kind: Kind,
    /// Whether it is the first of its kind
    pub is_first: bool,
    /// Breaches of any kind since the last report, this one included
    pub breaches: u64,
}

/// As the fields of a line of the log.
impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "exit={} breaches={}", self.kind.name(), self.breaches)
    }
}

/// How a promise stood at one moment.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Standing {
    /// For how long it has been kept: since the end of boot or the last breach; `None` while the vCPU boots
    pub holds_for: Option<Ticks>,
    breaches: [u64; KINDS],
}

impl Standing {
    /// The kinds of breaches that there were, in the order of [`Kind::ALL`], and how many of each.
    pub fn breaches(&self) -> impl Iterator<Item = (Kind, u64)> {
        let all = Kind::ALL.into_iter().zip(self.breaches);
        all.filter(|(_, count)| *count != 0)
    }
}

impl Promise {
    /// Whether the vCPU has begun since [`Promise::clear`].
    #[must_use]
    pub fn has_begun(&self) -> bool {
        self.holds_since.load(Ordering::Relaxed) != 0
    }

    /// The vCPU begins at `now`, and boots for as long as `boot` says. To be called by its core when it first starts to run, with its VM
    /// or at a start-up; not at those that a guest gives it later, or breaches would be forgotten.
    pub fn restart(&self, now: Ticks, boot: Ticks) {
        self.clear();
        // Zero is for who has not begun.
        let end = now.after(boot).0.clamp(1, BROKEN - 1);
        self.holds_since.store(end, Ordering::Relaxed);
    }

    /// Forgets all: the vCPU has not begun. To be called by its core, or while it is at rest.
    pub fn clear(&self) {
        let times = [&self.holds_since, &self.reported, &self.unreported];
        for counter in times.into_iter().chain(&self.breaches) {
            counter.store(0, Ordering::Relaxed);
        }
    }

    /// Takes an exit of this kind at `now` into account. After the boot it is a breach, which is to be reported if it is the first of its
    /// kind, or if for a `second` none was. Only the vCPU's core calls this.
    #[must_use]
    pub fn exit(&self, kind: Kind, now: Ticks, second: Ticks) -> Option<Report> {
        self.holds_for(now)?;
        self.holds_since.store(now.0 | BROKEN, Ordering::Relaxed);
        let is_first = self
            .breaches
            .get(kind as usize)
            .is_some_and(|counter| add(counter) == 1);
        let breaches = add(&self.unreported);
        let reported = self.reported.load(Ordering::Relaxed);
        if !is_first && now.0.saturating_sub(reported) < second.0 {
            return None;
        }
        self.reported.store(now.0, Ordering::Relaxed);
        self.unreported.store(0, Ordering::Relaxed);
        Some(Report {
            kind,
            is_first,
            breaches,
        })
    }

    /// How it stands at `now`. Exits that come meanwhile may be seen in part.
    #[must_use]
    pub fn snapshot(&self, now: Ticks) -> Standing {
        Standing {
            holds_for: self.holds_for(now),
            breaches: array::from_fn(|i| {
                self.breaches
                    .get(i)
                    .map_or(0, |counter| counter.load(Ordering::Relaxed))
            }),
        }
    }

    /// For how long it has been kept since the end of boot or the last breach.
    fn holds_for(&self, now: Ticks) -> Option<Ticks> {
        match self.holds_since.load(Ordering::Relaxed) {
            0 => None,
            breach @ BROKEN.. => Some(now.since(Ticks(breach & !BROKEN))),
            end => now.0.checked_sub(end).map(Ticks),
        }
    }
}

/// Counts one, and gives the sum. There is one writer, so nothing can come between load and store.
fn add(counter: &AtomicU64) -> u64 {
    let sum = counter.load(Ordering::Relaxed).wrapping_add(1);
    counter.store(sum, Ordering::Relaxed);
    sum
}
