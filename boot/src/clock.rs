//! The firmware's wall clock (UEFI 2.10, section 8.3, "GetTime").

use plan::bundle::WallClock;
use spec::Ticks;
use uefi::runtime::{self, Time};

/// Reads the wall clock; seconds are zero if the firmware has none that makes sense.
pub fn read(now: impl Fn() -> Ticks) -> WallClock {
    let time = runtime::get_time();
    WallClock {
        at: now(),
        unix_seconds: time.ok().and_then(|t| unix_seconds(&t)).unwrap_or(0),
    }
}

/// Seconds since 1970-01-01T00:00:00Z; `None` for an invalid or an earlier time.
///
/// A clock without a time zone is taken for UTC, as servers keep it.
fn unix_seconds(t: &Time) -> Option<u64> {
    t.is_valid().ok()?;
    // Days by the civil calendar, in years that begin in March so that the leap day comes last.
    let month = i64::from(t.month());
    let year = i64::from(t.year()) - i64::from(month <= 2);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + i64::from(t.day()) - 1;
    let days = 365 * year + year / 4 - year / 100 + year / 400 + day_of_year - 719_468;
    let of_day = i64::from(t.hour()) * 3600 + i64::from(t.minute()) * 60 + i64::from(t.second());
    // Local time = UTC - zone, in minutes.
    let zone = i64::from(t.time_zone().unwrap_or(0)) * 60;
    u64::try_from(days * 86_400 + of_day + zone).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uefi::runtime::{Daylight, TimeParams};

    fn at(year: u16, month: u8, day: u8, hour: u8, zone: Option<i16>) -> Option<u64> {
        let time = Time::new(TimeParams {
            year,
            month,
            day,
            hour,
            minute: 34,
            second: 56,
            nanosecond: 0,
            time_zone: zone,
            daylight: Daylight::empty(),
        });
        time.ok().and_then(|t| unix_seconds(&t))
    }

    // Expected values are those of `date -u -d … +%s`.
    #[test]
    fn dates_are_those_of_the_civil_calendar() {
        assert_eq!(at(1970, 1, 1, 0, None), Some(2_096));
        assert_eq!(at(2000, 2, 29, 12, None), Some(951_827_696));
        assert_eq!(at(2000, 3, 1, 12, None), Some(951_914_096));
        assert_eq!(at(2026, 11, 21, 2, None), Some(1_795_228_496));
        assert_eq!(at(2100, 3, 1, 0, None), Some(4_107_544_496));
    }

    #[test]
    fn the_zone_is_what_is_missing_to_utc() {
        // New York in winter: 300 minutes.
        assert_eq!(at(2026, 11, 20, 21, Some(300)), at(2026, 11, 21, 2, None));
        assert_eq!(at(2026, 11, 21, 3, Some(-60)), at(2026, 11, 21, 2, None));
    }

    #[test]
    fn no_clock_and_times_before_1970_are_none() {
        assert_eq!(unix_seconds(&Time::invalid()), None);
        assert_eq!(at(1969, 12, 31, 23, None), None);
    }
}
