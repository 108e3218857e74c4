//! Time is the TSC.

use serde::{Deserialize, Serialize};

/// A reading of, or a distance on, the host's time-stamp counter.
#[derive(
    Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Default, Serialize, Deserialize,
)]
#[repr(transparent)]
pub struct Ticks(pub u64);

impl Ticks {
    /// Later by `d`, at most the largest reading.
    #[inline]
    #[must_use]
    pub const fn after(self, d: Ticks) -> Ticks {
        Ticks(self.0.saturating_add(d.0))
    }

    /// The distance from `earlier`, zero if that lies later.
    #[inline]
    #[must_use]
    pub const fn since(self, earlier: Ticks) -> Ticks {
        Ticks(self.0.saturating_sub(earlier.0))
    }
}

/// A frequency in hertz.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
#[repr(transparent)]
pub struct Hz(pub u64);

impl Hz {
    /// Nanoseconds that `t` lasts at this frequency; at most `u64::MAX`, and zero for a frequency of zero.
    #[must_use]
    pub fn nanos(self, t: Ticks) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        u64::try_from(u128::from(t.0) * 1_000_000_000 / u128::from(self.0)).unwrap_or(u64::MAX)
    }

    /// Ticks of this frequency in `nanos` nanoseconds; at most `u64::MAX`.
    #[must_use]
    pub fn ticks(self, nanos: u64) -> Ticks {
        Ticks(
            u64::try_from(u128::from(nanos) * u128::from(self.0) / 1_000_000_000)
                .unwrap_or(u64::MAX),
        )
    }
}
