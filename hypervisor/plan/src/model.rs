//! What the hypervisor is to run: immutable once made.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
pub use spec::kernel::{Format, Start};

/// The whole plan of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// The virtual machines, in the order of the file; names are unique.
    pub vms: Vec<Vm>,
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
    /// RAM in bytes, a multiple of 2 MiB
    pub memory: u64,
}
