//! What passes between the machine and the user.

use super::tail::Tail;
use super::{Event, Outcome, Session, Step};
use crate::machine::serial::Keys;
use crate::machine::{End, Finished, Running};
use crate::report::Reporter;
use crate::resolve;
use crate::verdict::{Fatal, ORDERED, POWERED_OFF, Verdict};
use crate::watch::Watch;
use anyhow::{Context, Result};
use std::fs::File;
use std::io::{IsTerminal, Write};
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// The key that leaves: Ctrl-], as telnet and virsh have it.
const LEAVE: u8 = 0x1d;
/// After a fatal line the rest of its report is let through until the line is silent for so long.
const SILENCE: Duration = Duration::from_secs(1);

/// What passes between the machine and the user.
pub(super) struct Pump {
    keys: Keys,
    held: Option<Vec<u8>>,
    after: Watch,
    until: Option<Watch>,
    /// Whether the run goes on until the last guest has powered off
    endless: bool,
    pub(super) verdict: Verdict,
    log: Option<File>,
    tail: Tail,
    heard: Instant,
    terminal: bool,
    report: Reporter,
    hypervisor: Option<PathBuf>,
}

impl Pump {
    pub(super) fn new(session: &Session, running: &Running) -> Result<Pump> {
        let open = |path: &PathBuf| File::create(path).with_context(|| path.display().to_string());
        Ok(Pump {
            keys: Keys::new(running.serial()?),
            held: Some(Vec::new()),
            after: Watch::new(&session.after)?,
            until: session.until.as_deref().map(Watch::new).transpose()?,
            endless: session.until.is_none() && !session.limited,
            verdict: Verdict::default(),
            log: session.log.as_ref().map(open).transpose()?,
            tail: Tail::default(),
            heard: Instant::now(),
            terminal: std::io::stdin().is_terminal(),
            report: Reporter::new(),
            hypervisor: session.hypervisor.clone(),
        })
    }

    pub(super) fn take(&mut self, event: Event) -> Result<Step> {
        match event {
            Event::Output(None) => return Ok(Step::Closed),
            Event::Output(Some(bytes)) => {
                if self.output(&bytes)? {
                    return Ok(Step::Done(Outcome::Seen));
                }
            }
            // In a pipe it is a byte like any other.
            Event::Input(bytes) if self.terminal && bytes.contains(&LEAVE) => {
                return Ok(Step::Done(Outcome::Left));
            }
            Event::Input(bytes) => self.input(bytes),
            Event::NoInput if self.endless => self.report.say(
                "input",
                "there is none; this goes on until the last guest has powered off, or Ctrl-C",
            ),
            Event::NoInput => {}
            Event::Signal(signal) => return Ok(Step::Done(Outcome::Signal(signal))),
        }
        Ok(Step::Go)
    }

    fn input(&mut self, bytes: Vec<u8>) {
        let Some(held) = &mut self.held else {
            return self.keys.send(bytes);
        };
        if self.terminal && held.is_empty() {
            self.report
                .say("console", "what you type waits until the hypervisor is up");
        }
        held.extend(bytes);
    }

    /// Whether the expression to stop at was seen.
    fn output(&mut self, bytes: &[u8]) -> Result<bool> {
        self.heard = Instant::now();
        let mut stdout = std::io::stdout().lock();
        stdout
            .write_all(bytes)
            .and_then(|()| stdout.flush())
            .context("stdout")?;
        if let Some(log) = &mut self.log {
            log.write_all(bytes).context("the log file")?;
        }
        self.tail.feed(bytes);
        self.verdict.feed(bytes);
        if self.held.is_some() && self.after.feed(bytes) {
            self.keys.send(self.held.take().unwrap_or_default());
        }
        Ok(self.until.as_mut().is_some_and(|until| until.feed(bytes)))
    }

    pub(super) fn has_fallen_silent(&self) -> bool {
        self.verdict.fatal().is_some() && self.heard.elapsed() > SILENCE
    }

    /// What the addresses of the hypervisor's last words mean.
    fn callers(&self) -> Option<String> {
        match resolve::resolve(&self.tail.text(), self.hypervisor.as_ref()?) {
            Ok(text) => text,
            Err(error) => Some(format!("{error:#}")),
        }
    }

    pub(super) fn judge(&self, finished: &Finished) -> Outcome {
        let why = match (self.verdict.fatal(), self.verdict.off(), &finished.end) {
            // The user has just read why, with the place and the mend.
            (Some(Fatal::Refused), ..) => {
                return Outcome::Failed("the machine refused to run: it has said why".to_owned());
            }
            (Some(Fatal::Stopped), ..) => "the hypervisor has stopped the machine".to_owned(),
            (None, Some(POWERED_OFF | ORDERED), End::PowerOff) => return Outcome::Off,
            (None, Some(reason), End::PowerOff) => {
                format!("the machine was switched off: {reason}")
            }
            (None, None, End::PowerOff) => {
                "the machine went off without a word of the hypervisor's".to_owned()
            }
            (None, _, end) => end.to_string(),
        };
        let mut report = why;
        // At a terminal it stands right above.
        if !std::io::stdout().is_terminal() {
            report.push_str(&format!("\n--- end of the serial line ---\n{}", self.tail));
        }
        if let Some(callers) = self.callers() {
            report.push_str("\n--- where it was ---\n");
            report.push_str(callers.trim_end());
        }
        let log = Tail::of(&finished.log).to_string();
        if !log.is_empty() {
            report.push_str("\n--- end of the emulator's log ---\n");
            report.push_str(&log);
        }
        Outcome::Failed(report)
    }
}
