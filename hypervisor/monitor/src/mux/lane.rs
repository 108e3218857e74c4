//! What one guest has written: held until it is shown, and, among others, put together to lines.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of bytes that are in memory"
)]

use crate::escape::{Escape, Part};
use alloc::collections::VecDeque;
use alloc::vec::Vec;
use spec::Ticks;

/// Bytes that are held.
pub(super) const HELD: usize = 4 * 1024;
/// Bytes of an unfinished line that are put together; a longer line is shown in pieces.
const TEXT: usize = 256;

const BACKSPACE: u8 = 0x08;
const BEL: u8 = 0x07;

/// The output of one guest on its way.
#[derive(Debug)]
pub(super) struct Lane {
    held: VecDeque<u8>,
    /// Some of it was dropped, for want of room, while it was not shown.
    cut: bool,
    /// When the guest last wrote
    heard: Ticks,
    /// What is in order of its present line and not yet shown
    text: Vec<u8>,
    /// Some of its present line has been shown.
    begun: bool,
    /// It is to go on at the start of its line.
    returned: bool,
    /// How far from the start of its line it is at least
    column: usize,
    escape: Escape,
}

/// What a byte is among lines of others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Step {
    /// Part of a line, or left out
    Within,
    /// There is enough to be shown in any case.
    Full,
    /// The end of a line
    End,
}

impl Lane {
    pub(super) fn new() -> Self {
        Self {
            held: VecDeque::with_capacity(HELD),
            cut: false,
            heard: Ticks(0),
            text: Vec::new(),
            begun: false,
            returned: false,
            column: 0,
            escape: Escape::default(),
        }
    }

    /// Bytes that can be held besides those that are.
    pub(super) fn room(&self) -> usize {
        HELD.saturating_sub(self.held.len())
    }

    /// Holds what the guest has written: the first that fit if it is shown, the last if not.
    pub(super) fn take(&mut self, bytes: &[u8], shown: bool, now: Ticks) {
        if bytes.is_empty() {
            return;
        }
        self.heard = now;
        let lost = bytes.len().saturating_sub(self.room());
        if shown || lost == 0 {
            let kept = bytes.len() - lost;
            self.held.extend(bytes.iter().take(kept));
            return;
        }
        self.cut = true;
        let old = lost.min(self.held.len());
        self.held.drain(..old);
        self.held.extend(bytes.iter().skip(lost - old));
    }

    /// It is shown from now on; says whether what it wrote before has been cut. What is left then begins with a line.
    pub(super) fn uncover(&mut self) -> bool {
        let cut = core::mem::take(&mut self.cut);
        let line = self.held.iter().position(|byte| *byte == b'\n');
        if let Some(end) = line.filter(|_| cut) {
            self.held.drain(..=end);
            self.begun = false;
        }
        self.escape = Escape::default();
        self.returned = false;
        self.column = 0;
        cut
    }

    pub(super) fn has_held(&self) -> bool {
        !self.held.is_empty()
    }

    pub(super) fn next(&mut self) -> Option<u8> {
        self.held.pop_front()
    }

    pub(super) fn heard(&self) -> Ticks {
        self.heard
    }

    pub(super) fn has_text(&self) -> bool {
        !self.text.is_empty()
    }

    /// Takes the text that is in order; says also whether it goes on with a line that was begun.
    pub(super) fn take_text(&mut self) -> (Vec<u8>, bool) {
        let begun = core::mem::replace(&mut self.begun, true);
        (core::mem::take(&mut self.text), begun)
    }

    /// Whether some of its present line has been shown.
    pub(super) fn is_begun(&self) -> bool {
        self.begun
    }

    /// It has been shown as it is.
    pub(super) fn showed(&mut self, byte: u8) {
        self.begun = byte != b'\n';
    }

    /// Its line has ended.
    pub(super) fn end(&mut self) {
        self.begun = false;
        self.returned = false;
        self.column = 0;
    }

    /// Puts a byte in order. Escape sequences are left out, since they would move the cursor in lines of others, and questions among them
    /// would have the terminal answer somebody else; a return to the start of the line goes back to behind its `prefix`.
    pub(super) fn order(&mut self, byte: u8, prefix: impl FnOnce() -> Vec<u8>) -> Step {
        match self.escape.push(byte) {
            Part::Control(b'\n') => return Step::End,
            Part::Control(b'\r') => self.returned = true,
            // Not further than to where the line began: the name is ours.
            Part::Control(BACKSPACE) if !self.returned => {
                if let Some(column) = self.column.checked_sub(1) {
                    self.column = column;
                    self.text.push(byte);
                }
            }
            Part::Control(BEL) => self.text.push(byte),
            Part::Text(_) | Part::Control(b'\t') => {
                if core::mem::take(&mut self.returned) && self.column_was_left() {
                    self.text.push(b'\r');
                    self.text.extend(prefix());
                    self.column = 0;
                }
                self.text.push(byte);
                // A tab is at least one column; of UTF-8 the first byte alone counts.
                self.column += usize::from(byte & 0xc0 != 0x80);
            }
            Part::Control(_) | Part::Within | Part::Sequence(..) => {}
        }
        if self.text.len() < TEXT {
            Step::Within
        } else {
            Step::Full
        }
    }

    /// Whether there is anything on the line to go back over.
    fn column_was_left(&self) -> bool {
        self.column != 0 || self.begun || !self.text.is_empty()
    }
}
