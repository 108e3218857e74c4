//! Lengths of time as people write them.

/// Units of time, in nanoseconds.
const UNITS: [(&str, u64); 4] = [
    ("ns", 1),
    ("us", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
];

/// Nanoseconds in a whole number and its unit, such as `200us` or `30 s`: the syntax of the plan.
#[must_use]
pub fn nanos(text: &str) -> Option<u64> {
    let digits = text.find(|c: char| !c.is_ascii_digit())?;
    let (count, unit) = text.split_at(digits);
    let unit = unit.strip_prefix(' ').unwrap_or(unit);
    let (_, nanos) = UNITS.iter().find(|(name, _)| *name == unit)?;
    count.parse::<u64>().ok()?.checked_mul(*nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_number_and_its_unit() {
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
