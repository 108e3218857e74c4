//! A line editor on bytes: what is typed goes in, what the terminal shall show comes out.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "places in a line of ASCII of LONGEST bytes"
)]
#![expect(
    clippy::indexing_slicing,
    clippy::string_slice,
    reason = "the line is ASCII, and the cursor is in it"
)]

mod keys;

use crate::command::{common, complete};
use crate::escape::Escape;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use keys::Key;

/// What stands before a line.
pub const PROMPT: &str = "bulkhead> ";
/// The longest line. It fits on a terminal of 80 columns with what stands before it.
pub const LONGEST: usize = 64;
/// Lines that are remembered.
const HISTORY: usize = 32;

/// What a key has led to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Entered {
    /// Nothing yet
    Nothing,
    /// A line; the terminal is at the start of the next
    Line(String),
    /// The end of the conversation: Ctrl-D on an empty line
    Leave,
}

/// A line that is being edited, and those that were.
#[derive(Debug, Default)]
pub struct Prompt {
    /// Printable ASCII only, so that its bytes are its columns
    line: String,
    /// Where the next character goes
    cursor: usize,
    /// The last line at the back
    history: VecDeque<String>,
    /// How many lines back the one shown is
    back: usize,
    /// What was being edited before going back
    kept: String,
    escape: Escape,
    /// The last key was a carriage return, so that a line feed is its second half.
    returned: bool,
}

impl Prompt {
    /// An empty line without history.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Shows the line, on a terminal that is at the start of a line.
    pub fn draw(&self, out: &mut impl Extend<u8>) {
        put(out, &format!("\r{PROMPT}{}\x1b[K", self.line));
        let behind = self.line.len() - self.cursor;
        if behind != 0 {
            put(out, &format!("\x1b[{behind}D"));
        }
    }

    /// Takes a byte of what is typed. `names` are those of the VMs, for completion.
    pub fn typed<N: AsRef<str>>(
        &mut self,
        byte: u8,
        names: &[N],
        out: &mut impl Extend<u8>,
    ) -> Entered {
        let key = keys::key(self.escape.push(byte));
        let second_half = byte == b'\n' && self.returned;
        self.returned = byte == b'\r';
        match key {
            Key::Enter if !second_half => return self.enter(out),
            Key::Text(c) => self.insert(c, out),
            Key::Complete => self.complete(names, out),
            Key::EndOfInput if self.line.is_empty() => {
                put(out, "\r\n");
                return Entered::Leave;
            }
            Key::Cancel => {
                put(out, "^C\r\n");
                self.set(String::new());
                self.back = 0;
                self.draw(out);
            }
            Key::Enter | Key::Nothing => {}
            _ => {
                if self.edit(key) {
                    self.draw(out);
                }
            }
        }
        Entered::Nothing
    }

    fn enter(&mut self, out: &mut impl Extend<u8>) -> Entered {
        put(out, "\r\n");
        let line = core::mem::take(&mut self.line);
        self.cursor = 0;
        self.back = 0;
        if !line.trim().is_empty() && self.history.back() != Some(&line) {
            if self.history.len() == HISTORY {
                self.history.pop_front();
            }
            self.history.push_back(line.clone());
        }
        Entered::Line(line)
    }

    fn insert(&mut self, c: char, out: &mut impl Extend<u8>) {
        if self.line.len() >= LONGEST {
            put(out, "\x07");
            return;
        }
        self.line.insert(self.cursor, c);
        self.cursor += 1;
        if self.cursor == self.line.len() {
            out.extend([c as u8]);
        } else {
            self.draw(out);
        }
    }

    /// Carries out a key that changes the line or the cursor; says whether it did.
    fn edit(&mut self, key: Key) -> bool {
        let end = self.line.len();
        match key {
            Key::Left if self.cursor > 0 => self.cursor -= 1,
            Key::Right if self.cursor < end => self.cursor += 1,
            Key::Home => self.cursor = 0,
            Key::End => self.cursor = end,
            Key::Backspace if self.cursor > 0 => {
                self.cursor -= 1;
                self.line.remove(self.cursor);
            }
            Key::Delete | Key::EndOfInput if self.cursor < end => {
                self.line.remove(self.cursor);
            }
            Key::KillBefore => {
                self.line.drain(..self.cursor);
                self.cursor = 0;
            }
            Key::KillAfter => self.line.truncate(self.cursor),
            Key::KillWord => {
                let before = self.line[..self.cursor].trim_end();
                let start = before.rfind(' ').map_or(0, |space| space + 1);
                self.line.drain(start..self.cursor);
                self.cursor = start;
            }
            Key::Up if self.back < self.history.len() => {
                if self.back == 0 {
                    self.kept = self.line.clone();
                }
                self.back += 1;
                self.recall();
            }
            Key::Down if self.back > 0 => {
                self.back -= 1;
                self.recall();
            }
            Key::Redraw => {}
            _ => return false,
        }
        true
    }

    /// Shows the line that is `back` lines back.
    fn recall(&mut self) {
        let line = match self.back.checked_sub(1) {
            None => core::mem::take(&mut self.kept),
            Some(older) => {
                let line = self.history.iter().rev().nth(older);
                line.cloned().unwrap_or_default()
            }
        };
        self.set(line);
    }

    fn set(&mut self, line: String) {
        self.cursor = line.len();
        self.line = line;
    }

    fn complete<N: AsRef<str>>(&mut self, names: &[N], out: &mut impl Extend<u8>) {
        let (begun, mut words) = complete(&self.line[..self.cursor], names);
        words.retain(|word| word.bytes().all(|c| c.is_ascii_graphic()));
        let more = words
            .first()
            .and_then(|word| word.get(begun..common(&words)));
        let Some(more) = more else {
            put(out, "\x07");
            return;
        };
        let mut more = String::from(more);
        // What ends so needs a value right behind it.
        if words.len() == 1 && !words[0].ends_with('=') {
            more.push(' ');
        }
        if more.is_empty() {
            put(out, "\r\n");
            for word in &words {
                put(out, word);
                put(out, "  ");
            }
            put(out, "\r\n");
        }
        if self.line.len() + more.len() <= LONGEST {
            self.line.insert_str(self.cursor, &more);
            self.cursor += more.len();
        }
        self.draw(out);
    }
}

fn put(out: &mut impl Extend<u8>, text: &str) {
    out.extend(text.bytes());
}

#[cfg(test)]
mod tests;
