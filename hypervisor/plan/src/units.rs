//! Amounts of memory and addresses, as people write them and as they are shown.

use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::fmt;

const UNITS: [(&str, u64); 4] = [
    ("TiB", 1 << 40),
    ("GiB", 1 << 30),
    ("MiB", 1 << 20),
    ("KiB", 1 << 10),
];

/// An amount of memory, shown in the largest binary unit that leaves no fraction.
pub(crate) struct Bytes(pub(crate) u64);

impl fmt::Display for Bytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match UNITS
            .iter()
            .find(|(_, size)| self.0 >= *size && self.0.is_multiple_of(*size))
        {
            Some((unit, size)) => write!(f, "{} {unit}", self.0.checked_div(*size).unwrap_or(0)),
            None => write!(f, "{} bytes", self.0),
        }
    }
}

/// What is wrong with a value, and a value that would be right where one suggests itself.
pub(crate) struct Wrong {
    pub(crate) what: &'static str,
    pub(crate) mend: Option<String>,
}

/// Bytes in an amount such as `256 MiB`.
pub(crate) fn amount(text: &str) -> Result<u64, Wrong> {
    let digits = text.find(|c: char| !c.is_ascii_digit());
    let digits = digits.unwrap_or(text.len());
    let (number, rest) = text.split_at(digits);
    let unit = rest.strip_prefix(' ').unwrap_or(rest);
    let wrong = |what| Wrong { what, mend: None };
    if let Some((_, size)) = UNITS.iter().find(|(name, _)| *name == unit) {
        if number.is_empty() {
            return Err(wrong("there is no number before the unit"));
        }
        return number
            .parse::<u64>()
            .ok()
            .and_then(|number| number.checked_mul(*size))
            .ok_or(wrong("this is more than any computer has"));
    }
    Err(guess(text))
}

/// What someone meant who wrote `text` and not an amount.
fn guess(text: &str) -> Wrong {
    let text = text.trim();
    let split = text
        .find(|c: char| !c.is_ascii_digit() && c != '.')
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(split);
    let size = unit.trim().as_bytes().first().and_then(|first| {
        UNITS.iter().find(|(name, _)| {
            name.as_bytes()
                .first()
                .is_some_and(|n| n.eq_ignore_ascii_case(first))
        })
    });
    let mend = match (size, number.split_once('.')) {
        (Some((name, size)), None) => number.parse::<u64>().ok().and_then(|n| {
            n.checked_mul(*size)?;
            Some(format!("{n} {name}"))
        }),
        (Some((_, size)), Some((whole, fraction))) => {
            decimal(whole, fraction, *size).map(|n| Bytes(n).to_string())
        }
        (None, None) if unit.is_empty() || unit.trim().eq_ignore_ascii_case("b") => {
            number.parse().ok().map(meant)
        }
        _ => None,
    };
    let what = match unit.trim() {
        _ if number.is_empty() => "this is not an amount of memory",
        "" => "the unit is missing",
        _ if number.contains('.') => "the number must be whole",
        unit if unit.eq_ignore_ascii_case("KB")
            | unit.eq_ignore_ascii_case("MB")
            | unit.eq_ignore_ascii_case("GB") =>
        {
            "memory is counted in binary units"
        }
        _ => "the unit is not one of KiB, MiB, GiB and TiB",
    };
    Wrong { what, mend }
}

/// `whole.fraction` times `size`, if that is a whole number of KiB.
fn decimal(whole: &str, fraction: &str, size: u64) -> Option<u64> {
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let part = fraction.parse::<u64>().ok()?.checked_mul(size)?;
    let bytes = whole
        .parse::<u64>()
        .ok()?
        .checked_mul(size)?
        .checked_add(part.checked_div(scale)?)?;
    (part.is_multiple_of(scale) && bytes.is_multiple_of(1 << 10)).then_some(bytes)
}

