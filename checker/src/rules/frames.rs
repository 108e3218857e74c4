//! Every frame is accounted for.

use crate::layers::{Layers, end};
use crate::subject::{Subject, frames};
use crate::text::{self, size};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{MemoryKind, Range, Use};

pub(super) const RULE: Rule = Rule {
    name: "frames",
    proves: "Each usable frame is somebody's or free, once, and what is called a VM's RAM is what the VM reaches.",
    check,
};

/// Where start-up code of cores must be, and nothing else is.
const LOW: u64 = 1 << 20;

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mut usable = 0;
    for piece in it.memory.pieces() {
        let place = text::range(&piece.range);
        findings.expect(piece.of.len() == 1, &place, "told of twice by the loader");
        if piece.of == [MemoryKind::Usable] {
            usable += piece.range.len;
            owned_once(it, piece.range, &mut findings);
        }
    }
    for owned in &it.whole.host.owned {
        for piece in it.memory.over(owned.range) {
            let right = piece
                .of
                .iter()
                .all(|kind| may_be(owned.used, *kind, &piece.range))
                && !piece.of.is_empty();
            if !right {
                let used = text::used(owned.used, |vm| it.vm(vm));
                let kinds: Vec<String> = piece.of.iter().map(|kind| text::kind(*kind)).collect();
                let kinds = if kinds.is_empty() {
                    "no memory that the loader knows".to_owned()
                } else {
                    kinds.join(", ")
                };
                findings.add(text::range(&piece.range), format!("{used}, in {kinds}"));
            }
        }
    }
    ram(it, &mut findings);
    findings.proof(format!("{} of usable memory", size(usable)))
}

fn owned_once(it: &Subject<'_>, range: Range, findings: &mut Findings) {
    for piece in it.owners.over(range) {
        let place = text::range(&piece.range);
        match piece.of {
            [] => findings.add(place, "nobody's, and not free: it was lost"),
            [Use::Lost] => findings.add(place, "could not be kept track of: it was lost"),
            [_] => {}
            several => {
                let several: Vec<String> = several
                    .iter()
                    .map(|used| text::used(*used, |vm| it.vm(vm)))
                    .collect();
                findings.add(place, format!("used twice: {}", several.join(" and ")));
            }
        }
    }
}

/// Whether something may be in memory of a kind.
fn may_be(used: Use, kind: MemoryKind, range: &Range) -> bool {
    let low = end(range) <= LOW;
    match used {
        Use::Image | Use::Bundle => kind == MemoryKind::Loader,
        // The first core's is the loader's.
        Use::Stack => {
            kind == MemoryKind::Loader || kind == MemoryKind::Usable && range.start >= LOW
        }
        Use::LowMemory | Use::StartUp => kind == MemoryKind::Usable && low,
        _ => kind == MemoryKind::Usable && range.start >= LOW,
    }
}

/// RAM that its VM does not reach is no danger, but a book that is wrong.
fn ram(it: &Subject<'_>, findings: &mut Findings) {
    let reached = Layers::new(it.nested().map(|(vm, mapping)| (frames(mapping), vm.vm)));
    for owned in &it.whole.host.owned {
        let Use::Ram { vm } = owned.used else {
            continue;
        };
        for piece in reached.over(owned.range) {
            if !piece.of.contains(&vm) {
                findings.add(
                    text::range(&piece.range),
                    format!("RAM of {}, which does not reach it", it.vm(vm)),
                );
            }
        }
    }
}
