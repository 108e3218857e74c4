//! `cargo xtask run`: joins the user's terminal, or a pipe, with the serial console of a machine.

use crate::machine::serial::{self, Keys};
use crate::machine::{End, Finished, Running};
use crate::terminal::Raw;
use crate::verdict::{POWERED_OFF, Verdict};
use crate::watch::Watch;
use anyhow::{Context, Result};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::fs::File;
use std::io::{Read, Write};
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

/// The key that leaves: Ctrl-], as telnet and virsh have it.
const LEAVE: u8 = 0x1d;
/// How long an emulator may take to end once the machine is off.
const GRACE: Duration = Duration::from_secs(10);
/// After a fatal line the rest of its report is let through until the line is silent for so long.
const SILENCE: Duration = Duration::from_secs(1);
/// How many lines are shown again when a run fails.
const TAIL: usize = 15;

/// When to send, when to stop, what to keep.
#[derive(Clone, Debug)]
pub struct Session {
    /// Input is held until this is seen
    pub after: String,
    /// The run has succeeded when this is seen
    pub until: Option<String>,
    /// A copy of the serial line goes here
    pub log: Option<PathBuf>,
}

/// How a run ended for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The last guest has powered off, and the machine with it
    Off,
    /// The expression of `--until` was seen
    Seen,
    /// The user left
    Left,
    /// A signal ended it
    Signal(i32),
    /// Why it failed, and the tails of the logs
    Failed(String),
}

enum Event {
    Output(Option<Vec<u8>>),
    Input(Vec<u8>),
    Signal(i32),
}

enum Step {
    Go,
    Closed,
    Done(Outcome),
}

impl Session {
    /// Joins stdin and stdout with the machine until one of them ends it.
    ///
    /// # Errors
    /// When an expression is no regular expression, or the host fails us.
    pub fn join(&self, running: Running) -> Result<Outcome> {
        let mut pump = Pump::new(self, &running)?;
        let (events, queue) = channel();
        serial::listen(running.serial()?, events.clone(), Event::Output);
        watch_signals(events.clone())?;
        let raw = Raw::enter()?;
        read_stdin(events);
        loop {
            let step = match queue.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => pump.take(event)?,
                Err(RecvTimeoutError::Timeout) => Step::Go,
                Err(RecvTimeoutError::Disconnected) => Step::Closed,
            };
            match step {
                Step::Go if running.overdue() || pump.has_fallen_silent() => break,
                Step::Go => {}
                Step::Closed => break,
                Step::Done(outcome) => return Ok(outcome),
            }
        }
        let grace = if pump.verdict.fatal().is_some() {
            Duration::ZERO
        } else {
            GRACE
        };
        let finished = running.finish(grace)?;
        drop(raw);
        Ok(pump.judge(&finished))
    }
}

/// What passes between the machine and the user.
struct Pump {
    keys: Keys,
    held: Option<Vec<u8>>,
    after: Watch,
    until: Option<Watch>,
    verdict: Verdict,
    log: Option<File>,
    tail: Tail,
    heard: Instant,
    leaves: bool,
}

impl Pump {
    fn new(session: &Session, running: &Running) -> Result<Pump> {
        let open = |path: &PathBuf| File::create(path).with_context(|| path.display().to_string());
        Ok(Pump {
            keys: Keys::new(running.serial()?),
            held: Some(Vec::new()),
            after: Watch::new(&session.after)?,
            until: session.until.as_deref().map(Watch::new).transpose()?,
            verdict: Verdict::default(),
            log: session.log.as_ref().map(open).transpose()?,
            tail: Tail::default(),
            heard: Instant::now(),
            leaves: std::io::IsTerminal::is_terminal(&std::io::stdin()),
        })
    }

    fn take(&mut self, event: Event) -> Result<Step> {
        match event {
            Event::Output(None) => return Ok(Step::Closed),
            Event::Output(Some(bytes)) => {
                if self.output(&bytes)? {
                    return Ok(Step::Done(Outcome::Seen));
                }
            }
            // In a pipe it is a byte like any other.
            Event::Input(bytes) if self.leaves && bytes.contains(&LEAVE) => {
                return Ok(Step::Done(Outcome::Left));
            }
            Event::Input(bytes) => match &mut self.held {
                Some(held) => held.extend(bytes),
                None => self.keys.send(bytes),
            },
            Event::Signal(signal) => return Ok(Step::Done(Outcome::Signal(signal))),
        }
        Ok(Step::Go)
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

    fn has_fallen_silent(&self) -> bool {
        self.verdict.fatal().is_some() && self.heard.elapsed() > SILENCE
    }

    fn judge(&self, finished: &Finished) -> Outcome {
        let why = match (self.verdict.fatal(), self.verdict.off(), &finished.end) {
            (Some(line), ..) => line.to_owned(),
            (None, Some(POWERED_OFF), End::PowerOff) => return Outcome::Off,
            (None, Some(reason), End::PowerOff) => {
                format!("the machine was switched off: {reason}")
            }
            (None, None, End::PowerOff) => {
                "the machine went off without a word of the hypervisor's".to_owned()
            }
            (None, _, end) => end.to_string(),
        };
        let mut report = format!("{why}\n--- end of the serial line ---\n{}", self.tail);
        let log = Tail::of(&finished.log).to_string();
        if !log.is_empty() {
            report.push_str("\n--- end of the emulator's log ---\n");
            report.push_str(&log);
        }
        Outcome::Failed(report)
    }
}

/// The last lines of a stream.
#[derive(Default)]
struct Tail(Vec<u8>);

impl Tail {
    fn of(text: &str) -> Tail {
        Tail(text.as_bytes().to_vec())
    }

    fn feed(&mut self, bytes: &[u8]) {
        self.0.extend_from_slice(bytes);
        if self.0.len() > 1 << 16 {
            self.0.drain(..self.0.len() - (1 << 15));
        }
    }
}

impl std::fmt::Display for Tail {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let text = String::from_utf8_lossy(&self.0);
        // Firmware clears the screen at each chance, which would wipe out what is shown here.
        let text = console::strip_ansi_codes(&text);
        let lines: Vec<String> = text
            .lines()
            .map(|line| line.chars().filter(|c| !c.is_control()).collect())
            .filter(|line: &String| !line.trim().is_empty())
            .collect();
        let from = lines.len().saturating_sub(TAIL);
        f.write_str(&lines[from..].join("\n"))
    }
}

fn read_stdin(events: Sender<Event>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        while let Ok(len @ 1..) = std::io::stdin().read(&mut buffer) {
            if events.send(Event::Input(buffer[..len].to_vec())).is_err() {
                return;
            }
        }
    });
}

fn watch_signals(events: Sender<Event>) -> Result<()> {
    let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).context("signal handlers")?;
    thread::spawn(move || {
        for signal in signals.forever() {
            if events.send(Event::Signal(signal)).is_err() {
                return;
            }
        }
    });
    Ok(())
}
