//! What came of a boot.

use crate::ends::Ends;
use crate::talk::Heard;
use crate::{tools, unknown_msr};
use anyhow::{Context, Result, bail, ensure};
use proto::Answer;
use regex::{Captures, Regex};
use std::collections::BTreeMap;
use xtask::machine::{End, Finished};
use xtask::resolve;
use xtask::verdict::{ERASED, Verdict};

/// Lines of the serial port that a failure shows.
const SHOWN: usize = 100;

/// What came of a boot.
#[derive(Clone, Debug)]
pub struct Outcome {
    /// The serial line, its line ends as `\n`
    pub serial: String,
    /// The emulator's log
    pub emulator_log: String,
    /// How the emulator ended
    pub end: End,
    /// Ticks from power-on to the end, where the emulator's log has them
    pub ticks: Option<u64>,
    /// What each VM, by its number in the config, wrote to its console, as the second line had it; line ends as `\n`
    pub consoles: BTreeMap<usize, String>,
    /// The answer to each command of the script, in its order
    pub answers: Vec<Answer>,
    answered: usize,
}

impl Outcome {
    pub(crate) fn new(heard: Heard, finished: Finished) -> Outcome {
        let text = |bytes: &[u8]| {
            let text = String::from_utf8_lossy(bytes).replace("\r\n", "\n");
            text.replace(ERASED, "\n")
        };
        let consoles = heard.consoles.iter();
        Outcome {
            serial: text(&heard.bytes),
            consoles: consoles.map(|(&vm, bytes)| (vm, text(bytes))).collect(),
            answers: heard.answers,
            ticks: last_tick(&finished.log),
            emulator_log: finished.log,
            end: finished.end,
            answered: heard.answered,
        }
    }

    pub(crate) fn answered(&self) -> usize {
        self.answered
    }

    /// Whether it came to the end that the test wants to see, without a fault of ours on the way.
    pub(crate) fn judge(&self, ends: &Ends) -> Result<()> {
        if let Some(line) = ends.line() {
            self.expect_line(&line)?;
        }
        if let Some(reason) = ends.reason() {
            let mut verdict = Verdict::default();
            verdict.feed(self.serial.as_bytes());
            ensure!(
                verdict.off() == Some(reason),
                "the last line is not the hypervisor's `machine: off reason={reason}`\n{}",
                self.tail()
            );
        }
        ensure!(
            ends.agree_with(&self.end),
            "{}, wanted {ends:?}\n{}",
            self.end,
            self.tail()
        );
        let unknown = unknown_msr::after_entry(&self.serial, &self.emulator_log);
        ensure!(
            unknown.is_empty(),
            "MSRs that the CPU does not have:\n{}",
            unknown.join("\n")
        );
        Ok(())
    }

    /// Finds the first place that the regular expression matches; `^` and `$` are line ends.
    ///
    /// # Errors
    /// When there is none. The error shows the end of the serial line.
    pub fn expect_line(&self, regex: &str) -> Result<Captures<'_>> {
        let found = multi_line(regex)?.captures(&self.serial);
        found.with_context(|| format!("no line matches `{regex}`\n{}", self.tail()))
    }

    /// Finds these one after the other.
    ///
    /// # Errors
    /// When one is not there after the one before it.
    pub fn expect_lines(&self, regexes: &[&str]) -> Result<()> {
        let mut from = 0;
        for regex in regexes {
            let found = multi_line(regex)?.find_at(&self.serial, from);
            let Some(found) = found else {
                bail!(
                    "no line after byte {from} matches `{regex}`\n{}",
                    self.tail()
                );
            };
            from = found.end();
        }
        Ok(())
    }

    /// Makes sure that the regular expression matches nowhere.
    ///
    /// # Errors
    /// When it does, with the place.
    pub fn expect_no_line(&self, regex: &str) -> Result<()> {
        match multi_line(regex)?.find(&self.serial) {
            Some(found) => bail!("`{regex}` matches `{}`\n{}", found.as_str(), self.tail()),
            None => Ok(()),
        }
    }

    /// Finds the first place that the regular expression matches on the console of a VM, by its number in the config.
    ///
    /// # Errors
    /// When there is none. The error shows the console.
    pub fn expect_console(&self, vm: usize, regex: &str) -> Result<Captures<'_>> {
        let console = self.consoles.get(&vm).map_or("", String::as_str);
        let found = multi_line(regex)?.captures(console);
        found.with_context(|| {
            let shown = last_lines(console, SHOWN);
            format!("no line of VM {vm} matches `{regex}`\n--- its console ---\n{shown}")
        })
    }

    /// What the first serial line has of a VM among several: its lines, without its name before them; those that another's output cut
    /// in two are put together again.
    #[must_use]
    pub fn shown_of(&self, vm: &str) -> String {
        let mut shown = String::new();
        for line in self.serial.lines() {
            let Some(rest) = line.strip_prefix(vm).map(str::trim_start) else {
                continue;
            };
            if let Some(text) = rest.strip_prefix("| ") {
                shown.push('\n');
                shown += text;
            } else if let Some(text) = rest.strip_prefix("+ ") {
                shown += text;
            }
        }
        shown
    }

    /// The ticks at the head of the first line of our log whose event matches.
    ///
    /// # Errors
    /// When there is none.
    pub fn ticks_of(&self, event: &str) -> Result<u64> {
        let line = self.expect_line(&format!(r"^ *(\d+) \d+ \S+ \w+ bulkhead: .*(?:{event})"))?;
        Ok(line[1].parse()?)
    }

    /// What the addresses mean that the hypervisor's last words have.
    fn callers(&self) -> Option<String> {
        // It would be built for nothing.
        let _ = self.serial.find("machine: callers")?;
        let program = &tools::programs().ok()?.hypervisor;
        let text = resolve::resolve(&self.serial, program).ok()??;
        Some(format!("--- where it was ---\n{text}"))
    }

    /// The end of the serial line and of the emulator's log, for a failure to show.
    #[must_use]
    pub fn tail(&self) -> String {
        format!(
            "--- serial line ({}) ---\n{}\n{}--- emulator ---\n{}",
            self.end,
            last_lines(&self.serial, SHOWN),
            self.callers().unwrap_or_default(),
            last_lines(&self.emulator_log, 10)
        )
    }
}

