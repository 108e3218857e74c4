//! Whether a core's reservations fit: the sum of their shares, with what their switches cost, is at most one.
//!
//! Under EDF that is enough, and needed. The sum is exact as long as a common denominator of its fractions fits 128
//! bits; one that does not is rounded up, by less than 10⁻¹⁸ for each fraction, so that nothing is admitted that does not
//! fit.

use core::fmt;

/// A whole core, in the parts that are shown: thousandths of a percent.
const SHOWN: u128 = 100_000;
/// A whole core, in the parts that are summed where fractions have no common denominator.
const FINE: u128 = 1_000_000_000_000_000_000;

/// One reservation, in any unit of time, the same for all of a sum.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Demand {
    /// Time in each period
    pub budget: u64,
    /// The period
    pub period: u64,
}

/// The demands of one core, and what each costs beside its budget in each of its periods. Written, it shows the sum:
/// `20.000 % + 50.000 % + 2 x 1.600 % overhead = 73.200 %`, and the excess if there is one.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Sum<'a> {
    /// The demands. A budget above its period, or a period of zero, never fits.
    pub demands: &'a [Demand],
    /// Charged to each in each of its periods, in the same unit
    pub overhead: u64,
}

impl Sum<'_> {
    /// Whether they fit.
    #[must_use]
    pub fn fits(&self) -> bool {
        self.demands.iter().all(|it| it.period > 0)
            && self.exact().unwrap_or_else(|| self.fine() <= FINE)
    }

    /// What a demand uses of each of its periods.
    fn use_of(&self, demand: &Demand) -> u128 {
        u128::from(demand.budget) + u128::from(self.overhead)
    }

    /// Whether they fit, by fractions; `None` if these grow too long.
    fn exact(&self) -> Option<bool> {
        let (mut sum, mut unit) = (0_u128, 1_u128);
        for demand in self.demands {
            let (used, period) = (self.use_of(demand), u128::from(demand.period));
            let least = unit.checked_mul(period / gcd(unit, period))?;
            let part = used.checked_mul(least / period)?;
            sum = sum.checked_mul(least / unit)?.checked_add(part)?;
            unit = least;
        }
        Some(sum <= unit)
    }

    /// The sum in parts of [`FINE`], rounded up.
    fn fine(&self) -> u128 {
        let parts = self.demands.iter().map(|demand| {
            let part = self.use_of(demand).saturating_mul(FINE);
            part.div_ceil(u128::from(demand.period).max(1))
        });
        parts.fold(0, u128::saturating_add)
    }

    /// The sum as it is shown: never above the whole if it fits, nor below if it does not.
    fn shown(&self) -> u128 {
        let near = self.fine().saturating_add(FINE / SHOWN / 2) / (FINE / SHOWN);
        if self.fits() {
            near.min(SHOWN)
        } else {
            near.max(SHOWN + 1)
        }
    }

    /// Writes one term for all demands of which the same amount is used.
    fn write(
        &self,
        f: &mut fmt::Formatter<'_>,
        first: bool,
        name: &str,
        used: impl Fn(&Demand) -> u64,
    ) -> fmt::Result {
        let term = |demand: &Demand| {
            let period = u128::from(demand.period).max(1);
            (u128::from(used(demand)) * SHOWN + period / 2) / period
        };
        let mut plus = if first { "" } else { " + " };
        for (index, demand) in self.demands.iter().enumerate() {
            let value = term(demand);
            let (before, rest) = self.demands.split_at(index);
            if before.iter().any(|it| term(it) == value) {
                continue;
            }
            match rest.iter().filter(|it| term(it) == value).count() {
                1 => write!(f, "{plus}{}{name}", Percent(value))?,
                count => write!(f, "{plus}{count} x {}{name}", Percent(value))?,
            }
            plus = " + ";
        }
        Ok(())
    }
}

