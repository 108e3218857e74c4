//! The command line: words, of which some are `name=number`. It is read where the loader put it, in low memory, so a
//! guest that asks leaves that alone.
// UNSAFETY: the loader's word on where the text is.
#![allow(unsafe_code)]

use crate::start::zero_page;
use core::slice;

/// The longest that a loader passes.
const MOST: usize = 2048;

fn text() -> &'static str {
    let from = u64::from(zero_page().hdr.cmd_line_ptr) as *const u8;
    if from.is_null() {
        return "";
    }
    // SAFETY: the loader ends the text by a NUL, before which the search ends; it is RAM that nothing writes.
    let bytes = unsafe {
        let len = (0..MOST).position(|at| *from.add(at) == 0).unwrap_or(0);
        slice::from_raw_parts(from, len)
    };
    core::str::from_utf8(bytes).unwrap_or("")
}

/// Whether a word is on the command line.
#[must_use]
pub fn has(word: &str) -> bool {
    text().split_ascii_whitespace().any(|given| given == word)
}

/// The number after `name=`; of several the last.
#[must_use]
pub fn number(name: &str) -> Option<u64> {
    text()
        .split_ascii_whitespace()
        .filter_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
        .next_back()
}
