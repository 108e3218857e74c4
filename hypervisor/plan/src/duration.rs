//! Durations, as people write them and as they are shown.

use crate::refusal::{Finding, Findings, Refused};
use crate::table::wrong_type;
use crate::units::Wrong;
use alloc::format;
use alloc::string::String;
use core::ops::RangeInclusive;
use spec::Nanos;
use toml::Spanned;
use toml::de::DeValue;

/// What people write for each of them, in small letters.
const SPELLINGS: [(&str, &[&str]); 4] = [
    ("s", &["sec", "secs", "second", "seconds"]),
    ("ms", &["msec", "msecs", "millisecond", "milliseconds"]),
    (
        "us",
        &[
            "\u{b5}s",
            "\u{3bc}s",
            "usec",
            "usecs",
            "microsecond",
            "microseconds",
        ],
    ),
    ("ns", &["nsec", "nsecs", "nanosecond", "nanoseconds"]),
];

/// Nanoseconds in a duration such as `300 us`.
fn duration(text: &str) -> Result<u64, Wrong> {
    if let Some(nanos) = Nanos::parse(text) {
        return Ok(nanos.0);
    }
    let unit = text.trim_start_matches(|c: char| c.is_ascii_digit());
    let is_right = |name: &str| unit.strip_prefix(' ').unwrap_or(unit) == name;
    if !Nanos::UNITS.iter().any(|(name, _)| is_right(name)) {
        return Err(guess(text));
    }
    let what = match text.len() == unit.len() {
        true => "there is no number before the unit",
        false => "this is longer than any machine runs",
    };
    Err(Wrong { what, mend: None })
}

/// What someone meant who wrote `text` and not a duration.
fn guess(text: &str) -> Wrong {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let unit = unit.trim().to_lowercase();
    let known =
        |(name, others): &&(&str, &[&str])| *name == unit || others.contains(&unit.as_str());
    let size = SPELLINGS
        .iter()
        .find(known)
        .and_then(|(name, _)| Nanos::UNITS.iter().find(|(unit, _)| unit == name));
    let mend = match (size, number.split_once('.')) {
        (Some((name, _)), None) => number.parse::<u64>().ok().map(|n| format!("{n} {name}")),
        (Some((_, size)), Some((whole, fraction))) => {
            decimal(whole, fraction, *size).map(|nanos| format!("{}", Nanos(nanos)))
        }
        _ => None,
    };
    let what = match unit.as_str() {
        _ if number.is_empty() => "this is not a duration",
        "" => "the unit is missing",
        _ if number.contains('.') => "the number must be whole",
        _ => "the unit is not one of ns, us, ms and s",
    };
    Wrong { what, mend }
}

/// `whole.fraction` times `size`, if that is a whole number.
fn decimal(whole: &str, fraction: &str, size: u64) -> Option<u64> {
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(size)?;
    let whole = whole.parse::<u64>().ok()?.checked_mul(size)?;
    part.is_multiple_of(scale).then_some(())?;
    whole.checked_add(part.checked_div(scale)?)
}

/// The duration that a value is, within `range`; `example` is a line that would be right.
pub(crate) fn read(
    value: &Spanned<DeValue<'_>>,
    key: &str,
    range: RangeInclusive<u64>,
    example: &str,
    findings: &mut Findings,
) -> Result<Spanned<u64>, Refused> {
    let wrong = match value.get_ref() {
        DeValue::String(text) => match duration(text) {
            Ok(nanos) if range.contains(&nanos) => return Ok(Spanned::new(value.span(), nanos)),
            Ok(nanos) => Wrong {
                what: match nanos {
                    0 => "this is no time at all",
                    _ if nanos < *range.start() => "this is too short",
                    _ => "this is too long",
                },
                mend: None,
            },
            Err(wrong) => wrong,
        },
        DeValue::Integer(_) => Wrong {
            what: "the unit is missing",
            mend: None,
        },
        _ => return Err(wrong_type(value, key, "a duration", example, findings)),
    };
    // Mends are guesses from the text: only one that would be taken is worth showing.
    let right = |mend: &String| duration(mend).is_ok_and(|nanos| range.contains(&nanos));
    let finding = Finding::new(format!("invalid `{key}`"), value.span()).label(wrong.what);
    Err(findings.add(match wrong.mend.filter(right) {
        Some(mend) => finding.mend(format!("write `{key} = \"{mend}\"`")),
        None => finding.mend(format!(
            "use a whole number of ns, us, ms or s, from {} to {}, such as `{example}`",
            Nanos(*range.start()),
            Nanos(*range.end())
        )),
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::string::ToString;

    fn mend(text: &str) -> Option<String> {
        duration(text).expect_err("not a duration").mend
    }

    #[test]
    fn durations_have_a_whole_number_and_a_unit() {
        let read = |text| duration(text).ok();
        assert_eq!(read("500 ns"), Some(500));
        assert_eq!(read("200us"), Some(200_000));
        assert_eq!(read("1 ms"), Some(1_000_000));
        assert_eq!(read("0 ms"), Some(0));
        assert_eq!(read("18446744073 s"), Some(18_446_744_073_000_000_000));
        for wrong in [
            "18446744074 s",
            "ms",
            " 1 ms",
            "1  ms",
            "1 ms ",
            "+1 ms",
            "-1 ms",
            "1.5 ms",
            "1 min",
            "1 MS",
            "1",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mend_is_what_was_likely_meant() {
        assert_eq!(mend("1.5 ms").as_deref(), Some("1500 us"));
        assert_eq!(mend("0.25 s").as_deref(), Some("250 ms"));
        assert_eq!(mend("10 \u{b5}s").as_deref(), Some("10 us"));
        assert_eq!(mend(" 10  MS").as_deref(), Some("10 ms"));
        assert_eq!(mend("2 seconds").as_deref(), Some("2 s"));
        assert_eq!(mend("0.3 ns"), None);
        assert_eq!(mend("1 min"), None);
        assert_eq!(mend("300"), None);
        assert_eq!(mend("99999999999999999999 usec"), None);
    }

    #[test]
    fn durations_are_shown_without_a_fraction() {
        assert_eq!(Nanos(0).to_string(), "0 ms");
        assert_eq!(Nanos(1).to_string(), "1 ns");
        assert_eq!(Nanos(1_500_000).to_string(), "1500 us");
        assert_eq!(Nanos(60_000_000_000).to_string(), "60 s");
    }
}
