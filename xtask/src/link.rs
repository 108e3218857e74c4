//! The link to the hypervisor over the machine's second serial line: consoles of guests, commands and their answers.

#[cfg(test)]
pub(crate) mod tests;

use crate::machine::Control;
use crate::machine::serial::Keys;
use proto::{Answer, Command, Decoder, FromMachine, Message, ToMachine, VERSION};
use std::collections::BTreeMap;
use std::fmt;
use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// How long the machine may take to answer, by the wall clock: it does so within its next few milliseconds, which an
/// emulator may stretch.
const PATIENCE: Duration = Duration::from_secs(10);
/// How long after a hello the next one is sent, while nothing is heard.
const AGAIN: Duration = Duration::from_secs(1);
/// Bytes of input in one message; the machine accepts more.
const INPUT: usize = 1024;
/// Bytes of input that wait for the machine to come up.
const HELD: usize = 4096;

/// Takes what a VM, by its number, has written to its console.
pub type Printed = Box<dyn Fn(usize, &[u8]) + Send>;

/// Why there is no answer.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Silent {
    /// The first line has not said that the hypervisor is up
    NotUp,
    /// The hypervisor says nothing on the second line
    Deaf,
    /// It speaks another version of the protocol
    Version(u16),
    /// It did not answer in time
    Late,
    /// The line is closed
    Off,
}

impl fmt::Display for Silent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Silent::NotUp => f.write_str("The machine is not up yet."),
            Silent::Deaf => {
                f.write_str("The machine is up, but does not answer on its second serial port.")
            }
            Silent::Version(theirs) => write!(
                f,
                "The machine speaks version {theirs} of the protocol, and this xtask version {VERSION}."
            ),
            Silent::Late => write!(
                f,
                "The machine did not answer within {} seconds.",
                PATIENCE.as_secs()
            ),
            Silent::Off => f.write_str("The machine is off."),
        }
    }
}

/// One end of the line; clones are the same end.
#[derive(Clone)]
pub struct Link(Arc<Shared>);

struct Shared {
    keys: Keys,
    state: Mutex<State>,
    changed: Condvar,
}

struct State {
    peer: Peer,
    /// Who waits for the answer to which request
    waiting: BTreeMap<u32, Sender<Answer>>,
    next: u32,
    /// Input from before the machine was up
    held: Vec<(usize, Vec<u8>)>,
}

/// What is known of the other end.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Peer {
    /// There is firmware yet
    Down,
    /// It waits for a hello: nothing goes over the line while nobody is there
    Waits,
    Up {
        version: u16,
    },
    Off,
}

impl Link {
    /// Listens to the line until it is closed, from a thread of its own.
    #[must_use]
    pub fn new(control: Control, printed: Printed) -> Link {
        let link = Link(Arc::new(Shared {
            keys: control.keys,
            state: Mutex::new(State {
                peer: Peer::Down,
                waiting: BTreeMap::new(),
                next: 0,
                held: Vec::new(),
            }),
            changed: Condvar::new(),
        }));
        let ours = link.clone();
        thread::spawn(move || {
            let mut decoder = Decoder::new();
            while let Ok(Some(bytes)) = control.heard.recv() {
                for message in bytes.iter().filter_map(|&byte| decoder.push(byte)) {
                    ours.take(message, &printed);
                }
            }
            let mut state = ours.state();
            state.peer = Peer::Off;
            // Whoever waits learns it by the other end of his channel.
            state.waiting.clear();
            ours.0.changed.notify_all();
        });
        link
    }

    /// The first line has said that the hypervisor is up. Whatever is sent earlier is for the firmware.
    pub fn came_up(&self) {
        let mut state = self.state();
        if state.peer == Peer::Down {
            state.peer = Peer::Waits;
        }
    }

