//! The user's terminal in raw mode, and always back again.

use anyhow::Result;
use rustix::stdio::stdin;
use rustix::termios::{OptionalActions, OutputModes, Termios, tcgetattr, tcsetattr};
use std::io::IsTerminal;
use std::sync::{Mutex, Once, PoisonError};

/// How the terminal was found, while it is in raw mode. Static because a panic hook must reach it: with
/// `panic = "abort"` no guard is dropped.
static FOUND: Mutex<Option<Termios>> = Mutex::new(None);

/// While it lives, keys come one by one, unseen and uninterpreted.
#[derive(Debug)]
pub(crate) struct Raw(());

impl Raw {
    /// Puts the terminal of stdin into raw mode; `None` if stdin is no terminal.
    ///
    /// # Errors
    /// When the terminal does not take the mode.
    pub(crate) fn enter() -> Result<Option<Raw>> {
        if !std::io::stdin().is_terminal() {
            return Ok(None);
        }
        let found = tcgetattr(stdin())?;
        let mut raw = found.clone();
        raw.make_raw();
        // A line feed without a carriage return would make stairs of our own messages.
        raw.output_modes |= OutputModes::OPOST | OutputModes::ONLCR;
        *FOUND.lock().unwrap_or_else(PoisonError::into_inner) = Some(found);
        restore_on_panic();
        tcsetattr(stdin(), OptionalActions::Flush, &raw)?;
        Ok(Some(Raw(())))
    }
}

impl Drop for Raw {
    fn drop(&mut self) {
        restore();
    }
}

fn restore() {
    if let Some(found) = FOUND.lock().unwrap_or_else(PoisonError::into_inner).take() {
        // Fails only when the terminal is gone.
        let _ = tcsetattr(stdin(), OptionalActions::Drain, &found);
    }
}

fn restore_on_panic() {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |panic| {
            restore();
            before(panic);
        }));
    });
}
