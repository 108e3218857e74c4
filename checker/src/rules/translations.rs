//! Through which tables VMs see memory, and by which tag their translations are told apart.

use super::controls::{EPT, VPID};
use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    name: "translations",
    proves: "Each vCPU sees memory through its VM's nested tables, and no two have the same tag for their cached translations.",
    check,
};

/// What an EPT pointer says beside the tables' frame: they are read write-back, and there are four levels (SDM vol. 3, "Extended-Page-Table
/// Pointer (EPTP)"). No accessed and dirty flags, which are writes to tables that nobody here looks at.
const WRITE_BACK_FOUR_LEVELS: u64 = 6 | 3 << 3;

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mut tags: BTreeMap<u16, Vec<String>> = BTreeMap::new();
    for vcpu in &it.whole.vcpus {
        let place = it.vcpu(vcpu);
        let vm = it.whole.vms.iter().find(|vm| vm.vm == vcpu.vm);
        let right = vm.map(|vm| vm.nested_root | WRITE_BACK_FOUR_LEVELS);
        let what = format_args!(
            "EPT pointer {:#x}, not {:#x}",
            vcpu.eptp,
            right.unwrap_or_default()
        );
        findings.expect(vcpu.secondary & EPT != 0, &place, "EPT is off");
        findings.expect(Some(vcpu.eptp) == right, &place, what);
        if vcpu.secondary & VPID != 0 {
            findings.expect(vcpu.vpid != 0, &place, "VPID 0, which is the hypervisor's");
            tags.entry(vcpu.vpid).or_default().push(place);
        }
    }
    for (tag, users) in tags.iter().filter(|(_, users)| users.len() > 1) {
        findings.add(users.join(" and "), format!("the same VPID {tag}"));
    }
    let over = format!(
        "{}, {}",
        count(it.whole.vcpus.len(), "EPT pointer"),
        count(tags.len(), "VPID")
    );
    findings.proof(over)
}
