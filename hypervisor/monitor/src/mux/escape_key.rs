//! What follows the escape key.

use super::{ESCAPE, Mux, Open, Typed, View};
use alloc::format;
use alloc::string::String;
use proto::Command;

impl Mux {
    /// Takes the byte after the escape key.
    pub(super) fn after_escape(&mut self, byte: u8) -> Typed {
        let count = self.names.len();
        match byte {
            ESCAPE if self.view != View::Monitor => return Typed::ToVm(self.chosen, ESCAPE),
            b'1'..=b'9' => {
                let vm = usize::from(byte.wrapping_sub(b'1'));
                if vm < count {
                    self.view_one(vm);
                } else {
                    self.say(&format!(
                        "there is no VM {}, there are {count}",
                        vm.saturating_add(1)
                    ));
                }
            }
            b'n' if count > 0 => {
                let next = self.chosen.wrapping_add(1);
                self.view_one(next.checked_rem(count).unwrap_or(0));
            }
            b'p' if count > 0 => {
                let before = self.chosen.checked_sub(1).unwrap_or(count);
                self.view_one(before.min(count.saturating_sub(1)));
            }
            b'a' if count > 0 => self.view_all(),
            b'l' => return Typed::Command(Command::List),
            b'm' => self.view_monitor(),
            b'?' | b'h' => self.help(),
            _ => self.say("that key has no meaning here; Ctrl-T ? for help"),
        }
        Typed::Nothing
    }

    pub(super) fn view_one(&mut self, vm: usize) {
        self.leave(View::One);
        self.chosen = vm;
        let cut = self.lanes.get_mut(vm).is_some_and(|lane| lane.uncover());
        let name = self.chosen_name();
        let cut = if cut { ", what it wrote last" } else { "" };
        self.say(&format!("console of {name}{cut}; Ctrl-T ? for help"));
        self.advance(super::AHEAD);
    }

    pub(super) fn view_all(&mut self) {
        self.leave(View::All);
        for lane in &mut self.lanes {
            lane.uncover();
        }
        let name = self.chosen_name();
        self.say(&format!(
            "all consoles, keys go to {name}; Ctrl-T ? for help"
        ));
        self.advance(super::AHEAD);
    }

    pub(super) fn view_monitor(&mut self) {
        if self.view != View::Monitor {
            self.before = self.view;
        }
        self.leave(View::Monitor);
        self.say("monitor; `help` lists the commands, Ctrl-D goes back");
    }

    /// Changes the view. What is in order to be shown in the old one is shown.
    fn leave(&mut self, view: View) {
        for vm in 0..self.lanes.len() {
            self.show_text(vm);
        }
        self.fresh_line();
        self.view = view;
    }

    fn help(&mut self) {
        let name = self.chosen_name();
        self.text(&format!(
            "[bulkhead: the keys after Ctrl-T\n\
             \x20 1..9    the console of that VM\n\
             \x20 n p     the next console, the previous one\n\
             \x20 a       all consoles, line by line; keys go to the VM chosen last, now {name}\n\
             \x20 l       list the VMs\n\
             \x20 m       the monitor, a prompt for the whole machine\n\
             \x20 Ctrl-T  a Ctrl-T for the VM\n\
             \x20 ?       this help]\n"
        ));
        self.redraw();
    }

    /// Says in a short line what has happened.
    fn say(&mut self, what: &str) {
        self.text(&format!("[bulkhead: {what}]\n"));
        self.redraw();
    }

    fn chosen_name(&self) -> String {
        self.names.get(self.chosen).cloned().unwrap_or_default()
    }

    /// Shows lines of our own.
    pub(super) fn text(&mut self, text: &str) {
        self.fresh_line();
        for line in text.lines() {
            self.put(line.bytes());
            self.put(*b"\r\n");
        }
    }

    /// Shows the prompt again, if it is to be seen.
    pub(super) fn redraw(&mut self) {
        if self.view == View::Monitor {
            self.prompt.draw(&mut self.out);
            self.open = Open::Prompt;
        }
    }
}
