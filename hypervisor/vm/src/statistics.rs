//! What a vCPU's exits were and what they cost: counted without locks, printed never on the way.
//!
//! The core that runs the vCPU is the only one that counts, so that loads and stores are enough; any other may read at any time.
//! Without the feature `statistics` nothing is counted, and nothing is left of it on the way of an exit.

#[cfg(feature = "statistics")]
use crate::exit_kind::KINDS;
use crate::{Kind, Row, Snapshot};
use core::array;
use core::sync::atomic::{AtomicU64, Ordering};
use spec::Ticks;

/// Buckets of a histogram: see [`bucket`].
pub const BUCKETS: usize = 32;

/// The bucket of a duration: 0 for none, and `n` for one from `2^(n-1)` up to but not including `2^n`. The last takes all that is
/// longer.
#[inline]
#[must_use]
pub const fn bucket(ticks: Ticks) -> usize {
    let bits = u64::BITS.saturating_sub(ticks.0.leading_zeros()) as usize;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

/// Counters of one vCPU.
#[derive(Debug, Default)]
pub struct Statistics {
    #[cfg(feature = "statistics")]
    counters: [Counters; KINDS],
    /// When the last exit was, or the vCPU began; zero before that
    #[cfg(feature = "statistics")]
    last: AtomicU64,
}

/// Counters of one kind of exit, on cache lines of their own.
#[derive(Debug, Default)]
#[repr(align(64))]
struct Counters {
    sum: AtomicU64,
    worst: AtomicU64,
    /// Their sum is the number of exits.
    histogram: [AtomicU64; BUCKETS],
}

impl Counters {
    /// There is one writer, so nothing can come between load and store. Sixty-four bits of ticks last for centuries.
    #[inline]
    fn record(&self, ticks: Ticks) {
        let add = |counter: &AtomicU64, n| {
            let old = counter.load(Ordering::Relaxed);
            counter.store(old.wrapping_add(n), Ordering::Relaxed);
        };
        add(&self.sum, ticks.0);
        if ticks.0 > self.worst.load(Ordering::Relaxed) {
            self.worst.store(ticks.0, Ordering::Relaxed);
        }
        if let Some(counter) = self.histogram.get(bucket(ticks)) {
            add(counter, 1);
        }
    }

    fn row(&self, kind: Kind) -> Row {
        Row {
            kind,
            sum: Ticks(self.sum.load(Ordering::Relaxed)),
            worst: Ticks(self.worst.load(Ordering::Relaxed)),
            histogram: array::from_fn(|i| {
                self.histogram
                    .get(i)
                    .map_or(0, |c| c.load(Ordering::Relaxed))
            }),
        }
    }

    fn clear(&self) {
        for counter in [&self.sum, &self.worst].into_iter().chain(&self.histogram) {
            counter.store(0, Ordering::Relaxed);
        }
    }
}

impl Statistics {
    /// Counts an exit of this kind that kept the vCPU's core in root operation from one time to another. Only the vCPU's core calls this.
    #[inline]
    pub fn record(&self, kind: Kind, from: Ticks, to: Ticks) {
        self.begin(from);
        if let Some(counters) = self.counters().get(kind as usize) {
            counters.record(to.since(from));
        }
    }

    /// The vCPU begins to run from the beginning. Only its core calls this.
    #[inline]
    pub fn begin(&self, now: Ticks) {
        #[cfg(feature = "statistics")]
        self.last.store(now.0, Ordering::Relaxed);
        #[cfg(not(feature = "statistics"))]
        let _ = now;
    }

    /// How long ago the last exit was, or the vCPU began if it has made none.
    #[must_use]
    pub fn since_exit(&self, now: Ticks) -> Ticks {
        #[cfg(feature = "statistics")]
        let last = self.last.load(Ordering::Relaxed);
        #[cfg(not(feature = "statistics"))]
        let last = 0;
        match last {
            0 => Ticks(0),
            last => now.since(Ticks(last)),
        }
    }

    /// What has been counted. Exits that come meanwhile may be seen in part.
    #[must_use]
    pub fn snapshot(&self) -> Snapshot {
        Snapshot::new(
            Kind::ALL
                .into_iter()
                .zip(self.counters())
                .map(|(kind, counters)| counters.row(kind)),
            cfg!(feature = "statistics"),
        )
    }

    /// Sets all to zero. To be called by the vCPU's core, or while the vCPU is at rest.
    pub fn clear(&self) {
        self.begin(Ticks(0));
        for counters in self.counters() {
            counters.clear();
        }
    }

    #[cfg(feature = "statistics")]
    #[inline]
    fn counters(&self) -> &[Counters] {
        &self.counters
    }

    #[cfg(not(feature = "statistics"))]
    #[inline]
    fn counters(&self) -> &[Counters] {
        &[]
    }
}
