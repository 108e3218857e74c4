//! The machine's one serial line: the consoles of all guests, the hypervisor's log, the monitor.
//!
//! What a guest writes waits in its `Lane` until it is shown; from there it goes into `out` only a little ahead of the line, so that
//! a change of view shows at once and a guest cannot fill the machine's memory. Our own lines go into `out` straight away.

mod escape_key;
mod lane;
mod show;

use crate::command::{self, Asked};
use crate::prompt::{Entered, Prompt};
use crate::render;
use alloc::borrow::ToOwned;
use alloc::collections::VecDeque;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use lane::Lane;
use proto::{Answer, Command, MachineTimes};
use spec::{Hz, Ticks};

/// The escape key, Ctrl-T.
pub const ESCAPE: u8 = 0x14;

/// Bytes of a guest that are put in order ahead of the line: some 10 ms of it at 115200 baud. The core that does it does nothing else
/// meanwhile.
const AHEAD: usize = 128;
/// Bytes that may wait for the line before the log has to.
const LOG: usize = 16 * 1024;
/// Bytes that may wait for the line. What is more is cut: only somebody who asks on and reads nothing gets there.
const MOST: usize = 256 * 1024;
/// How long a guest has to be silent before its unfinished line is shown among others.
const SILENCE_NANOS: u64 = 50_000_000;

/// What a key that was typed is for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Typed {
    /// It was for the multiplexer, or only part of something
    Nothing,
    /// A byte for the VM with this number
    ToVm(usize, u8),
    /// A command for the machine, whose answer is to be given to [`Mux::answer`]
    Command(Command),
}

/// What the line shows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum View {
    /// The console of the chosen VM, as it is
    One,
    /// All consoles, line by line, each with its name
    All,
    /// The monitor's prompt
    Monitor,
}

/// What the line was left with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Open {
    /// At the start of a line
    No,
    /// In a line of this VM
    Vm(usize),
    /// In the monitor's prompt
    Prompt,
}

/// Multiplexes the line.
#[derive(Debug)]
pub struct Mux {
    names: Vec<String>,
    /// Columns of the longest name
    width: usize,
    lanes: Vec<Lane>,
    view: View,
    /// What to go back to from the monitor
    before: View,
    /// The VM that was chosen last
    chosen: usize,
    /// The escape key was the last.
    escaped: bool,
    prompt: Prompt,
    out: VecDeque<u8>,
    open: Open,
    /// Whose turn it is where several have something to show
    turn: usize,
    silence: Ticks,
    /// What the last `top` was told: the next shows what went on since
    times: Option<MachineTimes>,
}

impl Mux {
    /// A line for VMs of these names: the console of the only one, or all consoles.
    #[must_use]
    pub fn new<N: AsRef<str>>(names: &[N], tsc: Hz) -> Self {
        let names: Vec<String> = names.iter().map(|name| name.as_ref().to_owned()).collect();
        let mut mux = Self {
            width: names.iter().map(String::len).max().unwrap_or(0),
            lanes: names.iter().map(|_| Lane::new()).collect(),
            view: View::One,
            before: View::One,
            chosen: 0,
            escaped: false,
            prompt: Prompt::new(),
            out: VecDeque::with_capacity(AHEAD),
            open: Open::No,
            turn: 0,
            silence: tsc.ticks(SILENCE_NANOS),
            times: None,
            names,
        };
        match mux.names.len() {
            0 => mux.view_monitor(),
            1 => {}
            _ => mux.view_all(),
        }
        mux
    }

    /// Takes a byte that was typed.
    pub fn typed(&mut self, byte: u8, now: Ticks) -> Typed {
        let typed = if core::mem::take(&mut self.escaped) {
            self.after_escape(byte)
        } else if byte == ESCAPE {
            self.escaped = true;
            Typed::Nothing
        } else if self.view == View::Monitor {
            self.at_prompt(byte)
        } else {
            Typed::ToVm(self.chosen, byte)
        };
        self.tick(now);
        typed
    }

    /// Bytes that may be given to [`Self::vm_output`] for a VM now. Of a VM that is not shown all are taken, and the last are kept.
    #[must_use]
    pub fn room(&self, vm: usize) -> usize {
        let Some(lane) = self.lanes.get(vm) else {
            return 0;
        };
        if self.is_shown(vm) {
            lane.room()
        } else {
            lane::HELD
        }
    }

