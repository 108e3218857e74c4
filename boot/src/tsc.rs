//! The frequency of the TSC, measured against the firmware's Stall.

use core::time::Duration;
use spec::{Hz, Ticks};

/// What CPUID says may differ from what was measured by one part in this many.
const TOLERANCE: u64 = 1000;
/// The two stalls of a measurement: their difference is free of what a call costs.
const SHORT: Duration = Duration::from_millis(10);
const LONG: Duration = Duration::from_millis(40);
/// Measurements; an odd number, of which the median counts, since firmware may interrupt some.
const ROUNDS: usize = 5;

/// The frequency by both ways.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Frequency {
    /// By the firmware's Stall
    pub measured: Hz,
    /// By CPUID leaf 0x15, where it gives all three numbers
    pub cpuid: Option<Hz>,
}

impl Frequency {
    /// Measures.
    ///
    /// `now` reads the TSC, `stall` waits.
    pub fn measure(
        cpuid: Option<Hz>,
        mut now: impl FnMut() -> Ticks,
        mut stall: impl FnMut(Duration),
    ) -> Self {
        let mut lasted = |d| {
            let start = now();
            stall(d);
            now().since(start)
        };
        let mut rounds = [0; ROUNDS].map(|_: u64| lasted(LONG).since(lasted(SHORT)).0);
        rounds.sort_unstable();
        let per_millisecond = (LONG - SHORT).as_millis() as u64;
        Self {
            measured: Hz(rounds[ROUNDS / 2].saturating_mul(1000) / per_millisecond),
            cpuid,
        }
    }

    /// Whether CPUID and the firmware agree. Emulators' often do not: they tell the frequency of the chip that
    /// they imitate.
    #[must_use]
    pub fn agree(&self) -> bool {
        self.cpuid
            .is_some_and(|c| c.0.abs_diff(self.measured.0) <= self.measured.0 / TOLERANCE)
    }

    /// The frequency to believe: CPUID's, which is exact, where it agrees with what was measured.
    #[must_use]
    pub fn believed(&self) -> Hz {
        self.cpuid.filter(|_| self.agree()).unwrap_or(self.measured)
    }
}

/// The frequency that CPUID leaf 0x15 gives (SDM vol. 2, "CPUID", "Time Stamp Counter and Nominal Core Crystal
/// Clock"): crystal × numerator / denominator, if all three are there.
#[must_use]
pub fn nominal(denominator: u32, numerator: u32, crystal: u32) -> Option<Hz> {
    if denominator == 0 || numerator == 0 || crystal == 0 {
        return None;
    }
    Some(Hz(
        u64::from(crystal) * u64::from(numerator) / u64::from(denominator)
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use core::cell::Cell;

    /// A TSC of `hz`, a Stall that takes `extra` ticks too long, and now and then ten times that.
    fn measure(hz: u64, extra: u64, cpuid: Option<Hz>) -> Frequency {
        let tsc = Cell::new(1 << 40);
        let calls = Cell::new(0);
        Frequency::measure(
            cpuid,
            || Ticks(tsc.get()),
            |d| {
                calls.set(calls.get() + 1);
                let extra = if calls.get() % 5 == 0 {
                    extra * 10
                } else {
                    extra
                };
                tsc.set(tsc.get() + hz * d.as_millis() as u64 / 1000 + extra);
            },
        )
    }

    #[test]
    fn the_cost_of_the_call_and_interruptions_drop_out() {
        assert_eq!(
            measure(2_600_000_000, 31_000, None).believed(),
            Hz(2_600_000_000)
        );
        assert_eq!(measure(50_000_000, 290, None).believed(), Hz(50_000_000));
    }

    #[test]
    fn cpuid_counts_only_where_it_agrees() {
        let near = measure(2_600_000_000, 0, Some(Hz(2_600_130_000)));
        assert!(near.agree());
        assert_eq!(near.believed(), Hz(2_600_130_000));
        let far = measure(50_000_000, 0, Some(Hz(2_600_000_000)));
        assert!(!far.agree());
        assert_eq!(far.believed(), Hz(50_000_000));
    }

    #[test]
    fn leaf_15_needs_all_three_numbers() {
        assert_eq!(nominal(1, 104, 25_000_000), Some(Hz(2_600_000_000)));
        assert_eq!(nominal(0, 104, 25_000_000), None);
        assert_eq!(nominal(1, 0, 25_000_000), None);
        assert_eq!(nominal(1, 104, 0), None);
        assert_eq!(
            nominal(1, u32::MAX, u32::MAX),
            Some(Hz(u64::from(u32::MAX) * u64::from(u32::MAX)))
        );
    }
}
