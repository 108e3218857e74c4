//! A machine to boot an image on: what it is like, and the emulator that plays it.

mod bochs;
mod child;
mod control;
mod end;
mod qemu;
mod screen;
pub mod serial;
mod topology;

pub use bochs::Bochs;
pub use child::{Finished, Running};
pub use control::Control;
pub use end::End;
pub use qemu::Qemu;
pub use screen::{Picture, Shown};
pub use topology::{MAX_CPUS, Topology};

use anyhow::Result;
use std::path::Path;

/// The CPU model that a machine has unless it says otherwise: EPT, VPID, unrestricted guest, APICv; 2015.
pub const CPU_MODEL: &str = "broadwell_ult";

/// What the machine is like.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Name of the CPU model, as the emulator has it
    pub cpu_model: String,
    /// Logical processors, and how they lie
    pub cpus: Topology,
    /// RAM in MiB
    pub memory: u32,
    /// How emulated time runs
    pub pace: Pace,
    /// The emulator ends after so many emulated seconds
    pub limit: Option<u32>,
    /// What the machine's clock shows at power-on, in seconds since 1970, so that a test depends on no wall clock; `None` for
    /// the real time, which is all that QEMU is given
    pub clock: Option<u64>,
}

impl Default for Machine {
    fn default() -> Machine {
        Machine {
            cpu_model: CPU_MODEL.to_owned(),
            cpus: Topology::flat(1),
            memory: 512,
            pace: Pace::Free,
            limit: None,
            clock: None,
        }
    }
}

/// How emulated time runs.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Pace {
    /// As fast as the host can
    Free,
    /// With the wall clock, for a person at a terminal
    WallClock,
}

/// What plays the machine.
#[derive(Clone, Debug)]
pub enum Runner {
    /// Emulates VT-x on any host
    Bochs(Bochs),
    /// Nested KVM where the host has it
    Qemu(Qemu),
}

impl Runner {
    /// Boots the machine from a disk image, which the machine may write to.
    ///
    /// # Errors
    /// When the emulator does not start.
    pub fn start(&self, machine: &Machine, disk: &Path) -> Result<Running> {
        match self {
            Runner::Bochs(bochs) => bochs.start(machine, disk),
            Runner::Qemu(qemu) => qemu.start(machine, disk),
        }
    }
}
