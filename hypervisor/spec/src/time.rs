//! Time is the TSC.

use core::fmt;
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
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "128 bits hold the product, and the divisor is not zero"
    )]
    pub fn nanos(self, t: Ticks) -> u64 {
        if self.0 == 0 {
            return 0;
        }
        u64::try_from(u128::from(t.0) * 1_000_000_000 / u128::from(self.0)).unwrap_or(u64::MAX)
    }

    /// Ticks of this frequency in `nanos` nanoseconds; at most `u64::MAX`.
    #[must_use]
    #[expect(clippy::arithmetic_side_effects, reason = "128 bits hold the product")]
    pub fn ticks(self, nanos: u64) -> Ticks {
        Ticks(
            u64::try_from(u128::from(nanos) * u128::from(self.0) / 1_000_000_000)
                .unwrap_or(u64::MAX),
        )
    }
}

/// A length of time, in nanoseconds, as people write it and as it is shown.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct Nanos(pub u64);

impl Nanos {
    /// The units, the largest first, with their nanoseconds.
    pub const UNITS: [(&str, u64); 4] = [
        ("s", 1_000_000_000),
        ("ms", 1_000_000),
        ("us", 1_000),
        ("ns", 1),
    ];

    /// A whole number and its unit, such as `200us` or `30 s`.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let digits = text.find(|c: char| !c.is_ascii_digit())?;
        let (count, unit) = text.split_at(digits);
        let unit = unit.strip_prefix(' ').unwrap_or(unit);
        let (_, nanos) = Self::UNITS.iter().find(|(name, _)| *name == unit)?;
        count.parse::<u64>().ok()?.checked_mul(*nanos).map(Self)
    }
}

/// In the largest unit that leaves no fraction: `200 us`, or `200us` with `{:#}`.
impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |size: &u64| self.0 >= *size && self.0.is_multiple_of(*size);
        let unit = Self::UNITS.iter().find(|(_, size)| fits(size));
        let (unit, size) = unit.unwrap_or(&("ms", 1));
        let space = if f.alternate() { "" } else { " " };
        write!(f, "{}{space}{unit}", self.0.checked_div(*size).unwrap_or(0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_and_its_unit() {
        let nanos = |text| Nanos::parse(text).map(|nanos| nanos.0);
        assert_eq!(nanos("1ns"), Some(1));
        assert_eq!(nanos("200us"), Some(200_000));
        assert_eq!(nanos("20 ms"), Some(20_000_000));
        assert_eq!(nanos("30 s"), Some(30_000_000_000));
        for wrong in [
            "",
            "1",
            "s",
            "-1s",
            "+1s",
            "1.5s",
            "1  s",
            " 1s",
            "1s ",
            "1S",
            "1m",
            "20000000000s",
            "99999999999999999999ns",
        ] {
            assert_eq!(nanos(wrong), None, "{wrong}");
        }
    }
}
