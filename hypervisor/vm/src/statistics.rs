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
    let bits = (u64::BITS - ticks.0.leading_zeros()) as usize;
    if bits < BUCKETS { bits } else { BUCKETS - 1 }
}

/// Counters of one vCPU.
#[derive(Debug, Default)]
pub struct Statistics(#[cfg(feature = "statistics")] [Counters; KINDS]);

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
    /// Counts an exit of this kind that kept the vCPU's core in root operation for so long. Only the vCPU's core calls this.
    #[inline]
    pub fn record(&self, kind: Kind, ticks: Ticks) {
        if let Some(counters) = self.counters().get(kind as usize) {
            counters.record(ticks);
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
        for counters in self.counters() {
            counters.clear();
        }
    }

    #[cfg(feature = "statistics")]
    #[inline]
    fn counters(&self) -> &[Counters] {
        &self.0
    }

    #[cfg(not(feature = "statistics"))]
    #[inline]
    fn counters(&self) -> &[Counters] {
        &[]
    }
}
