//! What the machine answers.

use crate::certificate::Survey;
use crate::times::MachineTimes;
use crate::trace::TraceChunk;
use alloc::boxed::Box;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::{Hz, Ticks};

/// The answer to a command.
///
/// New ones are put at the end, before `Unknown`.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// All VMs, in the order of the plan
    Vms(Vec<VmInfo>),
    /// It is done, or on its way; a full sentence says what
    Done(String),
    /// It is not done; a full sentence says what, why, and what would be right
    Refused(String),
    /// What the exits of a VM were
    Statistics(VmStatistics),
    /// The cores that the plan can name, in the order of their numbers
    Cores(Vec<CoreInfo>),
    /// Where the time of cores and vCPUs went
    Times(MachineTimes),
    /// What the scheduler of a core did
    Trace(TraceChunk),
    /// What can be reached from where
    Survey(Box<Survey>),
    /// What a reader of an older version takes a newer answer for. Never sent.
    #[serde(skip)]
    Unknown,
}

/// Where a VM is in its life.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum VmState {
    /// It has not been started, or has ended
    Off,
    /// Its memory is scrubbed and loaded
    Starting,
    /// Its vCPUs run
    Running,
    /// Its vCPUs are held
    Paused,
    /// Its vCPUs come to rest
    Stopping,
}

impl VmState {
    /// Its name, one word.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Starting => "starting",
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Stopping => "stopping",
        }
    }
}

/// A VM as `list` shows it.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmInfo {
    /// Its name in the plan
    pub name: String,
    /// Where it is in its life
    pub state: VmState,
    /// Why it ended last, if it has
    pub last_end: Option<String>,
    /// How many vCPUs it has
    pub vcpus: u32,
    /// The core of each vCPU
    pub cores: Vec<u32>,
    /// Its memory, in bytes
    pub memory: u64,
    /// How long it has been running, or ran, since its last start
    pub uptime: Ticks,
    /// Frequency of the TSC
    pub tsc: Hz,
    /// Exits of all vCPUs since its last start
    pub exits: u64,
    /// Ticks that all vCPUs' exits kept their cores in root operation since then
    pub root_ticks: Ticks,
    /// How often it has crashed since the machine is up
    pub crashes: u32,
}

/// What the exits of a VM were, since its last start.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmStatistics {
    /// Name of the VM
    pub vm: String,
    /// Frequency of the TSC
    pub tsc: Hz,
    /// Each vCPU's
    pub vcpus: Vec<VcpuStatistics>,
}

/// What the exits of a vCPU were.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VcpuStatistics {
    /// Its number in the VM
    pub vcpu: u32,
    /// The core that it runs on
    pub core: u32,
    /// What carries its local APIC now, one word
    pub carrier: String,
    /// How long ago its last exit was; if it has made none, how long it has been up
    pub last_exit: Ticks,
    /// How its promise to make no exit stands, if it has made one
    pub promise: Option<Promise>,
    /// Its kinds of exits that there were
    pub rows: Vec<ExitRow>,
}

/// How the promise to make no exit after boot stands.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Promise {
    /// How long ago boot was over, or the last breach was; `None` while it boots, for as long as the plan says
    pub holds_for: Option<Ticks>,
    /// Exits since then, by kind; only kinds that there were
    pub breaches: Vec<Breach>,
}

/// Exits of one kind that were promised not to be.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Breach {
    /// Name of the kind, one word, as in an [`ExitRow`]
    pub kind: String,
    /// How many
    pub count: u64,
}

/// Exits of one kind.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct ExitRow {
    /// Name of the kind, one word
    pub kind: String,
    /// How many
    pub count: u64,
    /// Ticks that they kept the core in root operation
    pub ticks: Ticks,
    /// Ticks of the longest
    pub worst: Ticks,
    /// How many took how long: first those of no ticks, then at `n` those from `2^(n-1)` up to but not including `2^n`. The last
    /// one that the machine has takes all that are longer; zeros at the end may be left out.
    pub histogram: Vec<u64>,
}

/// A core that the plan can name.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoreInfo {
    /// Its number in the plan
    pub number: u32,
    /// Its local APIC id
    pub apic_id: u32,
    /// Whether it has been started and takes orders
    pub up: bool,
    /// Whether one VM has it for itself
    pub dedicated: bool,
    /// The vCPUs that it runs
    pub vcpus: Vec<Occupant>,
}

/// A vCPU on a core.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Occupant {
    /// Name of its VM
    pub vm: String,
    /// Its number in the VM
    pub vcpu: u32,
}
