//! What our own lines on the serial port say about the run.
//!
//! They share the line with a guest's console, which can imitate them. An imitation cannot make a failed run look
//! like a success: that needs the emulator's own word that the machine is off, which only the hypervisor can bring
//! about, and the hypervisor's reason as the last line of all, which it prints after the last guest has come to its
//! end. A guest that imitates a refusal or a panic spoils its own run, as it could by powering off.

use regex::Regex;
use std::sync::LazyLock;

/// The hypervisor's last line before it switches the machine off, but for the reason.
pub const OFF: &str = r"^ *\d+ \d+ - info bulkhead: machine: off reason=";
/// The reason that is success: the last guest has powered off.
pub const POWERED_OFF: &str = "last-guest-powered-off";
/// The lines after which nothing will run: refusals of `boot` and of the hypervisor, host exceptions and panics.
pub const FATAL: &str =
    r"^boot: refused|^ *\d+ (\d+|-) - error bulkhead: (refused:|machine: (panic|stopped))";

static OFF_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(OFF).ok());
static FATAL_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(FATAL).ok());

/// A guest may print lines without end; ours are shorter than this.
const LONGEST: usize = 4096;

/// What our own lines say.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    line: Vec<u8>,
    /// The reason of the last line, if that is the hypervisor's last
    off: Option<String>,
    fatal: Option<String>,
}

impl Verdict {
    /// Takes the next piece of the stream.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|&byte| byte == b'\n') {
            let room = LONGEST.saturating_sub(self.line.len()).min(piece.len());
            self.line.extend_from_slice(&piece[..room]);
            if piece.ends_with(b"\n") {
                self.judge();
                self.line.clear();
            }
        }
    }

    fn judge(&mut self) {
        let line = String::from_utf8_lossy(&self.line);
        let is = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(&line));
        if is(&OFF_LINE) {
            self.off = line.trim().rsplit('=').next().map(str::to_owned);
        } else if !line.trim().is_empty() {
            self.off = None;
        }
        if self.fatal.is_none() && is(&FATAL_LINE) {
            self.fatal = Some(line.trim().to_owned());
        }
    }

    /// Why the hypervisor switched the machine off, if its line that says so is the last of all.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.off
            .as_deref()
            .filter(|_| self.line.trim_ascii().is_empty())
    }

    /// The line after which nothing will run.
    #[must_use]
    pub fn fatal(&self) -> Option<&str> {
        self.fatal.as_deref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn verdict(stream: &str) -> Verdict {
        let mut verdict = Verdict::default();
        for byte in stream.bytes() {
            verdict.feed(&[byte]);
        }
        verdict
    }

    #[test]
    fn the_reason_for_power_off_is_read_from_our_own_line() {
        let line = "  1234567 0 - info bulkhead: machine: off reason=";
        assert_eq!(
            verdict(&format!("{line}{POWERED_OFF}\r\n")).off(),
            Some(POWERED_OFF)
        );
        assert_eq!(
            verdict(&format!("{line}refused\r\n")).off(),
            Some("refused")
        );
        assert_eq!(
            verdict("echo machine: off reason=last-guest-powered-off\r\n").off(),
            None
        );
    }

    #[test]
    fn what_a_guest_prints_before_the_end_does_not_count() {
        let imitation = format!("  1 0 - info bulkhead: machine: off reason={POWERED_OFF}\r\n");
        for rest in [
            "more",
            "more\r\n",
            "  2 0 - info bulkhead: vm: end reason=stopped\r\n",
        ] {
            assert_eq!(verdict(&format!("{imitation}{rest}")).off(), None, "{rest}");
        }
        let end = "  3 0 - info bulkhead: machine: off reason=last-guest-stopped\r\n";
        assert_eq!(
            verdict(&format!("{imitation}{end}\r\n")).off(),
            Some("last-guest-stopped")
        );
    }

    #[test]
    fn refusals_and_panics_are_fatal() {
        for line in [
            "boot: refused\r\n",
            "   99 0 - error bulkhead: refused: no VT-x\r\n",
            "   99 - - error bulkhead: machine: panic at src/main.rs:1\r\n",
        ] {
            assert_eq!(
                verdict(&format!("noise\n{line}")).fatal(),
                Some(line.trim())
            );
        }
        assert_eq!(
            verdict("[    1.0] Kernel panic - not syncing\r\n").fatal(),
            None
        );
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut verdict = verdict(&"x".repeat(3 * LONGEST));
        assert_eq!(verdict.line.len(), LONGEST);
        verdict.feed(b"\nboot: refused\n");
        assert!(verdict.fatal().is_some());
    }
}
