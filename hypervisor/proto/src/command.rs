//! What the machine can be asked to do.

use crate::certificate::{Fault, Part};
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
    /// Change what each vCPU of a VM may have of the pool's cores
    Set {
        /// Its name
        vm: String,
        /// Its part of what is left over, 0 for none; `None` for as it is
        weight: Option<u32>,
        /// What each of its vCPUs gets in a period, in nanoseconds, 0 for no reservation; `None` for as it is
        budget: Option<u64>,
        /// The period, in nanoseconds; `None` for as it is
        period: Option<u64>,
    },
    /// Tell where the time of cores and vCPUs went: [`Answer::Times`](crate::Answer::Times)
    Times,
    /// Tell what the scheduler of a core did: [`Answer::Trace`](crate::Answer::Trace)
    Trace {
        /// The core's number in the plan
        core: u32,
        /// Number of the first event to tell of. What is above all that there are asks only where they end.
        from: u64,
    },
    /// Tell what can be reached from where: [`Answer::Survey`](crate::Answer::Survey)
    Certify {
        /// Whose structures are to be read
        part: Part,
    },
    /// Do something wrong to a VM. Only images that are built for tests do; any other refuses.
    Plant {
        /// Its name
        vm: String,
        /// What is to be wrong
        fault: Fault,
    },
    /// What a reader of an older version takes a newer command for, so that it can refuse it. Never sent.
    #[serde(skip)]
    Unknown,
}
