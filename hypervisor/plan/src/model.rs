//! What the hypervisor is to run: immutable once made.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::apic::Carrier;
pub use spec::kernel::{Format, Start};

/// The whole plan of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What sibling threads of a core are used for
    pub smt: Smt,
    /// Whether the exit statistics of a VM are logged when it ends
    pub statistics: bool,
    /// The cyclic tables, in the order of the file; a core has at most one, and one that has is nobody's own
    pub cyclic: Vec<Cyclic>,
    /// The virtual machines, in the order of the file; names are unique.
    pub vms: Vec<Vm>,
}

/// What sibling threads of a core are used for.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Smt {
    /// One thread of each core runs guests, its siblings stay idle: what siblings share tells one about the other
    #[default]
    Off,
    /// Each thread counts as a core of its own, and siblings may run different VMs
    Share,
}

/// One virtual machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Vm {
    /// Name: 1 to 31 characters of `[a-z0-9-]`, unique in the plan
    pub name: String,
    /// Path of the kernel, beside the config file, with `/` between its parts
    pub kernel: String,
    /// What kind of file the kernel is
    pub format: Format,
    /// Path of the initial RAM disk
    pub initrd: Option<String>,
    /// Kernel command line, ASCII, without a NUL
    pub cmdline: String,
    /// Files that are handed over beside the kernel, in this order; only with [`Format::Multiboot`]
    pub modules: Vec<Module>,
    /// RAM in bytes, a multiple of 2 MiB
    pub memory: u64,
    /// Number of vCPUs, 1 to [`MAX_VCPUS`](crate::MAX_VCPUS)
    pub vcpus: u32,
    /// When and where its vCPUs run
    pub runs: Runs,
    /// Who is to carry its vCPUs' local APICs
    pub interrupts: Interrupts,
    /// Which exits it may make
    pub exits: Exits,
    /// Whether it starts with the machine
    pub autostart: bool,
    /// What becomes of it when it has ended by itself
    pub recovery: Recovery,
    /// The longest that its watchdog can be set to, in nanoseconds, if it has one
    pub watchdog: Option<u64>,
}

impl Vm {
    /// For each vCPU the core that runs it and nothing else, if they have such.
    #[must_use]
    pub fn dedicated(&self) -> Option<&[u32]> {
        match &self.runs {
            Runs::Dedicated(cores) => Some(cores),
            Runs::Pool(_) | Runs::Cyclic => None,
        }
    }

    /// The best carrier that the plan allows the local APIC of a vCPU; what the processor has is not asked.
    #[must_use]
    pub fn carrier(&self, vcpu: u32) -> Carrier {
        let core = self
            .dedicated()
            .and_then(|cores| cores.get(vcpu as usize))
            .filter(|core| **core != CONSOLE_CORE);
        match (self.interrupts, core) {
            (Interrupts::Software, _) => Carrier::Software,
            (Interrupts::Auto | Interrupts::Direct, Some(_)) => Carrier::Direct,
            (Interrupts::Auto | Interrupts::Direct, None) | (Interrupts::Accelerated, _) => {
                Carrier::Accelerated
            }
        }
    }

    /// What each vCPU gets of the cores that are nobody's own, if it runs there.
    #[must_use]
    pub fn share(&self) -> Option<Share> {
        match self.runs {
            Runs::Pool(share) => Some(share),
            Runs::Dedicated(_) | Runs::Cyclic => None,
        }
    }
}

/// Who is to carry the local APICs of a VM.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Interrupts {
    /// The best that each vCPU's core allows
    #[default]
    Auto,
    /// The hypervisor
    Software,
    /// The processor, on the virtual-APIC page
    Accelerated,
    /// The processor's own local APIC; only on cores that run nothing else, and not on [`CONSOLE_CORE`]
    Direct,
}

/// Which exits a VM may make.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Exits {
    /// Any
    #[default]
    Any,
    /// None after the boot: each is a breach, which is counted and told. Only where [`Interrupts::Direct`] may be, and not
    /// beside another carrier.
    None {
        /// How long the boot of each vCPU takes, in nanoseconds from its beginning
        boot: u64,
    },
}

