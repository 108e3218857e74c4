//! What the hypervisor is to run: immutable once made.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::Gpa;

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

/// How a kernel file is to be understood.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Format {
    /// By its magic numbers: bzImage or ELF64
    Auto,
    /// Linux bzImage, 64-bit boot protocol
    BzImage,
    /// ELF64 executable, entered in 64-bit mode
    Elf64,
    /// Bytes for one address
    Flat {
        /// Where the first byte goes and execution starts
        load: Gpa,
        /// The mode in which it starts
        start: Start,
    },
}

/// The processor mode in which a flat binary starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Start {
    /// Real-address mode, CS:IP = load >> 4 : load & 15
    Real,
    /// Protected mode, flat 32-bit segments, no paging
    Protected,
    /// 64-bit mode, the first 4 GiB mapped one to one
    Long,
}
