//! Nothing that the hypervisor can write can it execute.

use crate::layers::Layers;
use crate::subject::{Subject, address_of, addresses, frames};
use crate::text::{self, size};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{Mapping, Use};

pub(super) const RULE: Rule = Rule {
    name: "w-xor-x",
    proves: "The hypervisor executes nothing but its image, no page of which it can write, by whatever address.",
    check,
};

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let host = &it.whole.host.host;
    let code = || host.iter().filter(|mapping| mapping.execute);
    for mapping in code() {
        let place = text::range(&addresses(mapping));
        findings.expect(!mapping.write, &place, "can be written and executed");
        for piece in it.owners.over(frames(mapping)) {
            let at = address_of(mapping, piece.range.start);
            let what = format_args!("{} can be executed", it.what_is(piece.range));
            findings.expect(piece.of == [Use::Image], format_args!("{at:#x}"), what);
        }
    }
    aliases(host, &mut findings);
    let over = format!(
        "{} of code, {} mapped",
        size(bytes(code())),
        size(bytes(host.iter()))
    );
    findings.proof(over)
}

fn bytes<'a>(mappings: impl Iterator<Item = &'a Mapping>) -> u64 {
    mappings
        .map(|mapping| mapping.len)
        .fold(0, u64::saturating_add)
}

/// Memory that one address executes and another writes.
fn aliases(host: &[Mapping], findings: &mut Findings) {
    let layers = Layers::new(host.iter().map(|mapping| (frames(mapping), mapping)));
    for piece in layers.pieces().filter(|piece| piece.of.len() > 1) {
        let find = |which: fn(&Mapping) -> bool| piece.of.iter().find(|mapping| which(mapping));
        let both =
            find(|mapping| mapping.execute).zip(find(|mapping| mapping.write && !mapping.execute));
        if let Some((code, data)) = both {
            let at = |mapping| address_of(mapping, piece.range.start);
            let what = format_args!("executed at {:#x} and written at {:#x}", at(code), at(data));
            findings.add(format!("host-physical {}", text::range(&piece.range)), what);
        }
    }
}
