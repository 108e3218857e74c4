//! Which I/O ports each vCPU touches without an exit: none, since no device is given to a guest yet.

use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};

pub(super) const RULE: Rule = Rule {
    name: "ports",
    proves: "vCPUs touch no I/O port without an exit.",
    check,
};

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    for vcpu in &it.whole.vcpus {
        for (first, last) in &vcpu.ports {
            let ports = if first == last {
                format!("port {first:#x}")
            } else {
                format!("ports {first:#x} to {last:#x}")
            };
            findings.add(it.vcpu(vcpu), format!("{ports} without an exit"));
        }
    }
    findings.proof(format!(
        "65,536 ports of {}",
        count(it.whole.vcpus.len(), "vCPU")
    ))
}
