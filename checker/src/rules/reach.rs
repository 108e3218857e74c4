//! What the memory that VMs reach is.

use crate::layers::Layers;
use crate::subject::{Subject, address_of, frames};
use crate::text::{self, count, size};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{Mapping, MemoryKind, Range, Use};
use std::collections::BTreeSet;

/// The plan has no shared memory yet: when it has, its names are the exceptions.
pub(super) const DISJOINT: Rule = Rule {
    name: "disjoint",
    proves: "No memory is reached by two VMs.",
    check: disjoint,
};

pub(super) const OWN: Rule = Rule {
    name: "own-memory",
    proves: "What a VM reaches is its own RAM: nothing of another's, of the hypervisor's, and nothing that is free.",
    check: own,
};

pub(super) const MEMORY: Rule = Rule {
    name: "memory-only",
    proves: "What a VM reaches is usable memory: nothing of the firmware's or the loader's, and no registers of devices.",
    check: memory,
};

fn disjoint(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let reached = Layers::new(it.nested().map(|(vm, mapping)| (frames(mapping), vm.vm)));
    for piece in reached.pieces() {
        let vms: BTreeSet<u16> = piece.of.iter().copied().collect();
        if vms.len() > 1 {
            let names: Vec<String> = vms.iter().map(|vm| it.vm(*vm)).collect();
            let what = format_args!("{} is reached by both", text::range(&piece.range));
            findings.add(names.join(" and "), what);
        }
    }
    let vms = it.whole.vms.len();
    let pairs = vms * vms.saturating_sub(1) / 2;
    findings.proof(format!(
        "{}, {}",
        count(pairs, "pair"),
        size(reached.bytes())
    ))
}

fn own(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    for (vm, mapping) in it.nested() {
        for piece in it.owners.over(frames(mapping)) {
            // What nobody has, and is no memory, is another rule's.
            let usable = it
                .memory
                .over(piece.range)
                .iter()
                .any(|it| it.of.contains(&MemoryKind::Usable));
            if piece.of != [Use::Ram { vm: vm.vm }] && (usable || !piece.of.is_empty()) {
                let what = match piece.of {
                    [] => "memory that nobody has".to_owned(),
                    [Use::Free] => {
                        "free memory: a mapping that is stale, or will be somebody else's"
                            .to_owned()
                    }
                    _ => it.what_is(piece.range).to_string(),
                };
                findings.add(place(it, vm.vm, mapping, &piece.range), what);
            }
        }
    }
    findings.proof(format!(
        "{}, beside {} of others",
        size(it.reached()),
        size(others(it))
    ))
}

/// Bytes that are known to be something else than RAM of VMs.
fn others(it: &Subject<'_>) -> u64 {
    let pieces = it.owners.pieces();
    let others = pieces.filter(|piece| !matches!(piece.of, [Use::Ram { .. }]));
    others.map(|piece| piece.range.len).sum()
}

fn memory(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    for (vm, mapping) in it.nested() {
        for known in it.memory.over(frames(mapping)) {
            for part in it.devices.over(known.range) {
                if known.of != [MemoryKind::Usable] || !part.of.is_empty() {
                    findings.add(
                        place(it, vm.vm, mapping, &part.range),
                        it.what_is(part.range),
                    );
                }
            }
        }
    }
    let closed = it
        .memory
        .pieces()
        .filter(|piece| piece.of != [MemoryKind::Usable]);
    let over = format!(
        "{}, beside {} that are not usable and {}",
        size(it.reached()),
        size(closed.map(|piece| piece.range.len).sum()),
        count(it.whole.host.devices.len(), "device"),
    );
    findings.proof(over)
}

fn place(it: &Subject<'_>, vm: u16, mapping: &Mapping, frames: &Range) -> String {
    let at = address_of(mapping, frames.start);
    format!(
        "{}, guest-physical {at:#x}, host-physical {}",
        it.vm(vm),
        text::range(frames)
    )
}