fn gcd(mut a: u128, mut b: u128) -> u128 {
    while b != 0 {
        (a, b) = (b, a % b);
    }
    a
}

/// Thousandths of a percent.
struct Percent(u128);

impl fmt::Display for Percent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{:03} %", self.0 / 1000, self.0 % 1000)
    }
}

impl fmt::Display for Sum<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.demands.is_empty() {
            return write!(f, "{}", Percent(0));
        }
        self.write(f, true, "", |it| it.budget)?;
        if self.overhead > 0 {
            self.write(f, false, " overhead", |_| self.overhead)?;
        }
        let sum = self.shown();
        write!(f, " = {}", Percent(sum))?;
        if sum > SHOWN {
            let excess = Percent(sum - SHOWN);
            write!(f, ", {excess} more than there is")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::string::ToString;
    use std::vec;
    use std::vec::Vec;

    fn sum(demands: &[(u64, u64)], overhead: u64) -> (bool, std::string::String) {
        let demands: Vec<_> = demands
            .iter()
            .map(|&(budget, period)| Demand { budget, period })
            .collect();
        let sum = Sum {
            demands: &demands,
            overhead,
        };
        (sum.fits(), sum.to_string())
    }

    #[test]
    fn the_sum_is_shown_term_by_term() {
        assert_eq!(
            sum(&[(200, 1000), (500, 1000)], 16),
            (
                true,
                "20.000 % + 50.000 % + 2 x 1.600 % overhead = 73.200 %".into()
            )
        );
        let (fits, text) = sum(&[(2, 10), (20, 100), (500, 1000)], 1);
        assert!(!fits);
        assert_eq!(
            text,
            "2 x 20.000 % + 50.000 % + 10.000 % overhead + 1.000 % overhead + 0.100 % overhead = 101.100 %, \
             1.100 % more than there is"
        );
        assert_eq!(sum(&[], 5), (true, "0.000 %".into()));
    }

    #[test]
    fn a_full_core_fits_and_a_tick_more_does_not() {
        assert!(sum(&[(1, 3), (2, 3)], 0).0);
        assert!(sum(&[(1, 3), (1, 7), (11, 21)], 0).0);
        assert!(!sum(&[(1, 3), (1, 7), (11_000_000_001, 21_000_000_000)], 0).0);
        let barely = sum(&[(1_000_000_000, 1_000_000_000), (1, u64::MAX)], 0);
        assert_eq!(
            barely,
            (
                false,
                "100.000 % + 0.000 % = 100.001 %, 0.001 % more than there is".into()
            )
        );
        assert!(!sum(&[(1, 1)], 1).0);
    }

    #[test]
    fn no_number_is_too_large() {
        for demand in [(u64::MAX, 1), (u64::MAX, u64::MAX), (0, 0), (1, 0)] {
            let demands = vec![demand; 300];
            let (fits, text) = sum(&demands, u64::MAX);
            assert!(!fits && text.contains("more than there is"), "{text}");
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        /// Periods with many large prime factors: the common denominator soon leaves 128 bits.
        #[test]
        fn what_is_admitted_fits(
            demands in proptest::collection::vec((1..1_000_000_u64, 1_000_000..u64::MAX / 4), 1..40),
            overhead in 0..1000_u64,
        ) {
            let fits = sum(&demands, overhead).0;
            let parts = demands.iter().map(|&(budget, period)| (budget + overhead) as f64 / period as f64);
            let near: f64 = parts.sum();
            if (near - 1.0).abs() > 1e-9 {
                prop_assert_eq!(fits, near < 1.0);
            }
        }

        #[test]
        fn halves_of_halves_fill_a_core_exactly(levels in 1..60_u32, more in 0..2_u64) {
            let mut demands: Vec<_> = (1..=levels).map(|level| (1, 1 << level)).collect();
            demands.push((1 + more, 1 << levels));
            prop_assert_eq!(sum(&demands, 0).0, more == 0);
        }
    }
}
