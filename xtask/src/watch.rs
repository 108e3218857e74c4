//! Looks for a regular expression in a stream, as it comes.

use anyhow::{Context, Result};
use regex::bytes::Regex;

/// How far back a match may begin. Serial lines come a few bytes at a time and each piece is searched with what
/// lies before it, so this is the price of each piece.
const WINDOW: usize = 1024;

/// Looks for a regular expression in a stream.
#[derive(Clone, Debug)]
pub struct Watch {
    regex: Regex,
    window: Vec<u8>,
}

impl Watch {
    /// Watches for `pattern`; `^` and `$` match at line ends, `$` also at the end of what has come so far.
    ///
    /// # Errors
    /// When `pattern` is not a regular expression.
    pub fn new(pattern: &str) -> Result<Watch> {
        let regex = Regex::new(&format!("(?m){pattern}"))
            .with_context(|| format!("`{pattern}` is not a regular expression"))?;
        Ok(Watch {
            regex,
            window: Vec::new(),
        })
    }

    /// Takes the next piece; whether the expression was seen since the last time that it was.
    pub fn feed(&mut self, bytes: &[u8]) -> bool {
        self.window.extend_from_slice(bytes);
        let seen = self.regex.find(&self.window).map(|found| found.end());
        let keep = match seen {
            Some(end) => self.window.len() - end,
            None => self.window.len().min(WINDOW),
        };
        self.window.drain(..self.window.len() - keep);
        seen.is_some()
    }

    /// What has come and was not searched in vain: after a match, what lies behind it.
    #[must_use]
    pub fn rest(&self) -> &[u8] {
        &self.window
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sees_a_match_that_comes_in_pieces() {
        let mut watch = Watch::new("^~ # $").unwrap();
        assert!(!watch.feed(b"hello\r\n~"));
        assert!(!watch.feed(b" "));
        assert!(watch.feed(b"# ") || watch.feed(b""));
    }

    #[test]
    fn sees_each_match_once() {
        let mut watch = Watch::new("ready").unwrap();
        assert!(watch.feed(b"ready"));
        assert!(!watch.feed(b"\n"));
        assert!(watch.feed(b"ready\n"));
    }

    #[test]
    fn what_lies_behind_a_match_is_left() {
        let mut watch = Watch::new("ready").unwrap();
        assert!(watch.feed(b"is ready, and waits"));
        assert_eq!(watch.rest(), b", and waits");
    }

    #[test]
    fn forgets_what_is_far_back() {
        let mut watch = Watch::new("a.*b").unwrap();
        assert!(!watch.feed(b"a"));
        assert!(!watch.feed(&[b' '; 2 * WINDOW]));
        assert!(!watch.feed(b"b"));
    }

    #[test]
    fn refuses_a_broken_expression() {
        assert!(Watch::new("(").is_err());
    }
}
