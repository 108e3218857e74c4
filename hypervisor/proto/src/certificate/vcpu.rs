//! A vCPU's control structure, and the bitmaps that it names.

use alloc::string::String;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};

/// What a vCPU may do without an exit, and where its exits lead. Control fields are as VMREAD gives them.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct VcpuSurvey {
    /// Number of its VM in the plan
    pub vm: u16,
    /// Its number in the VM
    pub vcpu: u32,
    /// The core that holds it, and has told this
    pub core: u32,
    /// What carries its local APIC, one word
    pub carrier: String,
    /// Where its control structure is
    pub vmcs: u64,
    /// Pin-based VM-execution controls
    pub pin: u32,
    /// Primary processor-based VM-execution controls
    pub primary: u32,
    /// Secondary processor-based VM-execution controls; zero where the primary ones do not activate them
    pub secondary: u32,
    /// Primary VM-exit controls
    pub exit: u32,
    /// VM-entry controls
    pub entry: u32,
    /// EPT pointer; zero where EPT is off
    pub eptp: u64,
    /// Virtual-processor identifier; zero where there is none
    pub vpid: u16,
    /// Exceptions that exit
    pub exception_bitmap: u32,
    /// Bits of CR0 that are the hypervisor's
    pub cr0_mask: u64,
    /// Bits of CR4 that are the hypervisor's
    pub cr4_mask: u64,
    /// What is added to the time-stamp counter
    pub tsc_offset: u64,
    /// MSR bitmap; this and what follows is `None` where the control that uses it is off
    pub msr_bitmap: Option<u64>,
    /// I/O bitmap of ports below 0x8000
    pub io_bitmap_a: Option<u64>,
    /// I/O bitmap of the ports from there on
    pub io_bitmap_b: Option<u64>,
    /// Virtual-APIC page
    pub virtual_apic: Option<u64>,
    /// APIC-access page
    pub apic_access: Option<u64>,
    /// Posted-interrupt descriptor
    pub posted_descriptor: Option<u64>,
    /// Posted-interrupt notification vector
    pub posted_vector: Option<u16>,
    /// Where they are and how many entries they have: MSRs loaded by entries, stored by exits, loaded by exits
    pub msr_lists: Vec<(u64, u32)>,
    /// What an exit loads
    pub host: HostState,
    /// MSRs that the guest may touch without an exit, lowest first: those that the bitmap lets through
    pub msrs: Vec<MsrGrant>,
    /// Ports that the guest may touch without an exit, first and last of each range: those that the bitmaps let through, or all where
    /// nothing holds them back
    pub ports: Vec<(u16, u16)>,
}

/// What an exit loads (SDM vol. 3, "Host-State Area").
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[expect(missing_docs, reason = "the manual's names")]
pub struct HostState {
    pub cr0: u64,
    pub cr3: u64,
    pub cr4: u64,
    pub rip: u64,
    pub rsp: u64,
    pub idtr: u64,
    pub gdtr: u64,
    pub tr_base: u64,
    pub fs_base: u64,
    pub gs_base: u64,
    pub efer: u64,
    pub pat: u64,
}

/// MSRs in a row that a guest may touch without an exit.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug, Serialize, Deserialize)]
pub struct MsrGrant {
    /// The first
    pub first: u32,
    /// The last
    pub last: u32,
    /// Reads do not exit
    pub read: bool,
    /// Writes do not exit
    pub write: bool,
}
