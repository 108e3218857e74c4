//! The hypervisor's own side: what memory there is and whose, our own tables, and the cores' registers.

use super::{Mapping, Range};
use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// The hypervisor's own structures.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct HostSurvey {
    /// What the loader handed over, lowest first
    pub memory: Vec<MemoryRange>,
    /// What memory is used for, lowest first, no two of them overlapping: all that is usable, and what lies in the loader's memory
    pub owned: Vec<Owned>,
    /// Our own tables
    pub host: Vec<Mapping>,
    /// Where they begin
    pub host_root: u64,
    /// The frames in which they lie, those of other cores' start-up and of calls of the firmware among them, lowest first
    pub host_tables: Vec<Range>,
    /// The lower half of the tables for calls of the firmware; the upper half is that of our own
    pub firmware: Vec<Mapping>,
    /// Linear address at which all physical memory is mapped
    pub window: u64,
    /// Registers of devices that we use
    pub devices: Vec<Device>,
    /// The cores that are up, in the order of their numbers
    pub cores: Vec<CoreSurvey>,
    /// How many VMs the plan has
    pub vms: u16,
}

/// A range of the loader's map of memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemoryRange {
    /// Where
    pub range: Range,
    /// What it is
    pub kind: MemoryKind,
}

/// What the loader says that memory is.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum MemoryKind {
    /// Anybody's
    Usable,
    /// The loader has put something there: our image, the bundle, the first core's stack
    Loader,
    /// The firmware's, by its UEFI memory type
    Firmware(u32),
}

/// Memory, and what it is used for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Owned {
    /// Where
    pub range: Range,
    /// What for
    pub used: Use,
}

/// What memory is used for. VMs go by their numbers in the plan.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub enum Use {
    /// The hypervisor's heap, but for what of it is named by another use
    Heap,
    /// Tables of our own address spaces
    HostTables,
    /// A stack of a core
    Stack,
    /// The VMXON region of a core
    VmxRegion,
    /// Code and tables below 1 MiB by which other cores come up
    StartUp,
    /// Usable, below 1 MiB, and left alone
    LowMemory,
    /// What VMs are loaded from
    Bundle,
    /// Our own code and data
    Image,
    /// Nobody's
    Free,
    /// Memory of a VM
    Ram {
        /// Whose
        vm: u16,
    },
    /// Taken with a VM's memory, which comes in large pages, and mapped for nobody
    Reserved {
        /// Whose
        vm: u16,
    },
    /// Nested tables of a VM
    NestedTables {
        /// Whose
        vm: u16,
    },
    /// A control structure of a VM's vCPU
    Vmcs {
        /// Whose
        vm: u16,
    },
    /// An MSR or I/O bitmap of a VM
    Bitmap {
        /// Whose
        vm: u16,
    },
    /// A virtual-APIC page of a VM's vCPU
    VirtualApic {
        /// Whose
        vm: u16,
    },
    /// Could not be kept track of, so that nobody gets it again
    Lost,
}

/// Registers of a device, in memory.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Device {
    /// What it is
    pub name: String,
    /// Where they are
    pub range: Range,
}

/// Registers of a core, in root operation.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct CoreSurvey {
    /// Its number in the plan
    pub number: u32,
    /// Its local APIC id
    pub apic_id: u32,
    /// CR0
    pub cr0: u64,
    /// CR3
    pub cr3: u64,
    /// CR4
    pub cr4: u64,
    /// `IA32_EFER`
    pub efer: u64,
    /// `IA32_PAT`
    pub pat: u64,
    /// Where its VMXON region is
    pub vmxon: u64,
}
