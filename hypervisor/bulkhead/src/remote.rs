//! The other end of COM2: a workstation that speaks the management protocol, if there is one.

use crate::command;
use crate::machine::Machine;
use alloc::borrow::ToOwned;
use alloc::string::String;
use alloc::vec::Vec;
use proto::{Answer, Decoder, FromMachine, Outbox, ToMachine, VERSION};

/// Bytes of frames that wait for the line.
const OUT: usize = 64 * 1024;
/// What consoles may have ahead of the line: an answer waits for no more than that.
const AHEAD: usize = 2 * 1024;

/// The least that a frame of a console carries while more waits.
const LEAST: usize = 128;

/// The line and whoever is there.
pub(crate) struct Remote {
    names: Vec<String>,
    decoder: Decoder<ToMachine>,
    outbox: Outbox,
    /// Somebody has said hello: before that nobody reads, and nothing is sent
    listens: bool,
}

impl Remote {
    pub(crate) fn new(names: &[&str]) -> Self {
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            decoder: Decoder::new(),
            outbox: Outbox::new(OUT),
            listens: false,
        }
    }

    /// Takes a byte; `give` takes those that are typed for a VM.
    pub(crate) fn received(
        &mut self,
        byte: u8,
        machine: &'static Machine,
        give: &mut dyn FnMut(usize, u8),
        tell: &mut dyn FnMut(),
    ) {
        match self.decoder.push(byte) {
            None => {}
            Some(ToMachine::Hello { .. }) => {
                self.listens = true;
                self.send(&FromMachine::Hello {
                    version: VERSION,
                    vms: self.names.clone(),
                });
            }
            Some(ToMachine::Input { vm, bytes }) => {
                bytes.into_iter().for_each(|byte| give(vm.into(), byte));
            }
            Some(ToMachine::Request { id, command }) => {
                let answer = command::carry_out(machine, &command, tell);
                let reply = FromMachine::Reply { id, answer };
                if self.outbox.push(&reply).is_err() {
                    let why = "The answer does not fit the line now; ask again.";
                    self.send(&FromMachine::Reply {
                        id,
                        answer: Answer::Refused(why.into()),
                    });
                }
            }
        }
    }

    /// Bytes of a VM that can be sent now. Without a listener they go nowhere, and there is room for all.
    pub(crate) fn room(&self) -> usize {
        if self.listens {
            // A frame for each byte that has left would be mostly frame.
            match self.outbox.console_room(OUT - AHEAD) {
                ..LEAST => 0,
                room => room,
            }
        } else {
            usize::MAX
        }
    }

    /// Sends what a VM has written.
    pub(crate) fn output(&mut self, vm: usize, bytes: &[u8]) {
        if self.listens {
            self.send(&FromMachine::Console {
                vm: vm as u16,
                bytes: bytes.to_vec(),
            });
        }
    }

    /// Sends a line of the log.
    pub(crate) fn log(&mut self, line: &str) {
        if self.listens {
            self.send(&FromMachine::Log { line: line.into() });
        }
    }

    /// The next byte for the line.
    pub(crate) fn pop(&mut self) -> Option<u8> {
        self.outbox.pop()
    }

    /// Whether there are bytes for the line.
    pub(crate) fn has_output(&self) -> bool {
        !self.outbox.is_empty()
    }

    /// What does not fit is left out: nobody reads as fast as it comes.
    fn send(&mut self, message: &FromMachine) {
        let _ = self.outbox.push(message);
    }
}
