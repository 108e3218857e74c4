//! What xtask tells the user while it works: a line a step, and how far a long step has come.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt::Display;
use std::io::IsTerminal;

/// Where steps are told: standard error, since standard output belongs to the guest.
#[derive(Clone, Debug)]
pub struct Reporter {
    terminal: bool,
}

impl Reporter {
    /// A reporter on standard error, with bars only where that is a terminal.
    #[must_use]
    pub fn new() -> Self {
        Self {
            terminal: std::io::stderr().is_terminal(),
        }
    }

    /// One line about one step.
    pub fn say(&self, subject: &str, text: impl Display) {
        eprintln!("{subject}: {text}");
    }

    /// One line about what the user should know but need not mend now.
    pub fn warn(&self, text: impl Display) {
        if self.terminal {
            eprintln!("{} {text}", console::style("warning:").yellow().bold());
        } else {
            eprintln!("warning: {text}");
        }
    }

    /// Begins a step that takes a while and comes to its end after `length` units.
    #[must_use]
    pub fn progress(&self, subject: &str, text: impl Display, length: u64) -> Progress {
        if !self.terminal {
            self.say(subject, &text);
        }
        let target = if self.terminal {
            ProgressDrawTarget::stderr()
        } else {
            ProgressDrawTarget::hidden()
        };
        let bar = ProgressBar::with_draw_target(Some(length), target);
        if let Ok(style) =
            ProgressStyle::with_template("{prefix}: {msg} [{bar:30}] {percent:>3} % {elapsed}")
        {
            bar.set_style(style.progress_chars("=> "));
        }
        bar.set_prefix(subject.to_owned());
        bar.set_message(text.to_string());
        bar.tick();
        Progress(bar)
    }
}

impl Default for Reporter {
    fn default() -> Self {
        Self::new()
    }
}

/// A step under way; its bar goes when this is dropped.
#[derive(Debug)]
pub struct Progress(ProgressBar);

impl Progress {
    /// So many units are done.
    pub fn set(&self, position: u64) {
        self.0.set_position(position);
    }

    /// One more unit is done.
    pub fn advance(&self) {
        self.0.inc(1);
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}
