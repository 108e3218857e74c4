//! Whose the structures are by which the processor keeps VMs in.

use crate::layers::Layers;
use crate::subject::{FRAME, Subject, frame_at};
use crate::text::{self, count};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{Range, Use};
use std::collections::BTreeMap;

pub(super) const RULE: Rule = Rule {
    name: "structures",
    proves: "Nested tables, control structures, bitmaps and virtual-APIC pages are in usable memory, each its VM's alone.",
    check,
};

/// Bytes of a posted-interrupt descriptor, which are its alignment (SDM vol. 3, "Posted-Interrupt Processing").
const DESCRIPTOR: u64 = 64;

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mut looked = 0;
    for vm in &it.whole.vms {
        let place = it.vm(vm.vm);
        let tables = Layers::new(vm.nested_tables.iter().map(|range| (*range, ())));
        let root = tables.over(frame_at(vm.nested_root));
        findings.expect(
            vm.nested_root.is_multiple_of(FRAME) && root.iter().all(|piece| !piece.of.is_empty()),
            &place,
            format_args!(
                "the root of its nested tables, {:#x}, is not among them",
                vm.nested_root
            ),
        );
        for range in &vm.nested_tables {
            looked += range.len / FRAME;
            expect(
                it,
                *range,
                Use::NestedTables { vm: vm.vm },
                "nested tables",
                &place,
                &mut findings,
            );
        }
        // What is taken for tables is reached from the root.
        let owned = it
            .whole
            .host
            .owned
            .iter()
            .filter(|owned| owned.used == Use::NestedTables { vm: vm.vm });
        for piece in owned.flat_map(|owned| tables.over(owned.range)) {
            let what = format_args!(
                "{} is called a nested table of its, and none leads there",
                text::range(&piece.range)
            );
            findings.expect(!piece.of.is_empty(), &place, what);
        }
    }
    for vcpu in &it.whole.vcpus {
        let (place, vm) = (it.vcpu(vcpu), vcpu.vm);
        let named = [
            (vcpu.msr_bitmap, Use::Bitmap { vm }, "MSR bitmap"),
            (vcpu.io_bitmap_a, Use::Bitmap { vm }, "I/O bitmap A"),
            (vcpu.io_bitmap_b, Use::Bitmap { vm }, "I/O bitmap B"),
            (
                vcpu.virtual_apic,
                Use::VirtualApic { vm },
                "virtual-APIC page",
            ),
            (Some(vcpu.vmcs), Use::Vmcs { vm }, "control structure"),
        ];
        for (at, used, name) in named {
            let Some(at) = at else { continue };
            looked += 1;
            findings.expect(
                at.is_multiple_of(FRAME),
                &place,
                format_args!("{name}: {at:#x} is not a frame"),
            );
            expect(it, frame_at(at), used, name, &place, &mut findings);
        }
        if let Some(start) = vcpu.posted_descriptor {
            looked += 1;
            let range = Range {
                start,
                len: DESCRIPTOR,
            };
            findings.expect(
                start.is_multiple_of(DESCRIPTOR),
                &place,
                format_args!("posted-interrupt descriptor: {start:#x} is not aligned"),
            );
            expect(
                it,
                range,
                Use::Heap,
                "posted-interrupt descriptor",
                &place,
                &mut findings,
            );
        }
    }
    for vcpu in &it.whole.unstarted {
        looked += 1;
        let place = format!("{} vCPU {}", it.vm(vcpu.vm), vcpu.vcpu);
        expect(
            it,
            frame_at(vcpu.vmcs),
            Use::Vmcs { vm: vcpu.vm },
            "control structure",
            &place,
            &mut findings,
        );
    }
    each_its_own(it, &mut findings);
    findings.proof(count(looked as usize, "structure"))
}

fn expect(
    it: &Subject<'_>,
    range: Range,
    used: Use,
    name: &str,
    place: &str,
    findings: &mut Findings,
) {
    let what = format_args!("{name} at {}: {}", text::range(&range), it.what_is(range));
    findings.expect(it.is_only(range, used), place, what);
}

/// No two vCPUs have the same control structure, virtual-APIC page or posted-interrupt descriptor, and no core one of them.
fn each_its_own(it: &Subject<'_>, findings: &mut Findings) {
    let mut users: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for vcpu in &it.whole.vcpus {
        for at in [Some(vcpu.vmcs), vcpu.virtual_apic, vcpu.posted_descriptor]
            .into_iter()
            .flatten()
        {
            users.entry(at).or_default().push(it.vcpu(vcpu));
        }
    }
    for vcpu in &it.whole.unstarted {
        let name = format!("{} vCPU {}", it.vm(vcpu.vm), vcpu.vcpu);
        users.entry(vcpu.vmcs).or_default().push(name);
    }
    for core in &it.whole.host.cores {
        users
            .entry(core.vmxon)
            .or_default()
            .push(format!("core {}", core.number));
    }
    for (at, users) in users.iter().filter(|(_, users)| users.len() > 1) {
        findings.add(
            users.join(" and "),
            format!("the same structure at {at:#x}"),
        );
    }
}
