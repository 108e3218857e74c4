//! A machine that is booted to be watched, and nobody's console.

use crate::link::Link;
use crate::machine::{Running, serial};
use crate::run::tail::Tail;
use crate::verdict::Verdict;
use anyhow::{Context, Result, anyhow};
use proto::{Answer, Command};
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::Duration;

/// How long an emulator may take to end once the machine is off.
const GRACE: Duration = Duration::from_secs(10);
/// How long an answer may take by the wall clock, which means little for an emulator.
const PATIENCE: Duration = Duration::from_secs(120);
/// After a fatal line the rest of its report is let through until the line is silent for so long.
const SILENCE: Duration = Duration::from_secs(1);

/// A machine that is up.
pub struct Own {
    link: Link,
    running: Running,
    tail: Arc<Mutex<Tail>>,
}

/// Reads the first serial line.
struct Listener {
    link: Link,
    verdict: Verdict,
    tail: Arc<Mutex<Tail>>,
}

impl Own {
    /// Waits until the hypervisor is up.
    ///
    /// # Errors
    /// When it does not come up; the error shows the end of the serial line.
    pub fn up(mut running: Running) -> Result<Own> {
        let control = running.take_control().context("the second line is taken")?;
        let link = Link::new(control, Box::new(|_, _| {}));
        let (pieces, queue) = channel();
        serial::listen(running.serial()?, pieces, |piece| piece);
        let tail = Arc::new(Mutex::new(Tail::default()));
        let listener = Listener {
            link: link.clone(),
            verdict: Verdict::default(),
            tail: Arc::clone(&tail),
        };
        let (up, is_up) = channel();
        thread::spawn(move || listener.listen(&queue, &up));
        let own = Own {
            link,
            running,
            tail,
        };
        match is_up.recv() {
            Ok(()) => Ok(own),
            Err(_) => Err(own.failed(anyhow!("the hypervisor did not come up"))),
        }
    }

    /// Has the machine carry out a command.
    ///
    /// # Errors
    /// When it does not answer; the error shows the end of the serial line.
    pub fn ask(&self, command: Command) -> Result<Answer> {
        let answer = self.link.ask_within(command, PATIENCE);
        answer.map_err(|silent| self.failed(anyhow!("{silent}")))
    }

    /// Switches the machine off.
    ///
    /// # Errors
    /// When it does not answer, or its emulator cannot be waited for.
    pub fn off(self) -> Result<()> {
        self.ask(Command::Off)?;
        self.running.finish(GRACE)?;
        Ok(())
    }

    fn failed(&self, why: anyhow::Error) -> anyhow::Error {
        let tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
        anyhow!("{why}\n--- end of the serial line ---\n{tail}")
    }
}

impl Listener {
    /// Reads until the line is closed, or nothing more will come; says when the hypervisor is up.
    fn listen(mut self, queue: &Receiver<Option<Vec<u8>>>, up: &Sender<()>) {
        let mut told = false;
        loop {
            let fatal = self.verdict.fatal().is_some();
            let patience = if fatal { SILENCE } else { Duration::MAX };
            let piece = match queue.recv_timeout(patience) {
                Ok(Some(piece)) => piece,
                Err(RecvTimeoutError::Timeout) if !fatal => continue,
                _ => return,
            };
            self.verdict.feed(&piece);
            let mut tail = self.tail.lock().unwrap_or_else(PoisonError::into_inner);
            tail.feed(&piece);
            drop(tail);
            if self.verdict.is_up() && !told {
                self.link.came_up();
                told = true;
                // He who waits may have gone.
                let _ = up.send(());
            }
        }
    }
}
