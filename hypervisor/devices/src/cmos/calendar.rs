//! Unix time to and from the clock's registers (MC146818A data sheet, "Time, Calendar, and Alarm Locations").

use chrono::{DateTime, Datelike, NaiveDate, Timelike};
use spec::cmos::{PM, RegB, register};

/// The time registers as they read: seconds, minutes, hours, weekday, day, month, year, century.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Fields(pub(super) [u8; 8]);

/// 0000-01-01 00:00:00 and 9999-12-31 23:59:59: what two digits of century hold.
const FIRST: i64 = -62_167_219_200;
const LAST: i64 = 253_402_300_799;

/// The nearest time that the registers can show.
pub(super) fn clamp(unix: i64) -> i64 {
    unix.clamp(FIRST, LAST)
}

impl Fields {
    /// Where in the array the register `index` is; `None` if it is not a time register.
    pub(super) const fn position(index: u8) -> Option<usize> {
        Some(match index {
            register::SECONDS => 0,
            register::MINUTES => 1,
            register::HOURS => 2,
            register::WEEKDAY => 3,
            register::DAY => 4,
            register::MONTH => 5,
            register::YEAR => 6,
            register::CENTURY => 7,
            _ => return None,
        })
    }

    /// The registers at a Unix time, in the format that `mode` asks for.
    pub(super) fn encode(unix: i64, mode: RegB) -> Fields {
        let time = DateTime::from_timestamp(clamp(unix), 0).unwrap_or(DateTime::UNIX_EPOCH);
        let year = time.year().unsigned_abs();
        let digits = |value: u32| digits(value, mode);
        let hours = if mode.contains(RegB::HOURS_24) {
            digits(time.hour())
        } else {
            let (afternoon, hour) = time.hour12();
            digits(hour) | if afternoon { PM } else { 0 }
        };
        Fields([
            digits(time.second()),
            digits(time.minute()),
            hours,
            digits(time.weekday().number_from_sunday()),
            digits(time.day()),
            digits(time.month()),
            digits(year % 100),
            digits(year / 100),
        ])
    }

    /// The Unix time that the registers show in the format of `mode`, whatever weekday they claim; `None` if they
    /// show no time.
    #[expect(clippy::arithmetic_side_effects, reason = "numbers below 100")]
    pub(super) fn decode(self, mode: RegB) -> Option<i64> {
        let [second, minute, hour, _, day, month, year, century] = self.0;
        let number = |digits: u8| number(digits, mode);
        let hour = if mode.contains(RegB::HOURS_24) {
            number(hour)?
        } else {
            let twelve = number(hour & !PM).filter(|h| (1..=12).contains(h))?;
            twelve % 12 + if hour & PM != 0 { 12 } else { 0 }
        };
        let year = i32::try_from(100 * number(century)? + number(year)?).ok()?;
        let date = NaiveDate::from_ymd_opt(year, number(month)?, number(day)?)?;
        let time = date.and_hms_opt(hour, number(minute)?, number(second)?)?;
        Some(time.and_utc().timestamp())
    }
}

/// A number below 100 as a register shows it.
const fn digits(value: u32, mode: RegB) -> u8 {
    let value = (value % 100) as u8;
    if mode.contains(RegB::BINARY) {
        value
    } else {
        ((value / 10) << 4) | (value % 10)
    }
}

/// The number below 100 that a register shows.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "two digits of four bits each"
)]
fn number(digits: u8, mode: RegB) -> Option<u32> {
    let value = if mode.contains(RegB::BINARY) {
        digits
    } else if digits & 0xf < 10 {
        (digits >> 4) * 10 + (digits & 0xf)
    } else {
        return None;
    };
    (value < 100).then_some(value.into())
}