    /// Says hello until the machine does, too; from then on it sends the consoles.
    ///
    /// # Errors
    /// When it does not, or speaks another version.
    pub fn greet(&self, patience: Duration) -> Result<(), Silent> {
        let until = Instant::now() + patience;
        let mut state = self.state();
        loop {
            match state.peer {
                Peer::Up { version: VERSION } => return Ok(()),
                Peer::Up { version } => return Err(Silent::Version(version)),
                Peer::Down => return Err(Silent::NotUp),
                Peer::Off => return Err(Silent::Off),
                Peer::Waits if Instant::now() >= until => return Err(Silent::Deaf),
                Peer::Waits => {}
            }
            self.send(&ToMachine::Hello { version: VERSION });
            let left = until.saturating_duration_since(Instant::now());
            let unheard = |state: &mut State| state.peer == Peer::Waits;
            let waited = self
                .0
                .changed
                .wait_timeout_while(state, left.min(AGAIN), unheard);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
    }

    fn take(&self, message: FromMachine, printed: &Printed) {
        match message {
            FromMachine::Hello { version, .. } => {
                let mut state = self.state();
                state.peer = Peer::Up { version };
                let held = std::mem::take(&mut state.held);
                drop(state);
                self.0.changed.notify_all();
                for (vm, bytes) in held {
                    self.type_to(vm, &bytes);
                }
            }
            FromMachine::Console { vm, bytes } => printed(vm.into(), &bytes),
            // The first serial line carries it as well.
            FromMachine::Log { .. } => {}
            FromMachine::Reply { id, answer } => {
                let waiting = self.state().waiting.remove(&id);
                if let Some(waiting) = waiting {
                    // He may have lost patience.
                    let _ = waiting.send(answer);
                }
            }
        }
    }

    /// Types to the console of a VM, by its number.
    pub fn type_to(&self, vm: usize, bytes: &[u8]) {
        let mut state = self.state();
        match state.peer {
            Peer::Up { version: VERSION } => {}
            Peer::Down | Peer::Waits => {
                let held: usize = state.held.iter().map(|(_, bytes)| bytes.len()).sum();
                let room = HELD.saturating_sub(held).min(bytes.len());
                state.held.push((vm, bytes[..room].to_vec()));
                return;
            }
            Peer::Up { .. } | Peer::Off => return,
        }
        drop(state);
        let Ok(vm) = u16::try_from(vm) else { return };
        for bytes in bytes.chunks(INPUT) {
            let bytes = bytes.to_vec();
            self.send(&ToMachine::Input { vm, bytes });
        }
    }

    /// Has the machine carry out a command, and waits for its answer.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask(&self, command: Command) -> Result<Answer, Silent> {
        self.ask_within(command, PATIENCE)
    }

    /// The same, for who has another patience.
    ///
    /// # Errors
    /// When there is none.
    pub fn ask_within(&self, command: Command, patience: Duration) -> Result<Answer, Silent> {
        self.greet(patience)?;
        let off = command == Command::Off;
        let (answers, answer) = channel();
        let mut state = self.state();
        if state.peer == Peer::Off {
            return Err(Silent::Off);
        }
        let id = state.next;
        state.next = id.wrapping_add(1);
        state.waiting.insert(id, answers);
        drop(state);
        self.send(&ToMachine::Request { id, command });
        let answer = answer.recv_timeout(patience);
        self.state().waiting.remove(&id);
        match answer {
            Ok(answer) => Ok(answer),
            Err(RecvTimeoutError::Timeout) => Err(Silent::Late),
            // The line may close before the answer has passed it.
            Err(RecvTimeoutError::Disconnected) if off => {
                Ok(Answer::Done("The machine is off.".to_owned()))
            }
            Err(RecvTimeoutError::Disconnected) => Err(Silent::Off),
        }
    }

    fn send(&self, message: &impl Message) {
        // Ours are short enough: input is sent in pieces, and names come from a config.
        if let Ok(frame) = proto::frame(message) {
            self.0.keys.send(frame);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