/// The amount meant by a bare number: bytes if it is large, else MiB.
pub(crate) fn meant(number: u64) -> String {
    match number {
        0..0x10_0000 => format!("{number} MiB"),
        _ => Bytes(number.checked_next_multiple_of(1 << 20).unwrap_or(number)).to_string(),
    }
}

/// The address in text such as `0x7c00`.
pub(crate) fn address(text: &str) -> Result<u64, Wrong> {
    let digits = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    match digits
        .filter(|d| !d.starts_with('+'))
        .map(|d| u64::from_str_radix(d, 16))
    {
        Some(Ok(address)) => Ok(address),
        _ => {
            let hex = text.trim().trim_end_matches(['h', 'H']);
            let plain =
                !hex.is_empty() && hex.len() <= 16 && hex.bytes().all(|b| b.is_ascii_hexdigit());
            Err(Wrong {
                what: "this is not a hexadecimal address",
                mend: plain.then(|| format!("0x{hex}")),
            })
        }
    }
}

/// So many of something.
pub(crate) fn counted(count: u64, what: &str) -> String {
    match count {
        1 => format!("1 {what}"),
        _ => format!("{count} {what}s"),
    }
}

/// A few of the numbers.
pub(crate) fn list(numbers: &[u32]) -> String {
    let few: Vec<String> = numbers.iter().take(4).map(u32::to_string).collect();
    few.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mend(text: &str) -> Option<String> {
        amount(text).expect_err("not an amount").mend
    }

    #[test]
    fn amounts_have_a_whole_number_and_a_binary_unit() {
        let read = |text| amount(text).ok();
        assert_eq!(read("256 MiB"), Some(256 << 20));
        assert_eq!(read("256MiB"), Some(256 << 20));
        assert_eq!(read("65536 KiB"), Some(64 << 20));
        assert_eq!(read("1 GiB"), Some(1 << 30));
        assert_eq!(read("16777215 TiB"), Some(0xff_ffff << 40));
        for wrong in [
            "16777216 TiB",
            "MiB",
            " 1 MiB",
            "1  MiB",
            "1 MiB ",
            "+1 MiB",
            "-1 MiB",
            "1 MB",
            "1 B",
            "1",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn a_mend_is_what_was_likely_meant() {
        assert_eq!(mend("256 MB").as_deref(), Some("256 MiB"));
        assert_eq!(mend(" 256  mib").as_deref(), Some("256 MiB"));
        assert_eq!(mend("2g").as_deref(), Some("2 GiB"));
        assert_eq!(mend("0.5 GiB").as_deref(), Some("512 MiB"));
        assert_eq!(mend("256").as_deref(), Some("256 MiB"));
        assert_eq!(mend("268435456").as_deref(), Some("256 MiB"));
        assert_eq!(mend("0.3 KiB"), None);
        assert_eq!(mend("256 pages"), None);
        assert_eq!(mend("99999999999 TB"), None);
    }

    #[test]
    fn addresses_are_hexadecimal() {
        let read = |text| address(text).ok();
        assert_eq!(read("0x7c00"), Some(0x7c00));
        assert_eq!(read("0XFFFFFFFFFFFFFFFF"), Some(u64::MAX));
        for wrong in [
            "0x10000000000000000",
            "0x",
            "0x+1",
            "0x-1",
            "7c00",
            "31744",
            "",
        ] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
        assert_eq!(
            address("7C00h")
                .err()
                .and_then(|wrong| wrong.mend)
                .as_deref(),
            Some("0x7C00")
        );
    }

    #[test]
    fn amounts_are_shown_without_a_fraction() {
        assert_eq!(Bytes(0).to_string(), "0 bytes");
        assert_eq!(Bytes(1023).to_string(), "1023 bytes");
        assert_eq!(Bytes(1 << 40).to_string(), "1 TiB");
        assert_eq!(Bytes(3 << 29).to_string(), "1536 MiB");
    }
}
