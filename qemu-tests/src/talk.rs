//! The talk with a machine over its two serial lines, by a script.

use crate::ends::Ends;
use crate::step::{Does, Hears, Step, Watched};
use anyhow::{Context, Result, bail};
use proto::{Answer, Command};
use std::collections::{BTreeMap, VecDeque};
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};
use xtask::ctl;
use xtask::link::{Link, Silent};
use xtask::machine::Running;
use xtask::machine::serial::{self, Keys};
use xtask::verdict::Verdict;
use xtask::watch::Watch;

/// An emulator that says nothing for so long by the wall clock is stuck itself: it ends at its limit of emulated
/// time, and where nothing happens that passes quickly.
const STUCK: Duration = Duration::from_secs(600);
/// After a fatal line its report is let through until the line is silent for so long.
const SILENCE: Duration = Duration::from_secs(1);
/// How long an answer may take by the wall clock, which means little for an emulator beside others.
const PATIENCE: Duration = Duration::from_secs(300);

/// What is said and heard.
pub(crate) struct Talk {
    script: VecDeque<Watched>,
    end: Option<Watch>,
    at_once: bool,
    verdict: Verdict,
    heard: Heard,
    /// Whether the script waits for an answer
    asking: bool,
    /// Whether the script needs the second line, and has not yet said hello there; else nothing goes over it
    greets: bool,
}

/// What was heard.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
    /// What each VM, by its number, wrote to its console
    pub(crate) consoles: BTreeMap<usize, Vec<u8>>,
    /// To each command of the script, in its order
    pub(crate) answers: Vec<Answer>,
    /// Steps of the script that were reached
    pub(crate) answered: usize,
}

/// Why one stopped listening.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Line {
    /// The emulator closed the line
    Closed,
    /// All was heard that the test wants to hear, or nothing more will come
    Left,
}

enum Event {
    Line(Option<Vec<u8>>),
    Console(usize, Vec<u8>),
    /// The second line is closed
    Silence,
    Answer(Result<Answer, Silent>),
}

/// Hands on what VMs print, and that the second line is closed, with which its reader drops this.
struct Words(Sender<Event>);

impl Drop for Words {
    fn drop(&mut self) {
        let _ = self.0.send(Event::Silence);
    }
}

/// The ways to the machine.
struct Mouth {
    keys: Keys,
    link: Link,
    events: Sender<Event>,
}

impl Talk {
    pub(crate) fn new(script: &[Step], ends: &Ends) -> Result<Talk> {
        Ok(Talk {
            script: script.iter().map(Watched::new).collect::<Result<_>>()?,
            end: ends.line().as_deref().map(Watch::new).transpose()?,
            at_once: ends.at_once(),
            verdict: Verdict::default(),
            heard: Heard::default(),
            asking: false,
            greets: script.iter().any(Step::needs_second_line),
        })
    }

    pub(crate) fn follow(&mut self, running: &mut Running) -> Result<Line> {
        let (events, queue) = channel();
        let words = Words(events.clone());
        let printed = move |vm, bytes: &[u8]| {
            // Nobody listens once all is heard that the test wants to hear.
            let _ = words.0.send(Event::Console(vm, bytes.to_vec()));
        };
        let control = running.take_control().context("the second line is taken")?;
        let mouth = Mouth {
            keys: Keys::new(running.serial()?),
            link: Link::new(control, Box::new(printed)),
            events: events.clone(),
        };
        serial::listen(running.serial()?, events, Event::Line);
        self.go_on(&mouth)?;
        let mut over = false;
        // Each is read by a thread of its own: what one has said last may come after the other's end.
        let mut open = 2;
        loop {
            match queue.recv_timeout(if over { SILENCE } else { STUCK }) {
                Ok(Event::Line(Some(_)) | Event::Console(..)) if running.overdue() => {
                    return Ok(Line::Left);
                }
                Ok(Event::Line(Some(piece))) => over |= self.hear(&piece, &mouth)?,
                Ok(Event::Console(vm, piece)) => {
                    self.heard.consoles.entry(vm).or_default().extend(&piece);
                    self.step(Hears::Console(vm), &piece, &mouth)?;
                }
                Ok(Event::Answer(answer)) => {
                    let answer = answer.map_err(|silent| self.failed(&silent.to_string()))?;
                    self.heard.answers.push(answer);
                    self.asking = false;
                    self.go_on(&mouth)?;
                }
                Ok(Event::Line(None) | Event::Silence) => open -= 1,
                Err(RecvTimeoutError::Disconnected) => return Ok(Line::Closed),
                Err(RecvTimeoutError::Timeout) if over => return Ok(Line::Left),
                Err(RecvTimeoutError::Timeout) => {
                    bail!(self.failed(&format!("nothing was heard for {STUCK:?}")))
                }
            }
            if open == 0 {
                return Ok(Line::Closed);
            }
        }
    }

