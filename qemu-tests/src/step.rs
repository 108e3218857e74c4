//! A step of a test's script.

use proto::Command;
use xtask::watch::Watch;

/// What is waited for, and what is done then.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    pub(crate) hears: Hears,
    /// A regular expression; an empty one is not waited for
    pub(crate) after: String,
    pub(crate) does: Does,
}

/// Where it is waited for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Hears {
    /// The machine's serial line
    Line,
    /// The console of a VM, by its number, on the second line
    Console(usize),
}

/// What is done.
#[derive(Clone, Debug)]
pub(crate) enum Does {
    /// Keys for the machine's serial line
    Send(String),
    /// Keys for the console of a VM, on the second line
    Type(usize, String),
    /// A command over the second line, whose answer is waited for
    Ask(String),
    /// The same, by a command that has no words
    Command(Command),
}

impl Step {
    /// Whether it needs the machine's second line.
    pub(crate) fn needs_second_line(&self) -> bool {
        self.hears != Hears::Line || !matches!(self.does, Does::Send(_))
    }
}

/// A step that is watched for.
pub(crate) struct Watched {
    hears: Hears,
    after: Option<Watch>,
    pub(crate) does: Does,
}

impl Watched {
    pub(crate) fn new(step: &Step) -> anyhow::Result<Watched> {
        let waits = !step.after.is_empty();
        Ok(Watched {
            hears: step.hears,
            after: waits.then(|| Watch::new(&step.after)).transpose()?,
            does: step.does.clone(),
        })
    }

    /// Whether nothing is waited for any more.
    pub(crate) fn is_due(&self) -> bool {
        self.after.is_none()
    }

    /// Looks for what is waited for; the step is due once it was seen. Gives what was heard behind it, which is the next step's.
    pub(crate) fn feed(&mut self, heard: Hears, piece: &[u8]) -> Option<Vec<u8>> {
        let after = self.after.as_mut().filter(|_| self.hears == heard)?;
        if !after.feed(piece) {
            return None;
        }
        let rest = after.rest().to_vec();
        self.after = None;
        Some(rest)
    }
}
