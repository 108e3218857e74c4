//! Numbers as people read them.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "128 bits hold the product, and no divisor is zero"
)]

use alloc::format;
use alloc::string::String;
use spec::{Hz, Nanos, Ticks};

/// Seconds with milliseconds below a minute, then hours, minutes, seconds.
pub(super) fn duration(tsc: Hz, ticks: Ticks) -> String {
    let millis = tsc.nanos(ticks) / 1_000_000;
    let seconds = millis / 1000;
    let (days, hours, minutes) = (seconds / 86_400, seconds / 3600 % 24, seconds / 60 % 60);
    match seconds {
        0..60 => format!("{seconds}.{:03}s", millis % 1000),
        60..86_400 => format!("{hours}:{minutes:02}:{:02}", seconds % 60),
        _ => format!("{days}d {hours:02}:{minutes:02}:{:02}", seconds % 60),
    }
}

/// A short time, in the unit that shows it best, with a decimal.
pub(super) fn span(tsc: Hz, ticks: Ticks) -> String {
    let nanos = tsc.nanos(ticks);
    let (unit, name) = match nanos {
        0..1_000_000 => (1_000, "us"),
        1_000_000..1_000_000_000 => (1_000_000, "ms"),
        _ => (1_000_000_000, "s"),
    };
    let tenths = nanos / (unit / 10);
    format!("{}.{}{name}", tenths / 10, tenths % 10)
}

/// Nanoseconds in the largest unit that needs no fraction, as a plan has them.
pub(super) fn nanos(nanos: u64) -> String {
    match nanos {
        0 => "0ns".into(),
        _ => format!("{:#}", Nanos(nanos)),
    }
}

/// Bytes in the largest unit that needs no fraction.
pub(super) fn memory(bytes: u64) -> String {
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    units
        .into_iter()
        .find(|(unit, _)| bytes >= *unit && bytes.is_multiple_of(*unit))
        .map_or_else(
            || format!("{bytes} B"),
            |(unit, name)| format!("{} {name}", bytes / unit),
        )
}

/// A part of a whole in per cent, with a decimal.
pub(super) fn share(part: Ticks, whole: u128) -> String {
    let tenths = u128::from(part.0) * 1000 / whole.max(1);
    format!("{}.{}%", tenths / 10, tenths % 10)
}

/// Numbers with runs drawn together: `0-2,5`.
pub(super) fn ranges(numbers: &[u32]) -> String {
    let mut text = String::new();
    let mut rest = numbers;
    while let Some((first, more)) = rest.split_first() {
        let run = more
            .iter()
            .zip(1..)
            .take_while(|(n, i)| first.checked_add(*i) == Some(**n))
            .count();
        if !text.is_empty() {
            text.push(',');
        }
        let (run_on, after) = more.split_at_checked(run).unwrap_or_default();
        match run_on.last() {
            Some(last) if run > 1 => text.push_str(&format!("{first}-{last}")),
            Some(last) => text.push_str(&format!("{first},{last}")),
            None => text.push_str(&format!("{first}")),
        }
        rest = after;
    }
    text
}

/// A text without what a terminal would act on.
pub(super) fn printable(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).collect()
}

/// A word without what a terminal would act on, and no longer than any of ours.
pub(super) fn word(text: &str) -> String {
    printable(text).chars().take(32).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_clocks_do() {
        let duration = |ms: u64| duration(Hz(2_000_000_000), Ticks(ms * 2_000_000));
        assert_eq!(duration(0), "0.000s");
        assert_eq!(duration(59_999), "59.999s");
        assert_eq!(duration(60_000), "0:01:00");
        assert_eq!(duration(3_725_000), "1:02:05");
        assert_eq!(duration(93_784_000), "1d 02:03:04");
        assert_eq!(super::duration(Hz(0), Ticks(u64::MAX)), "0.000s");
    }

    #[test]
    fn short_times_are_shown_in_their_unit() {
        let span = |nanos| span(Hz(1_000_000_000), Ticks(nanos));
        assert_eq!(span(0), "0.0us");
        assert_eq!(span(999_999), "999.9us");
        assert_eq!(span(1_000_000), "1.0ms");
        assert_eq!(span(12_345_678_901), "12.3s");
        assert_eq!(super::span(Hz(0), Ticks(u64::MAX)), "0.0us");
        assert_eq!(super::span(Hz(1), Ticks(u64::MAX)), "18446744073.7s");
        assert_eq!(nanos(200_000), "200us");
        assert_eq!(nanos(1_500_000), "1500us");
        assert_eq!(nanos(2_000_000_000), "2s");
        assert_eq!(nanos(0), "0ns");
        assert_eq!(nanos(u64::MAX), "18446744073709551615ns");
    }

    #[test]
    fn memory_is_exact() {
        assert_eq!(memory(256 << 20), "256 MiB");
        assert_eq!(memory(1 << 30), "1 GiB");
        assert_eq!(memory((1 << 30) + (512 << 20)), "1536 MiB");
        assert_eq!(memory(4097), "4097 B");
    }

    #[test]
    fn runs_are_drawn_together() {
        assert_eq!(ranges(&[]), "");
        assert_eq!(ranges(&[3]), "3");
        assert_eq!(ranges(&[1, 2]), "1,2");
        assert_eq!(ranges(&[0, 1, 2, 5, 7, 8]), "0-2,5,7,8");
        assert_eq!(ranges(&[2, 1, u32::MAX, 0]), "2,1,4294967295,0");
    }

    #[test]
    fn a_share_of_nothing_is_no_fault() {
        assert_eq!(share(Ticks(1), 3), "33.3%");
        assert_eq!(share(Ticks(0), 0), "0.0%");
        assert_eq!(share(Ticks(u64::MAX), u128::MAX), "0.0%");
    }
}
