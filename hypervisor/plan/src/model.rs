//! What the hypervisor is to run: immutable once made.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
pub use spec::kernel::{Format, Start};

/// The whole plan of a machine.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Plan {
    /// What sibling threads of a core are used for
    pub smt: Smt,
    /// Whether the exit statistics of a VM are logged when it ends
    pub statistics: bool,
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
    /// For each vCPU the core that runs it and nothing else; `None` if vCPUs take turns on the cores that are
    /// nobody's own
    pub cores: Option<Vec<u32>>,
    /// Whether it starts with the machine
    pub autostart: bool,
}

/// A file that is handed over beside the kernel (Multiboot 0.6.96, section 3.3, "Boot information format").
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Module {
    /// Its path, beside the config file, with `/` between its parts
    pub path: String,
    /// Its string, ASCII, without a NUL; may be empty
    pub cmdline: String,
}