/// What becomes of a VM that has ended by itself. Power-off is no crash, and what somebody asks for is done.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Recovery {
    /// After a triple fault, what is not supported, an exit loop, its watchdog, or a fault of the hypervisor's
    pub on_crash: Then,
    /// After it has reset itself
    pub on_reboot: Then,
    /// How often it is started anew after crashes in a row; then it stays off
    pub restarts: u32,
    /// Time between the first of them and its restart, in nanoseconds; it doubles with each, up to [`MAX_DELAY`]
    pub delay: u64,
    /// One that has been up for so long, in nanoseconds, begins a new row
    pub window: u64,
}

/// What follows.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Then {
    /// It is started anew, its memory scrubbed
    Restart,
    /// It stays off
    Stop,
}

/// The longest time between a crash and the restart, in nanoseconds.
pub const MAX_DELAY: u64 = 60_000_000_000;

impl Default for Recovery {
    fn default() -> Self {
        Self {
            on_crash: Then::Stop,
            on_reboot: Then::Restart,
            restarts: 5,
            delay: 100_000_000,
            window: 60_000_000_000,
        }
    }
}

/// How long a boot takes if nothing else is said, in nanoseconds.
pub const DEFAULT_BOOT: u64 = 60_000_000_000;

/// The core that serves the machine's consoles: the host's interrupts arrive there, so that it cannot be lent to a guest whole.
pub const CONSOLE_CORE: u32 = 0;

/// When and where the vCPUs of a VM run.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Runs {
    /// For each vCPU a core that runs it and nothing else
    Dedicated(Vec<u32>),
    /// They take turns with others on the cores that are nobody's own, each with this share
    Pool(Share),
    /// In the windows of a [`Cyclic`] table, each vCPU in at least one
    Cyclic,
}

/// What one vCPU gets of the pool; at least one of the two is there.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Share {
    /// Its part of what reservations leave over, 1 to [`MAX_WEIGHT`]; without one it gets none of that
    pub weight: Option<u32>,
    /// What it gets in any case
    pub reservation: Option<Reservation>,
}

/// The weight of a VM that asks for nothing in particular.
pub const DEFAULT_WEIGHT: u32 = 100;
/// The largest weight.
pub const MAX_WEIGHT: u32 = 10_000;

/// What is left over, evenly.
impl Default for Share {
    fn default() -> Self {
        Self {
            weight: Some(DEFAULT_WEIGHT),
            reservation: None,
        }
    }
}

/// Time that a vCPU gets in each period, counted from its release, and unless it has a weight no more than that.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Reservation {
    /// In nanoseconds, no more than `period`
    pub budget: u64,
    /// In nanoseconds
    pub period: u64,
}

/// A table of windows that repeats on one core, with the major frame of ARINC 653 (Part 1, "Partition Scheduling").
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Cyclic {
    /// The core
    pub core: u32,
    /// The major frame in nanoseconds, after which the table begins anew
    pub frame: u64,
    /// Who gets the time that windows leave over
    pub spare: Spare,
    /// Sorted by `at`; they do not overlap and lie inside the frame
    pub windows: Vec<Window>,
}

/// Who gets the time in which no window's vCPU wants to run.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug, Serialize, Deserialize)]
pub enum Spare {
    /// Nobody: what is before a window then has no influence on it
    #[default]
    Idle,
    /// vCPUs of the pool that have a weight
    Pool,
}

/// Time that belongs to one vCPU in every frame.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Window {
    /// Index of the VM in the plan
    pub vm: u32,
    /// Its vCPU
    pub vcpu: u32,
    /// Nanoseconds from the start of the frame
    pub at: u64,
    /// In nanoseconds, more than none
    pub length: u64,
}

/// A file that is handed over beside the kernel (Multiboot 0.6.96, section 3.3, "Boot information format").
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Module {
    /// Its path, beside the config file, with `/` between its parts
    pub path: String,
    /// Its string, ASCII, without a NUL; may be empty
    pub cmdline: String,
}
