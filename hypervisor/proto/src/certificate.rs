//! What can be reached from where, as the machine reads it out of the structures that the processor goes by. It says what is there, not
//! what should be: that is for whoever asks to judge, against the plan.
//!
//! Addresses are host-physical unless they say otherwise.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

mod host;
mod vcpu;

pub use host::{CoreSurvey, Device, HostSurvey, MemoryKind, MemoryRange, Owned, Use};
pub use vcpu::{HostState, MsrGrant, VcpuSurvey};

/// The most bytes of an answer that tells what can be reached: the line's outbox takes no more. What is longer is refused.
pub const MOST: usize = 48 * 1024;

/// Whose structures are to be read.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Part {
    /// The hypervisor's own: [`Survey::Host`]
    Host,
    /// What all vCPUs of a VM share: [`Survey::Vm`]
    Vm {
        /// Its number in the plan
        vm: u16,
    },
    /// What a vCPU has for itself: [`Survey::Vcpu`], or [`Survey::Unstarted`]
    Vcpu {
        /// Number of its VM in the plan
        vm: u16,
        /// Its number in the VM
        vcpu: u32,
    },
}

/// What has been read.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Survey {
    /// The hypervisor's own structures
    Host(HostSurvey),
    /// Those of a VM
    Vm(VmSurvey),
    /// Those of a vCPU
    Vcpu(VcpuSurvey),
    /// This vCPU has not been started: its control structure is empty and is not entered
    Unstarted {
        /// Number of its VM in the plan
        vm: u16,
        /// Its number in the VM
        vcpu: u32,
        /// Where the structure is
        vmcs: u64,
    },
}

impl Survey {
    /// Bytes that it takes in a message.
    #[must_use]
    pub fn size(&self) -> usize {
        // It has no sequence of unknown length, which alone could fail.
        postcard::experimental::serialized_size(self).unwrap_or(usize::MAX)
    }
}

/// A range of memory.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Range {
    /// Its first byte
    pub start: u64,
    /// In bytes
    pub len: u64,
}

/// Addresses in a row that lead to memory in a row, with the same rights. Neighbours that could be one are one.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct Mapping {
    /// The first address, as whoever goes through the tables gives it: linear, sign-extended, in long-mode tables; guest-physical in
    /// nested ones
    pub at: u64,
    /// Where it leads
    pub frame: u64,
    /// In bytes
    pub len: u64,
    /// It can be read
    pub read: bool,
    /// It can be written
    pub write: bool,
    /// Instructions can be fetched from it
    pub execute: bool,
    /// How it is cached; of a guest's memory, before the guest's own tables and PAT
    pub cache: Cache,
}

/// A memory type (SDM vol. 3, "Methods of Caching Available").
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Cache {
    /// UC, or UC-
    Uncacheable,
    /// WC
    WriteCombining,
    /// WT
    WriteThrough,
    /// WP
    WriteProtected,
    /// WB
    WriteBack,
}

/// What all vCPUs of a VM share.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VmSurvey {
    /// Its number in the plan
    pub vm: u16,
    /// Its name
    pub name: String,
    /// Where its nested tables begin
    pub nested_root: u64,
    /// Where its guest-physical addresses lead, lowest first
    pub nested: Vec<Mapping>,
    /// The frames in which its nested tables lie, the root's among them, lowest first
    pub nested_tables: Vec<Range>,
    /// How many vCPUs it has
    pub vcpus: u32,
}

/// Something wrong that is done on purpose, by images that are built for tests of who looks for it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Fault {
    /// A page of another VM's memory is mapped for this one as well
    ForeignPage,
    /// A page of the hypervisor's own memory is mapped for it
    OwnPage,
    /// The registers of the local APIC are mapped for it
    ApicPage,
    /// A page of its memory is not cached
    CacheType,
    /// An MSR that is not its own is granted
    MsrBit,
    /// An I/O port is granted
    PortBit,
    /// A page of memory that is free is mapped for it
    StaleMapping,
    /// A page of our own code can be written
    WritableCode,
    /// A frame is taken, and by nobody
    LostFrame,
    /// A control that makes it exit is off
    Control,
    /// The hypervisor fails while it serves the VM's next exit
    Bug,
    /// Likewise, with a lock in hand that others want
    BugWithLock,
}
