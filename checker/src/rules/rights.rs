//! Rights and memory types of what VMs reach.

use crate::subject::Subject;
use crate::text::{self, count};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::Cache;

pub(super) const RULE: Rule = Rule {
    name: "rights",
    proves: "VMs read, write and execute what they reach, and it is cached write-back.",
    check,
};

/// A VM has nothing but RAM, which is all its own. Another type than write-back, beside the hypervisor's write-back mapping of the same
/// memory, is what makes aliases incoherent (SDM vol. 3, "Programming the PAT").
fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mut mappings = 0;
    for (vm, mapping) in it.nested() {
        mappings += 1;
        let rights = mapping.read && mapping.write && mapping.execute;
        if !(rights && mapping.cache == Cache::WriteBack) {
            let place = format!(
                "{}, guest-physical {:#x}, {}",
                it.vm(vm.vm),
                mapping.at,
                text::size(mapping.len)
            );
            let rights = text::rights(mapping.read, mapping.write, mapping.execute);
            findings.add(
                place,
                format!("{rights} {}, not rwx WB", text::cache(mapping.cache)),
            );
        }
    }
    findings.proof(count(mappings, "mapping"))
}