    /// Whether nothing more needs to be heard.
    fn hear(&mut self, piece: &[u8], mouth: &Mouth) -> Result<bool> {
        self.heard.bytes.extend_from_slice(piece);
        self.verdict.feed(piece);
        if self.verdict.is_up() && std::mem::take(&mut self.greets) {
            mouth.link.came_up();
            let link = mouth.link.clone();
            // A step that waits for what never comes fails by itself.
            std::thread::spawn(move || link.greet(PATIENCE));
        }
        self.step(Hears::Line, piece, mouth)?;
        let end = self.end.as_mut().is_some_and(|end| end.feed(piece));
        Ok((end && self.at_once) | self.verdict.fatal().is_some())
    }

    /// What is heard while an answer is waited for counts for the step after it: one line may be quicker than the other.
    fn step(&mut self, heard: Hears, piece: &[u8], mouth: &Mouth) -> Result<()> {
        let mut piece = piece.to_vec();
        while let Some(step) = self.script.front_mut()
            && let Some(rest) = step.feed(heard, &piece)
        {
            self.go_on(mouth)?;
            piece = rest;
        }
        Ok(())
    }

    /// Does what is due.
    fn go_on(&mut self, mouth: &Mouth) -> Result<()> {
        while !self.asking && self.script.front().is_some_and(Watched::is_due) {
            self.act(mouth)?;
        }
        Ok(())
    }

    fn act(&mut self, mouth: &Mouth) -> Result<()> {
        let Some(step) = self.script.pop_front() else {
            return Ok(());
        };
        self.heard.answered += 1;
        match step.does {
            Does::Send(text) => mouth.keys.send(text.into_bytes()),
            Does::Type(vm, text) => mouth.link.type_to(vm, text.as_bytes()),
            Does::Ask(words) => {
                self.asking = true;
                mouth.ask(ctl::command(&words)?);
            }
            Does::Command(command) => {
                self.asking = true;
                mouth.ask(command);
            }
        }
        Ok(())
    }

    fn failed(&self, why: &str) -> anyhow::Error {
        anyhow::anyhow!("{why}\n{}", String::from_utf8_lossy(&self.heard.bytes))
    }

    pub(crate) fn into_heard(self) -> Heard {
        self.heard
    }
}

impl Mouth {
    /// Asks from a thread of its own; the answer comes as an event.
    fn ask(&self, command: Command) {
        let (link, events) = (self.link.clone(), self.events.clone());
        std::thread::spawn(move || {
            let until = Instant::now() + PATIENCE;
            let answer = loop {
                match link.ask_within(command.clone(), PATIENCE) {
                    // A step may come before it.
                    Err(Silent::NotUp) if Instant::now() < until => {
                        std::thread::sleep(Duration::from_millis(20));
                    }
                    answer => break answer,
                }
            };
            let _ = events.send(Event::Answer(answer));
        });
    }
}
