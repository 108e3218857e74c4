//! Who carries each vCPU's local APIC, and on which core.

use crate::carrier::{Carrier, own_core};
use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::VcpuSurvey;

pub(super) const RULE: Rule = Rule {
    name: "apic",
    proves: "vCPUs are on the cores that the plan gives them; a core's local APIC is a guest's only where the plan says so, and the guest \
             alone is there.",
    check,
};

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mut lent = 0;
    for vcpu in &it.whole.vcpus {
        let place = it.vcpu(vcpu);
        let Some((planned, carrier)) = it.planned(vcpu.vm).zip(Carrier::named(&vcpu.carrier))
        else {
            continue; // Other rules say so.
        };
        if let Some(own) = own_core(planned, vcpu.vcpu) {
            let what = format_args!("it is on core {}, and core {own} is its own", vcpu.core);
            findings.expect(vcpu.core == own, &place, what);
        }
        let most = Carrier::most(planned, vcpu.vcpu);
        let what = format_args!("{carrier:?}, and the plan allows no more than {most:?}");
        findings.expect(carrier <= most, &place, what);
        fields(vcpu, carrier, &place, &mut findings);
        if carrier == Carrier::Direct {
            lent += 1;
            let beside = it
                .whole
                .vcpus
                .iter()
                .filter(|other| other.core == vcpu.core);
            let what = format_args!(
                "the local APIC of core {} is its, and others run there",
                vcpu.core
            );
            findings.expect(beside.count() == 1, &place, what);
        }
    }
    strangers(it, &mut findings);
    let over = format!(
        "{}, {} with a core's local APIC",
        count(it.whole.vcpus.len(), "vCPU"),
        lent
    );
    findings.proof(over)
}

fn fields(vcpu: &VcpuSurvey, carrier: Carrier, place: &str, findings: &mut Findings) {
    findings.expect(
        vcpu.apic_access.is_none(),
        place,
        "there is an APIC-access page",
    );
    let paged = vcpu.virtual_apic.is_some();
    findings.expect(
        paged == (carrier == Carrier::Accelerated),
        place,
        "a virtual-APIC page is there where none is wanted, or the reverse",
    );
    findings.expect(
        vcpu.posted_descriptor.is_none() || paged,
        place,
        "interrupts are posted without a virtual-APIC page",
    );
    // It programs the core's own deadline.
    let same_time = carrier != Carrier::Direct || vcpu.tsc_offset == 0;
    findings.expect(
        same_time,
        place,
        "its time is not its core's, whose timer it has",
    );
}

/// Who runs on a core that is somebody's own.
fn strangers(it: &Subject<'_>, findings: &mut Findings) {
    for (number, vm) in (0..).zip(&it.plan.vms) {
        for core in vm.dedicated().unwrap_or_default() {
            let others = it.whole.vcpus.iter().filter(|vcpu| vcpu.core == *core);
            let others =
                others.filter(|vcpu| vcpu.vm != number || own_core(vm, vcpu.vcpu) != Some(*core));
            for other in others {
                findings.add(
                    it.vcpu(other),
                    format!("it is on core {core}, which is {}'s alone", it.vm(number)),
                );
            }
        }
    }
}
