//! What our own lines on the serial port say about the run.

use regex::bytes::Regex;
use std::sync::LazyLock;

/// The hypervisor's line when the last guest has powered off, before it switches the machine off.
static OFF: LazyLock<Regex> =
    LazyLock::new(|| regex(r"machine: off reason=last-guest-powered-off"));
/// A line of ours after which nothing will run: a refusal, a host exception, a panic.
static FATAL: LazyLock<Regex> = LazyLock::new(|| {
    regex(r"(?m)^(.*\b(?:machine: stopped|machine: refused|refused:|panicked).*)$")
});

fn regex(pattern: &str) -> Regex {
    Regex::new(pattern).unwrap_or_else(|error| unreachable!("{error}"))
}

/// What our own lines say.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    line: Vec<u8>,
    off: bool,
    fatal: Option<String>,
}

/// A guest may print lines without end; ours are shorter than this.
const LONGEST: usize = 4096;

impl Verdict {
    /// Takes the next piece of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            if self.line.len() < LONGEST {
                self.line.extend_from_slice(piece);
            }
            if piece.ends_with(b"\n") {
                self.judge();
                self.line.clear();
            }
        }
    }

    fn judge(&mut self) {
        self.off |= OFF.is_match(&self.line);
        if self.fatal.is_none() && FATAL.is_match(&self.line) {
            self.fatal = Some(String::from_utf8_lossy(&self.line).trim().to_owned());
        }
    }

    /// Whether the last guest has powered off.
    #[must_use]
    pub fn is_off(&self) -> bool {
        self.off
    }

    /// The line after which nothing will run.
    #[must_use]
    pub fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }
}
