//! What the machine can be asked to do.

use alloc::string::String;
use serde::{Deserialize, Serialize};

/// A command to the machine. VMs go by their names in the plan.
///
/// New ones are put at the end, before `Unknown`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Command {
    /// List the VMs: [`Answer::Vms`](crate::Answer::Vms)
    List,
    /// Start a VM that is off
    Start {
        /// Its name
        vm: String,
    },
    /// Stop a VM at once, as if its power were cut
    Stop {
        /// Its name
        vm: String,
    },
    /// Hold the vCPUs of a VM
    Pause {
        /// Its name
        vm: String,
    },
    /// Let the vCPUs of a paused VM go on
    Resume {
        /// Its name
        vm: String,
    },
    /// Start a running VM anew
    Reset {
        /// Its name
        vm: String,
    },
    /// Tell what the exits of a VM were and what they cost: [`Answer::Statistics`](crate::Answer::Statistics)
    Statistics {
        /// Its name
        vm: String,
    },
    /// List the cores: [`Answer::Cores`](crate::Answer::Cores)
    Cores,
    /// Power the machine off
    Off,
    /// What a reader of an older version takes a newer command for, so that it can refuse it. Never sent.
    #[serde(skip)]
    Unknown,
}
