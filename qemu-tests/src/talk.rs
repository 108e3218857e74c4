//! The talk with a machine over its serial line, by a script.

use crate::ends::Ends;
use anyhow::{Result, bail};
use std::collections::VecDeque;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;
use xtask::machine::Running;
use xtask::machine::serial::{self, Keys};
use xtask::verdict::Verdict;
use xtask::watch::Watch;

/// An emulator that says nothing for so long by the wall clock is stuck itself: it ends at its limit of emulated
/// time, and where nothing happens that passes quickly.
const STUCK: Duration = Duration::from_secs(600);
/// After a fatal line its report is let through until the line is silent for so long.
const SILENCE: Duration = Duration::from_secs(1);

/// What is said and heard.
pub(crate) struct Talk {
    script: VecDeque<(Watch, String)>,
    end: Option<Watch>,
    at_once: bool,
    verdict: Verdict,
    heard: Heard,
}

/// What was heard.
#[derive(Default)]
pub(crate) struct Heard {
    pub(crate) bytes: Vec<u8>,
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

impl Talk {
    pub(crate) fn new(script: &[(String, String)], ends: &Ends) -> Result<Talk> {
        let steps = script
            .iter()
            .map(|(after, text)| Ok((Watch::new(after)?, text.clone())));
        Ok(Talk {
            script: steps.collect::<Result<_>>()?,
            end: ends.line().as_deref().map(Watch::new).transpose()?,
            at_once: ends.at_once(),
            verdict: Verdict::default(),
            heard: Heard::default(),
        })
    }

    pub(crate) fn follow(&mut self, running: &Running) -> Result<Line> {
        let keys = Keys::new(running.serial()?);
        let (pieces, queue) = channel();
        serial::listen(running.serial()?, pieces, |piece| piece);
        let mut over = false;
        loop {
            match queue.recv_timeout(if over { SILENCE } else { STUCK }) {
                Ok(Some(_)) if running.overdue() => return Ok(Line::Left),
                Ok(Some(piece)) => over |= self.hear(&piece, &keys),
                Ok(None) | Err(RecvTimeoutError::Disconnected) => return Ok(Line::Closed),
                Err(RecvTimeoutError::Timeout) if over => return Ok(Line::Left),
                Err(RecvTimeoutError::Timeout) => bail!(
                    "nothing was heard for {STUCK:?}\n{}",
                    String::from_utf8_lossy(&self.heard.bytes)
                ),
            }
        }
    }

    /// Whether nothing more needs to be heard.
    fn hear(&mut self, piece: &[u8], keys: &Keys) -> bool {
        self.heard.bytes.extend_from_slice(piece);
        if let Some((after, text)) = self.script.front_mut()
            && after.feed(piece)
        {
            keys.send(std::mem::take(text).into_bytes());
            self.script.pop_front();
            self.heard.answered += 1;
        }
        self.verdict.feed(piece);
        let end = self.end.as_mut().is_some_and(|end| end.feed(piece));
        (end && self.at_once) | self.verdict.fatal().is_some()
    }

    pub(crate) fn into_heard(self) -> Heard {
        self.heard
    }
}
