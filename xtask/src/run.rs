//! `cargo xtask run`: joins the user's terminal, or a pipe, with the serial console of a machine.

mod management;
mod pump;
pub(crate) mod tail;

use crate::consoles::Kind;
use crate::machine::Running;
use crate::machine::serial;
use crate::report::Reporter;
use crate::terminal::Raw;
use anyhow::{Context, Result};
use management::Management;
use pump::Pump;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use std::io::Read;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread;
use std::time::Duration;

/// How long an emulator may take to end once the machine is off.
const GRACE: Duration = Duration::from_secs(10);

/// When to send, when to stop, what to keep.
#[derive(Clone, Debug)]
pub struct Session {
    /// Input is held until this is seen
    pub after: String,
    /// The run has succeeded when this is seen
    pub until: Option<String>,
    /// Whether the machine has a limit of its own
    pub limited: bool,
    /// A copy of the serial line goes here
    pub log: Option<PathBuf>,
    /// Give each VM a console of its own
    pub consoles: Option<Kind>,
    /// Names of the VMs, in the order of the plan
    pub vms: Vec<String>,
    /// The hypervisor that runs, by which the addresses of its report are resolved
    pub hypervisor: Option<PathBuf>,
}

/// How a run ended for the user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Outcome {
    /// The last guest has powered off, and the machine with it; or the user has ordered it to go off
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
    /// Standard input ended before its first byte
    NoInput,
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
    pub fn join(&self, mut running: Running) -> Result<Outcome> {
        let mut pump = Pump::new(self, &running)?;
        let control = running.take_control();
        let management = control
            .map(|control| Management::open(control, self.consoles, &self.vms, &Reporter::new()))
            .transpose()?;
        let (events, queue) = channel();
        serial::listen(running.serial()?, events.clone(), Event::Output);
        watch_signals(events.clone())?;
        let raw = Raw::enter()?;
        read_stdin(events);
        let mut told = false;
        loop {
            let step = match queue.recv_timeout(Duration::from_millis(100)) {
                Ok(event) => pump.take(event)?,
                Err(RecvTimeoutError::Timeout) => Step::Go,
                Err(RecvTimeoutError::Disconnected) => Step::Closed,
            };
            if pump.verdict.is_up()
                && let Some(management) = management.as_ref().filter(|_| !told)
            {
                management.came_up();
                told = true;
            }
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

fn read_stdin(events: Sender<Event>) {
    thread::spawn(move || {
        let mut buffer = [0; 4096];
        let mut any = false;
        while let Ok(len @ 1..) = std::io::stdin().read(&mut buffer) {
            any = true;
            if events.send(Event::Input(buffer[..len].to_vec())).is_err() {
                return;
            }
        }
        if !any {
            let _ = events.send(Event::NoInput);
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
