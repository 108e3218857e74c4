//! All that a machine tells about itself.

use proto::certificate::{HostSurvey, VcpuSurvey, VmSurvey};
use serde::{Deserialize, Serialize};

/// What a machine has told of all its parts.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Whole {
    /// The hypervisor's own structures
    pub host: HostSurvey,
    /// Those of each VM
    pub vms: Vec<VmSurvey>,
    /// Those of each vCPU that has been started
    pub vcpus: Vec<VcpuSurvey>,
    /// Those that have not
    pub unstarted: Vec<Unstarted>,
}

/// A vCPU that is not entered.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Unstarted {
    /// Number of its VM in the plan
    pub vm: u16,
    /// Its number in the VM
    pub vcpu: u32,
    /// Where its control structure is
    pub vmcs: u64,
}