    /// Takes what a VM has written, as far as there is [`Self::room`]; what is more is lost.
    pub fn vm_output(&mut self, vm: usize, bytes: &[u8], now: Ticks) {
        let shown = self.is_shown(vm);
        if let Some(lane) = self.lanes.get_mut(vm) {
            lane.take(bytes, shown, now);
        }
        self.advance(AHEAD);
    }

    /// Whether there is room for the log. A line that is given all the same may be cut.
    #[must_use]
    pub fn takes_log(&self) -> bool {
        self.out.len() < LOG
    }

    /// Shows a line of the log, whatever is shown else, behind what guests wrote before it.
    pub fn log_line(&mut self, line: &str) {
        self.advance(LOG);
        self.fresh_line();
        self.put(line.bytes());
        self.put(*b"\r\n");
        self.redraw();
    }

    /// Shows the answer to a command.
    pub fn answer(&mut self, answer: &Answer) {
        match answer {
            Answer::Times(times) => {
                let text = render::top(times, self.times.as_ref());
                self.times = Some(times.clone());
                self.text(&text);
            }
            _ => self.text(&render::render(answer)),
        }
        self.redraw();
    }

    /// To be called when the time that it gave last has come, or at any other: shows unfinished lines of guests that have fallen silent.
    /// Gives the time at which it is to be called again, if there is anything to wait for; a time that has come means that there is
    /// something new to send.
    pub fn tick(&mut self, now: Ticks) -> Option<Ticks> {
        if self.view != View::All {
            return None;
        }
        let mut next: Option<Ticks> = None;
        for vm in 0..self.lanes.len() {
            // What is held goes on with the line once there is room.
            let waits = |lane: &&Lane| lane.has_text() && !lane.has_held();
            let Some(lane) = self.lanes.get(vm).filter(waits) else {
                continue;
            };
            let due = lane.heard().after(self.silence);
            let due = if due > now {
                due
            } else {
                self.show_text(vm);
                now
            };
            next = Some(next.map_or(due, |next| next.min(due)));
        }
        next
    }

    /// The next byte for the line.
    pub fn pop(&mut self) -> Option<u8> {
        if self.out.len() < AHEAD / 2 {
            self.advance(AHEAD);
        }
        self.out.pop_front()
    }

    /// The next byte that was ready for the line: for the last words of a machine that has died, whose heap cannot be used.
    pub fn rescue(&mut self) -> Option<u8> {
        self.out.pop_front()
    }

    /// Whether there are bytes for the line.
    #[must_use]
    pub fn has_output(&self) -> bool {
        let mut lanes = self.lanes.iter().enumerate();
        !self.out.is_empty() || lanes.any(|(vm, lane)| self.is_shown(vm) && lane.has_held())
    }

    /// Shows the unfinished lines of guests too, since nothing will finish them, and takes the prompt away: before the machine goes off.
    pub fn finish(&mut self) {
        if self.view == View::Monitor {
            self.fresh_line();
            self.view = self.before;
        }
        self.advance(MOST);
        if self.view == View::All {
            for vm in 0..self.lanes.len() {
                self.show_text(vm);
            }
        }
    }

    /// Gives a byte to the prompt.
    fn at_prompt(&mut self, byte: u8) -> Typed {
        if self.out.len() >= MOST {
            return Typed::Nothing;
        }
        match self.prompt.typed(byte, &self.names, &mut self.out) {
            Entered::Nothing => self.open = Open::Prompt,
            Entered::Leave => {
                self.open = Open::No;
                match self.before {
                    View::One => self.view_one(self.chosen),
                    View::All => self.view_all(),
                    View::Monitor => self.redraw(),
                }
            }
            Entered::Line(line) => {
                self.open = Open::No;
                let words: Vec<&str> = line.split_whitespace().collect();
                if words.is_empty() {
                    self.redraw();
                    return Typed::Nothing;
                }
                match command::parse(&words, &self.names) {
                    Ok(Asked::Machine(command)) => return Typed::Command(command),
                    Ok(Asked::Help(text)) => self.text(&text),
                    Err(refusal) => self.text(&format!("{refusal}\n")),
                }
                self.redraw();
            }
        }
        Typed::Nothing
    }
}

#[cfg(test)]
mod tests;
