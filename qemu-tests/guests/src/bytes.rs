//! Memory that somebody else has written, read byte by byte.
// UNSAFETY: reads whatever address it is given.
#![allow(unsafe_code)]

/// Bytes of memory, which must be mapped one to one.
pub fn bytes(at: u64, len: usize) -> impl Iterator<Item = u8> {
    // SAFETY: a byte of memory has a value whatever it is, and reading one changes nothing.
    (0..len as u64).map(move |n| unsafe { ((at + n) as *const u8).read_volatile() })
}

/// The number in so many bytes, at most eight.
#[must_use]
pub fn number(at: u64, len: usize) -> u64 {
    bytes(at, len)
        .enumerate()
        .fold(0, |value, (n, byte)| value | u64::from(byte) << (8 * n))
}

/// The sum of bytes, which is zero for ACPI's tables.
#[must_use]
pub fn sum(at: u64, len: usize) -> u8 {
    bytes(at, len).fold(0, u8::wrapping_add)
}

/// Whether memory holds these bytes.
#[must_use]
pub fn is(at: u64, expected: &[u8]) -> bool {
    bytes(at, expected.len()).eq(expected.iter().copied())
}

/// Whether memory holds this text and a NUL.
#[must_use]
pub fn is_text(at: u64, text: &str) -> bool {
    is(at, text.as_bytes()) && number(at + text.len() as u64, 1) == 0
}
