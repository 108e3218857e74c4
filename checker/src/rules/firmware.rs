//! Tables by which the firmware is called, when the machine goes off.

use crate::subject::{Subject, addresses, frames};
use crate::text::{self, size};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::MemoryKind;

pub(super) const RULE: Rule = Rule {
    name: "firmware",
    proves: "The tables for calls of the firmware are apart from ours, and map in their lower half the firmware's own memory alone.",
    check,
};

/// One past the lower half of 48-bit linear addresses (SDM vol. 1, "Canonical Addressing").
const LOWER_HALF: u64 = 1 << 47;

/// The firmware's memory holds code and data in one page, so that W^X cannot be had there.
fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mut mapped = 0;
    for mapping in &it.whole.host.firmware {
        let end = mapping.at.saturating_add(mapping.len);
        let place = text::range(&addresses(mapping));
        findings.expect(end <= LOWER_HALF, &place, "it is not in the lower half");
        for piece in it.memory.over(frames(mapping)) {
            mapped += piece.range.len;
            let its = piece
                .of
                .iter()
                .all(|kind| matches!(kind, MemoryKind::Firmware(_)));
            let device = it
                .devices
                .over(piece.range)
                .iter()
                .any(|piece| !piece.of.is_empty());
            let owned = it
                .owners
                .over(piece.range)
                .iter()
                .any(|piece| !piece.of.is_empty());
            let what = it.what_is(piece.range);
            findings.expect(its && !device && !owned, text::range(&piece.range), what);
        }
    }
    findings.proof(size(mapped))
}
