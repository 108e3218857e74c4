//! Cuts the lines that a finding shows out of the text, in a form that any console can print.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "places in a text that is in memory"
)]

use alloc::string::String;
use core::fmt::{self, Write};
use core::ops::Range;

/// Lines of the text as ASCII, one byte for each character, so that byte and column are the same.
pub(crate) struct Cut {
    pub(crate) lines: String,
    /// Number of the first line, counted from 1
    pub(crate) first_line: usize,
    /// The place, in `lines`
    pub(crate) at: Range<usize>,
    /// The other place, in `lines`
    pub(crate) related: Option<Range<usize>>,
}

/// The lines from the first to the last that the two places touch; `None` if there is no text.
pub(crate) fn cut(text: &str, at: &Range<usize>, related: Option<&Range<usize>>) -> Option<Cut> {
    if text.is_empty() {
        return None;
    }
    let at = first_line_of(text, at);
    let related = related.map(|range| first_line_of(text, range));
    let (from, to) = match &related {
        Some(other) => (at.start.min(other.start), at.end.max(other.end)),
        None => (at.start, at.end),
    };
    let start = text
        .get(..from)?
        .rfind('\n')
        .map_or(0, |newline| newline + 1);
    let end = text
        .get(to..)?
        .find('\n')
        .map_or(text.len(), |newline| to + newline);
    let chars = |range: &Range<usize>| {
        let before = text
            .get(start..range.start)
            .map_or(0, |s| s.chars().filter(drawn).count());
        before
            ..before
                + text
                    .get(range.clone())
                    .map_or(0, |s| s.chars().filter(drawn).count())
    };
    Some(Cut {
        lines: text
            .get(start..end)?
            .chars()
            .filter(drawn)
            .map(printable)
            .collect(),
        first_line: 1 + text.get(..start)?.matches('\n').count(),
        at: chars(&at),
        related: related.as_ref().map(chars),
    })
}

/// The part of `range` that lies in its first line, on character boundaries and inside the text.
fn first_line_of(text: &str, range: &Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(range.start);
    let end = text.ceil_char_boundary(range.end.max(start));
    let line = text.get(start..end).unwrap_or("");
    start..start + line.find(['\r', '\n']).unwrap_or(line.len())
}

/// Carriage returns of line ends from Windows are left out.
fn drawn(c: &char) -> bool {
    *c != '\r'
}

fn printable(c: char) -> char {
    match c {
        '\n' | ' '..='~' => c,
        // As wide as one column, so that the marks below stay in place.
        '\t' => ' ',
        _ => '?',
    }
}

/// Text from the config inside a message: ASCII, and no longer than a line has room for.
pub(crate) fn quoted(text: &str) -> Quoted<'_> {
    Quoted { text, room: 40 }
}

/// The path of a file inside a message: ASCII, and whole, so that it can be opened.
pub(crate) fn path(text: &str) -> Quoted<'_> {
    Quoted {
        text,
        room: usize::MAX,
    }
}

pub(crate) struct Quoted<'a> {
    text: &'a str,
    room: usize,
}

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, c) in self.text.chars().enumerate() {
            if n == self.room {
                return f.write_str("...");
            }
            match c {
                ' '..='~' => f.write_char(c)?,
                _ => write!(f, "{}", c.escape_default())?,
            }
        }
        Ok(())
    }
}
