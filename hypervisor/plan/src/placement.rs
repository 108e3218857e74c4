//! Which core runs which vCPU.

use crate::Plan;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;

impl Plan {
    /// For each VM and each of its vCPUs the core that runs it, on a machine where `cores` cores can be named.
    ///
    /// Dedicated vCPUs are where the plan says. The others go in turn over the cores that are nobody's own, across
    /// all VMs. They stay without a core if there is none left, which [`parse`](crate::parse) refuses where it knows
    /// the machine.
    #[must_use]
    pub fn place(&self, cores: u32) -> Vec<Vec<u32>> {
        let dedicated: BTreeSet<u32> = self
            .vms
            .iter()
            .filter_map(|vm| vm.cores.as_deref())
            .flatten()
            .copied()
            .collect();
        let free: Vec<u32> = (0..cores)
            .filter(|core| !dedicated.contains(core))
            .collect();
        let mut turn = free.iter().copied().cycle();
        self.vms
            .iter()
            .map(|vm| match &vm.cores {
                Some(cores) => cores.clone(),
                None => turn.by_ref().take(vm.vcpus as usize).collect(),
            })
            .collect()
    }
}