fn multi_line(regex: &str) -> Result<Regex> {
    Ok(Regex::new(&format!("(?m){regex}"))?)
}

fn last_lines(text: &str, count: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(count)..].join("\n")
}

/// The last tick of Bochs's log, whose lines begin with eleven or more digits and a letter.
fn last_tick(log: &str) -> Option<u64> {
    log.lines().rev().find_map(|line| {
        let (ticks, _) = line.split_once('[')?;
        ticks
            .get(..ticks.len().checked_sub(1)?)?
            .parse()
            .ok()
            .filter(|ticks| *ticks > 0)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcome(serial: &str, log: &str) -> Outcome {
        let heard = Heard {
            bytes: serial.into(),
            ..Heard::default()
        };
        Outcome::new(
            heard,
            Finished {
                end: End::PowerOff,
                log: log.to_owned(),
            },
        )
    }

    const OFF: &str = "   99 0 - info bulkhead: machine: off reason=last-guest-powered-off\r\n";

    #[test]
    fn a_vms_lines_are_put_together_again() {
        let serial = "a  | guest: c\r\nab | x\r\n   99 0 a info bulkhead: vm: end\r\na  + laims 3\r\na  | done\r\n";
        assert_eq!(outcome(serial, "").shown_of("a"), "\nguest: claims 3\ndone");
    }

    #[test]
    fn the_end_must_be_seen() {
        assert!(outcome(OFF, "").judge(&Ends::Off).is_ok());
        assert!(outcome("all is well\r\n", "").judge(&Ends::Off).is_err());
        let crashed = Outcome {
            end: End::Crash("triple fault".into()),
            ..outcome(OFF, "")
        };
        assert!(crashed.judge(&Ends::Off).is_err());
        assert!(crashed.judge(&Ends::Crash("triple".into())).is_ok());
        let stopped = Outcome {
            end: End::Limit,
            ..outcome(OFF, "")
        };
        assert!(stopped.judge(&Ends::Off).is_err());
    }

    #[test]
    fn a_guest_cannot_end_a_run_by_a_word() {
        let stopped = "  100 0 - info bulkhead: machine: off reason=last-guest-stopped\r\n";
        assert!(
            outcome(&format!("{OFF}{stopped}"), "")
                .judge(&Ends::Off)
                .is_err()
        );
        assert!(
            outcome(&format!("{OFF}{stopped}"), "")
                .judge(&Ends::Stopped)
                .is_ok()
        );
        assert!(outcome(&format!("{OFF}# "), "").judge(&Ends::Off).is_err());
    }

    #[test]
    fn an_unknown_msr_spoils_a_good_end() {
        let log = "00000000100e[CPU0  ] RDMSR: Unknown register 0x4e\n";
        assert!(outcome(OFF, log).judge(&Ends::Off).is_err());
    }

    #[test]
    fn lines_are_found_in_their_order() {
        let outcome = outcome("a\r\nb\r\n", "");
        assert!(outcome.expect_lines(&["^a$", "^b$"]).is_ok());
        assert!(outcome.expect_lines(&["^b$", "^a$"]).is_err());
        assert!(outcome.expect_no_line("c").is_ok());
        assert!(outcome.expect_no_line("b").is_err());
    }

    #[test]
    fn ticks_are_read_from_both_logs() {
        let log = "01183665418p[ACPI  ] >>PANIC<< ACPI control: soft power off\n====\n\
                   00000000000i[      ] reading configuration\n";
        let outcome = outcome(OFF, log);
        assert_eq!(outcome.ticks, Some(1_183_665_418));
        assert_eq!(outcome.ticks_of("machine: off").unwrap(), 99);
    }
}
