//! Nothing can be proven of what was not told.

use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};
use std::collections::BTreeSet;

pub(super) const RULE: Rule = Rule {
    name: "survey",
    proves: "The machine has told of each VM, each vCPU and each core, once.",
    check,
};

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let host = &it.whole.host;
    if usize::from(host.vms) != it.plan.vms.len() {
        let what = format_args!("{} VMs, and the plan has {}", host.vms, it.plan.vms.len());
        findings.add("host", what);
    }
    for (number, vm) in (0..).zip(&it.plan.vms) {
        let told = it.whole.vms.iter().filter(|told| told.vm == number);
        let told: Vec<_> = told.collect();
        findings.expect(
            told.len() == 1,
            it.vm(number),
            format_args!("told of {} times", told.len()),
        );
        for told in told {
            let same = told.name == vm.name && told.vcpus == vm.vcpus;
            let what = format!(
                "it calls itself {} and has {} vCPUs, and the plan gives it {}",
                told.name, told.vcpus, vm.vcpus
            );
            findings.expect(same, it.vm(number), what);
        }
        for vcpu in 0..vm.vcpus {
            let started = it.whole.vcpus.iter().map(|told| (told.vm, told.vcpu));
            let others = it.whole.unstarted.iter().map(|told| (told.vm, told.vcpu));
            let told = started.chain(others).filter(|told| *told == (number, vcpu));
            let told = told.count();
            let place = format!("{} vCPU {vcpu}", it.vm(number));
            findings.expect(told == 1, &place, format_args!("told of {told} times"));
        }
    }
    strangers(it, &mut findings);
    cores(it, &mut findings);
    let (vms, cores) = (it.whole.vms.len(), host.cores.len());
    let over = format!(
        "{}, {} ({} of them not started), {}",
        count(vms, "VM"),
        count(it.whole.vcpus.len() + it.whole.unstarted.len(), "vCPU"),
        it.whole.unstarted.len(),
        count(cores, "core"),
    );
    findings.proof(over)
}

/// Whoever the plan does not have.
fn strangers(it: &Subject<'_>, findings: &mut Findings) {
    for vm in &it.whole.vms {
        findings.expect(
            it.planned(vm.vm).is_some(),
            it.vm(vm.vm),
            "the machine has it",
        );
    }
    let started = it.whole.vcpus.iter().map(|told| (told.vm, told.vcpu));
    let others = it.whole.unstarted.iter().map(|told| (told.vm, told.vcpu));
    for (vm, vcpu) in started.chain(others) {
        let has = it.planned(vm).is_some_and(|planned| vcpu < planned.vcpus);
        let place = format!("{} vCPU {vcpu}", it.vm(vm));
        findings.expect(has, &place, "the plan does not have it");
    }
}

fn cores(it: &Subject<'_>, findings: &mut Findings) {
    let cores = &it.whole.host.cores;
    let numbers: BTreeSet<_> = cores.iter().map(|core| core.number).collect();
    let ids: BTreeSet<_> = cores.iter().map(|core| core.apic_id).collect();
    findings.expect(!cores.is_empty(), "host", "no core was told of");
    let once = numbers.len() == cores.len() && ids.len() == cores.len();
    findings.expect(once, "host", "a core was told of twice");
    for vcpu in &it.whole.vcpus {
        let what = format_args!("it is on core {}, which was not told of", vcpu.core);
        findings.expect(numbers.contains(&vcpu.core), it.vcpu(vcpu), what);
    }
}
