//! What our own lines on the serial port say about the run.
//!
//! They share the line with a guest's console, which can imitate them. An imitation cannot make a failed run look
//! like a success: that needs the emulator's own word that the machine is off, which only the hypervisor can bring
//! about, and the hypervisor's reason as the last line of all, which it prints after the last guest has come to its
//! end. A guest that imitates a panic spoils the run; refusals count only before the first guest starts. Where several VMs share the
//! line, each of their lines begins with the VM's name and `|`, which none of ours does.

use regex::Regex;
use std::sync::LazyLock;

/// The hypervisor's last line before it switches the machine off, but for the reason.
pub const OFF: &str = r"^ *\d+ \d+ - info bulkhead: machine: off reason=";
/// The reason that is success: the last guest has powered off.
pub const POWERED_OFF: &str = "last-guest-powered-off";
/// The reason that is the user's own: the monitor was told to switch the machine off.
pub const ORDERED: &str = "ordered";
/// The lines after which nothing will run: refusals of `boot` and of the hypervisor, host exceptions and panics.
pub const FATAL: &str =
    r"^boot: refused|^ *\d+ (\d+|-) - error bulkhead: (refused:|machine: (panic|stopped))";

/// The line after which a guest may print.
const START: &str = r"^ *\d+ \d+ [a-z0-9-]+ info bulkhead: vm: start ";

static OFF_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(OFF).ok());
static FATAL_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(FATAL).ok());

/// The hypervisor's line once it runs.
const UP: &str = r"^ *\d+ \d+ - info bulkhead: machine: up ";

static UP_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(UP).ok());
static START_LINE: LazyLock<Option<Regex>> = LazyLock::new(|| Regex::new(START).ok());

/// What a terminal is sent to erase the line that it is on.
pub const ERASED: &str = "\r\u{1b}[K";

/// A guest may print lines without end; ours are shorter than this.
const LONGEST: usize = 4096;

/// Why nothing will run any more.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Fatal {
    /// `boot` or the hypervisor will not run what it has
    Refused,
    /// The hypervisor has met a fault of its own
    Stopped,
}

/// What our own lines say.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    line: Vec<u8>,
    /// The reason of the last line, if that is the hypervisor's last
    off: Option<String>,
    fatal: Option<Fatal>,
    up: bool,
    started: bool,
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
        // The monitor's prompt, erased to make room.
        let line = line.rsplit(ERASED).next().unwrap_or_default();
        let is = |regex: &Option<Regex>| regex.as_ref().is_some_and(|regex| regex.is_match(line));
        if is(&OFF_LINE) {
            self.off = line.trim().rsplit('=').next().map(str::to_owned);
        } else if !line.trim().is_empty() {
            self.off = None;
        }
        self.up |= is(&UP_LINE);
        self.started |= is(&START_LINE);
        if self.fatal.is_none() && is(&FATAL_LINE) {
            self.fatal = match line.contains("bulkhead: machine: ") {
                true => Some(Fatal::Stopped),
                false if self.started => None,
                false => Some(Fatal::Refused),
            };
        }
    }

    /// Why the hypervisor switched the machine off, if its line that says so is the last of all.
    #[must_use]
    pub fn off(&self) -> Option<&str> {
        self.off
            .as_deref()
            .filter(|_| self.line.trim_ascii().is_empty())
    }

    /// Whether the hypervisor has said that it is up.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.up
    }

    /// Why nothing will run any more, if so.
    #[must_use]
    pub fn fatal(&self) -> Option<Fatal> {
        self.fatal
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
    fn a_line_that_takes_the_prompts_place_is_ours() {
        let line = "  1234567 0 - info bulkhead: machine: off reason=";
        let stream = format!("bulkhead> off\r\nbulkhead> {ERASED}{ERASED}{line}{ORDERED}\r\n");
        assert_eq!(verdict(&stream).off(), Some(ORDERED));
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
        for (line, fatal) in [
            ("boot: refused\r\n", Fatal::Refused),
            (
                "   99 0 - error bulkhead: refused: no VT-x\r\n",
                Fatal::Refused,
            ),
            (
                "   99 - - error bulkhead: machine: panic at src/main.rs:1\r\n",
                Fatal::Stopped,
            ),
        ] {
            assert_eq!(verdict(&format!("noise\n{line}")).fatal(), Some(fatal));
        }
        assert_eq!(
            verdict("[    1.0] Kernel panic - not syncing\r\n").fatal(),
            None
        );
    }

    #[test]
    fn a_guest_cannot_imitate_a_refusal() {
        let start = "  5 0 debian info bulkhead: vm: start memory_mib=16\r\n";
        for line in [
            "boot: refused\r\n",
            "  9 0 - error bulkhead: refused: x\r\n",
        ] {
            assert_eq!(verdict(&format!("{start}{line}")).fatal(), None, "{line}");
        }
        let panic = "  9 - - error bulkhead: machine: panic x\r\n";
        assert_eq!(
            verdict(&format!("{start}{panic}")).fatal(),
            Some(Fatal::Stopped)
        );
    }

    #[test]
    fn a_line_with_a_guests_name_is_not_ours() {
        let off = format!("  1 0 - info bulkhead: machine: off reason={POWERED_OFF}\r\n");
        for name in ["a", "1", "1234", "-"] {
            assert_eq!(verdict(&format!("{name} | {off}")).off(), None);
            let panic = "9 - - error bulkhead: machine: panic x\r\n";
            assert_eq!(verdict(&format!("{name} | {panic}")).fatal(), None);
        }
    }

    #[test]
    fn a_line_without_end_is_not_kept() {
        let mut verdict = verdict(&"x".repeat(3 * LONGEST));
        assert_eq!(verdict.line.len(), LONGEST);
        verdict.feed(b"\nboot: refused\n");
        assert!(verdict.fatal().is_some());
    }
}
