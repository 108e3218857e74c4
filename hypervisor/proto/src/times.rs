//! Who had the cores, and for how long.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::{Hz, Ticks};

/// Where the time of all cores and vCPUs went. All sums begin at zero when the machine comes up, and only grow: whoever wants what went
/// on between two answers subtracts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MachineTimes {
    /// Frequency of the TSC
    pub tsc: Hz,
    /// When the hypervisor was entered
    pub entered: Ticks,
    /// When this was answered
    pub now: Ticks,
    /// The cores that the plan can name, in the order of their numbers
    pub cores: Vec<CoreTimes>,
    /// The vCPUs of all VMs, in the order of the plan
    pub vcpus: Vec<VcpuTimes>,
}

/// Where the time of a core went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoreTimes {
    /// Its number in the plan
    pub core: u32,
    /// Nobody wanted it
    pub idle: Ticks,
    /// A vCPU had it, its exits included
    pub busy: Ticks,
    /// The hypervisor had it for work that is no vCPU's
    pub host: Ticks,
    /// How often it went from one vCPU to another
    pub switches: u64,
    /// The longest time that such a change took
    pub worst_switch: Ticks,
    /// What was done so that one VM learns nothing of another
    pub cleared: Cleared,
}

/// What was done where a core went from one VM to another, or had loaded the memory of one. Which of them a processor needs its policy says:
/// one that is needed is done as often as there were changes, any other never.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Cleared {
    /// How many changes there were; those between vCPUs of one VM are none
    pub changes: u64,
    /// Indirect-branch predictor barriers
    pub ibpb: u64,
    /// The return stack was filled
    pub rsb_fills: u64,
    /// The first-level data cache was flushed
    pub l1d_flushes: u64,
    /// Buffers were overwritten by VERW
    pub verw: u64,
}

/// Where the time of a vCPU went.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VcpuTimes {
    /// Name of its VM
    pub vm: String,
    /// Its number in the VM
    pub vcpu: u32,
    /// The core that it is on
    pub core: u32,
    /// What it may have of a core
    pub class: Class,
    /// It had a core, its exits included
    pub run: Ticks,
    /// The part of `run` that came out of its reservation
    pub reserved: Ticks,
    /// It could have run, and another had the core
    pub wait: Ticks,
    /// It could have run, but its budget was spent, or it was outside its windows
    pub throttled: Ticks,
    /// It had nothing to do
    pub blocked: Ticks,
    /// How often it was given a core
    pub turns: u64,
    /// The longest that it waited for a core at a time
    pub worst_wait: Ticks,
    /// The longest time from when a window, or a period of its reservation in which it wanted to run, was due to when it had the core
    pub worst_late: Ticks,
    /// Periods of its reservation that ended before it had its budget, although it wanted it
    pub missed: u64,
    /// How often it went to another core
    pub moves: u64,
}

/// What a vCPU may have of a core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Class {
    /// A core of its own
    Dedicated,
    /// A share of the cores that are nobody's own
    Pool {
        /// Its part of what is left over, if it has one
        weight: Option<u32>,
        /// What it gets for sure
        reservation: Option<Reservation>,
    },
    /// Windows in the table of a core
    Cyclic,
}

/// So much of a core in each period.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reservation {
    /// In nanoseconds
    pub budget: u64,
    /// In nanoseconds
    pub period: u64,
}
