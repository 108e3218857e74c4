//! The bundle: what `boot` puts into the hypervisor's ramdisk.
//!
//! ```text
//! 0   8 bytes   magic "BULKHEAD"
//! 8   4 bytes   version of this layout, little endian
//! 12  4 bytes   length of the header, little endian
//! 16            header: postcard of [`Handover`]
//!               each file, from a 4 KiB boundary, at the offset that the header gives
//! ```

use crate::Plan;
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::{Hpa, Hz, Ticks};

/// First bytes of a bundle.
pub const MAGIC: [u8; 8] = *b"BULKHEAD";
/// Version of the layout.
pub const VERSION: u32 = 1;

/// What `boot` learnt and the hypervisor cannot ask any more once boot services are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handover {
    /// What to run
    pub plan: Plan,
    /// The files that the plan names, each once
    pub files: Vec<FileSpan>,
    /// Frequency of the TSC, measured against the firmware's Stall
    pub tsc: Hz,
    /// Wall clock of the firmware
    pub clock: WallClock,
    /// Logical processors that the firmware's MP services know, the boot processor first; at least that one
    pub cores: Vec<Core>,
    /// Physical address of the firmware's ResetSystem (UEFI 2.10, section 8.5.1), callable with runtime
    /// memory mapped one to one
    pub reset_system: Hpa,
    /// Memory that the firmware keeps for its runtime services: mapped only while they are called
    pub runtime_memory: Vec<MemorySpan>,
}

/// Where one file lies in the bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileSpan {
    /// Its path as the plan names it
    pub path: String,
    /// From the start of the bundle, a multiple of 4096
    pub offset: u64,
    /// In bytes
    pub len: u64,
}

/// A range of host-physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemorySpan {
    /// First byte, a multiple of 4096
    pub start: Hpa,
    /// In bytes, a multiple of 4096
    pub len: u64,
}

/// The firmware's clock at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WallClock {
    /// Seconds since 1970-01-01T00:00:00Z; zero if the firmware has no clock
    pub unix_seconds: u64,
    /// The TSC when it read so
    pub at: Ticks,
}

/// One logical processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Core {
    /// Local APIC id
    pub apic_id: u32,
    /// Physical package number
    pub package: u32,
    /// Core number in its package
    pub core: u32,
    /// Thread number in its core
    pub thread: u32,
    /// Whether the firmware calls it enabled and healthy
    pub usable: bool,
}
