//! The messages, each way.

use crate::{Answer, Command};
use alloc::string::String;
use alloc::vec::Vec;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// What travels in a frame. Only [`ToMachine`] and [`FromMachine`] do.
pub trait Message: Serialize + DeserializeOwned + sealed::Sealed {
    /// The most bytes of it that a reader accepts, before framing.
    const LIMIT: usize;

    /// What to take a message for that does not parse, because it is of a later version, given what came before the part that is
    /// not known: its number in the list of messages and an id.
    #[doc(hidden)]
    fn unknown(number: u32, id: u32) -> Option<Self>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::ToMachine {}
    impl Sealed for super::FromMachine {}
}

/// A message to the machine. New ones are put at the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum ToMachine {
    /// Somebody has come; the machine answers with its own
    Hello {
        /// The version that the sender speaks
        version: u16,
    },
    /// Keys for a VM's console
    Input {
        /// Number of the VM in the machine's Hello
        vm: u16,
        /// What was typed
        bytes: Vec<u8>,
    },
    /// Asks for something; the machine answers with a `Reply` of the same id
    Request {
        /// Chosen by the sender
        id: u32,
        /// What is asked for
        command: Command,
    },
}

/// A message from the machine. New ones are put at the end.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum FromMachine {
    /// The machine is up, or has heard a Hello
    Hello {
        /// The version that the machine speaks
        version: u16,
        /// Names of the VMs, in the order of the plan
        vms: Vec<String>,
    },
    /// What a VM has written to its console
    Console {
        /// Number of the VM in the machine's Hello
        vm: u16,
        /// What it wrote
        bytes: Vec<u8>,
    },
    /// A line of the hypervisor's log
    Log {
        /// Without its end
        line: String,
    },
    /// The answer to a request
    Reply {
        /// The request's
        id: u32,
        /// What is answered
        answer: Answer,
    },
}

impl Message for ToMachine {
    const LIMIT: usize = 4 * 1024;

    fn unknown(number: u32, id: u32) -> Option<Self> {
        const REQUEST: u32 = 2;
        let command = Command::Unknown;
        (number == REQUEST).then_some(Self::Request { id, command })
    }
}

impl Message for FromMachine {
    /// Statistics of a VM of many vCPUs are long.
    const LIMIT: usize = 256 * 1024;

    fn unknown(number: u32, id: u32) -> Option<Self> {
        const REPLY: u32 = 3;
        let answer = Answer::Unknown;
        (number == REPLY).then_some(Self::Reply { id, answer })
    }
}
