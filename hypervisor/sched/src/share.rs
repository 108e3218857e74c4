//! What a vCPU may have of a core.

use spec::Ticks;

/// A vCPU of one scheduler: an index below its capacity, chosen by the caller.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
#[repr(transparent)]
pub struct Id(pub u16);

/// A part of the left-over time, relative to the weights of the others that want it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Weight(u32);

impl Weight {
    /// The smallest.
    pub const MIN: Self = Self(1);
    /// The largest.
    pub const MAX: Self = Self(10_000);

    /// `None` outside 1..=10000.
    #[must_use]
    pub const fn new(weight: u32) -> Option<Self> {
        if Self::MIN.0 <= weight && weight <= Self::MAX.0 {
            Some(Self(weight))
        } else {
            None
        }
    }

    /// The number.
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl Default for Weight {
    fn default() -> Self {
        Self(100)
    }
}

/// So much time in each period, and without a weight beside it no more.
///
/// A budget of zero counts as one tick, one above the period as the period, a period of zero as one tick.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Reservation {
    /// Time to run in each period
    pub budget: Ticks,
    /// Counted from a release: a wake-up, or the end of the period before
    pub period: Ticks,
}

/// What a vCPU may have of its core. Neither: its windows in the core's table, and nothing else.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub struct Share {
    /// A part of the left-over time
    pub weight: Option<Weight>,
    /// A guarantee that is also a limit, but for left-over time if there is a weight
    pub reservation: Option<Reservation>,
}
