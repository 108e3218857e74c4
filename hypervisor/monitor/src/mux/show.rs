//! How what guests wrote goes onto the line.

use super::lane::Step;
use super::{MOST, Mux, Open, View};
use alloc::vec::Vec;

/// What stands between a VM's name and its text: where a line begins, and where one goes on that others have interrupted.
const BEGINS: &[u8] = b" | ";
const GOES_ON: &[u8] = b" + ";
/// Bytes of a VM that are shown before it is another's turn.
const TURN: usize = 256;

impl Mux {
    pub(super) fn is_shown(&self, vm: usize) -> bool {
        match self.view {
            View::One => vm == self.chosen,
            View::All => true,
            View::Monitor => false,
        }
    }

    /// Puts in order what is held and shown, until so many bytes wait for the line.
    pub(super) fn advance(&mut self, ahead: usize) {
        match self.view {
            View::Monitor => {}
            View::One => {
                let vm = self.chosen;
                while self.out.len() < ahead
                    && let Some(byte) = self.lanes.get_mut(vm).and_then(|lane| lane.next())
                {
                    self.show_raw(vm, byte);
                }
            }
            View::All => self.advance_all(ahead),
        }
    }

    /// In turn, a line of each, or as much of one as a turn allows: nobody can keep the line from the others.
    fn advance_all(&mut self, ahead: usize) {
        let count = self.lanes.len();
        let mut idle = 0;
        while idle < count && self.out.len() < ahead {
            let vm = self.turn;
            self.turn = vm.wrapping_add(1).checked_rem(count).unwrap_or(0);
            idle = idle.saturating_add(1);
            for _ in 0..TURN {
                let Some(byte) = self.lanes.get_mut(vm).and_then(|lane| lane.next()) else {
                    break;
                };
                idle = 0;
                if self.show_among_others(vm, byte) || self.out.len() >= ahead {
                    break;
                }
            }
        }
    }

    fn show_raw(&mut self, vm: usize, byte: u8) {
        if let Some(lane) = self.lanes.get_mut(vm) {
            lane.showed(byte);
        }
        self.put([byte]);
        self.open = if byte == b'\n' {
            Open::No
        } else {
            Open::Vm(vm)
        };
    }

    /// Shows a byte among the lines of others; says whether it ended one.
    fn show_among_others(&mut self, vm: usize, byte: u8) -> bool {
        let (names, width) = (&self.names, self.width);
        let Some(lane) = self.lanes.get_mut(vm) else {
            return false;
        };
        match lane.order(byte, || prefix(names, width, vm, BEGINS)) {
            // Its line is the one that is open: whatever it writes can be seen at once.
            Step::Within if self.open == Open::Vm(vm) => self.show_text(vm),
            Step::Within => {}
            Step::Full => self.show_text(vm),
            Step::End => {
                self.end_line(vm);
                return true;
            }
        }
        false
    }

    /// Shows what is in order of a VM's unfinished line, if anything is.
    pub(super) fn show_text(&mut self, vm: usize) {
        if self.lanes.get(vm).is_some_and(|lane| lane.has_text()) {
            self.begin_line(vm);
        }
    }

    fn end_line(&mut self, vm: usize) {
        // If its line has been interrupted and nothing has come since, it has ended there.
        let interrupted = self.open != Open::Vm(vm)
            && self
                .lanes
                .get(vm)
                .is_some_and(|lane| lane.is_begun() && !lane.has_text());
        if !interrupted {
            self.begin_line(vm);
            self.put(*b"\r\n");
            self.open = Open::No;
        }
        if let Some(lane) = self.lanes.get_mut(vm) {
            lane.end();
        }
    }

    /// Shows what is in order of a VM's line, behind its name if it is not on the line already.
    fn begin_line(&mut self, vm: usize) {
        let Some(lane) = self.lanes.get_mut(vm) else {
            return;
        };
        let (text, begun) = lane.take_text();
        if self.open != Open::Vm(vm) {
            self.fresh_line();
            let mark = if begun { GOES_ON } else { BEGINS };
            self.put(prefix(&self.names, self.width, vm, mark));
        }
        self.put(text);
        self.open = Open::Vm(vm);
    }

    /// Goes to the start of a line.
    pub(super) fn fresh_line(&mut self) {
        match self.open {
            Open::No => {}
            Open::Vm(_) => self.put(*b"\r\n"),
            Open::Prompt => self.put(*b"\r\x1b[K"),
        }
        self.open = Open::No;
    }

    /// Queues bytes for the line.
    pub(super) fn put(&mut self, bytes: impl IntoIterator<Item = u8>) {
        let room = MOST.saturating_sub(self.out.len());
        self.out.extend(bytes.into_iter().take(room));
    }
}

/// A VM's name in a column as wide as the longest, and what follows it.
fn prefix(names: &[alloc::string::String], width: usize, vm: usize, mark: &[u8]) -> Vec<u8> {
    let name = names.get(vm).map_or(&[][..], |name| name.as_bytes());
    let fill = core::iter::repeat_n(&b' ', width.saturating_sub(name.len()));
    name.iter().chain(fill).chain(mark).copied().collect()
}
