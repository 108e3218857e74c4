//! What the hypervisor's own tables map.

use crate::layers::Piece;
use crate::subject::{FRAME, Subject, addresses, frame_at, frames};
use crate::text::{self, count};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{Cache, Mapping, MemoryKind, Use};

pub(super) const RULE: Rule = Rule {
    name: "host-maps",
    proves: "The hypervisor's tables are its own, and map in the upper half alone: memory write-back, the firmware's only to be read, and \
             the registers of its devices uncacheable.",
    check,
};

/// Where the upper half of 48-bit linear addresses begins (SDM vol. 1, "Canonical Addressing").
const UPPER_HALF: u64 = 0xffff_8000_0000_0000;

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let host = &it.whole.host;
    let ours = |used: &[Use]| matches!(used, [Use::HostTables] | [Use::StartUp]);
    for range in &host.host_tables {
        for piece in it.owners.over(*range) {
            let what = format_args!("a table of ours: {}", it.what_is(piece.range));
            findings.expect(ours(piece.of), text::range(&piece.range), what);
        }
    }
    let root = frame_at(host.host_root);
    let among = host
        .host_tables
        .iter()
        .any(|range| range.start <= root.start && root.start - range.start < range.len);
    let place = format!("root of our tables, {:#x}", host.host_root);
    findings.expect(
        among && host.host_root.is_multiple_of(FRAME),
        &place,
        "it is not among our tables",
    );
    for mapping in &host.host {
        let lower = mapping.at < UPPER_HALF;
        findings.expect(
            !lower,
            text::range(&addresses(mapping)),
            "it is in the lower half",
        );
        for memory in it.memory.over(frames(mapping)) {
            for part in it.devices.over(memory.range) {
                if let Some(what) = wrong(mapping, &memory, !part.of.is_empty()) {
                    let rights = text::rights(mapping.read, mapping.write, mapping.execute);
                    let what = format_args!(
                        "{} is mapped {rights} {}: {what}",
                        it.what_is(part.range),
                        text::cache(mapping.cache)
                    );
                    findings.add(format!("host-physical {}", text::range(&part.range)), what);
                }
            }
        }
    }
    let over = format!(
        "{}, {}",
        count(host.host.len(), "mapping"),
        count(host.devices.len(), "device")
    );
    findings.proof(over)
}

/// What is wrong with a mapping of a piece of memory, or of what is none.
fn wrong(mapping: &Mapping, memory: &Piece<'_, MemoryKind>, device: bool) -> Option<&'static str> {
    match (memory.of, device) {
        ([], false) => Some("neither memory nor a device that we use"),
        ([], true) => match mapping.cache {
            Cache::Uncacheable if !mapping.execute => None,
            Cache::Uncacheable => Some("registers are not executed"),
            _ => Some("registers are not cached"),
        },
        (_, true) => Some("registers, and memory, if both were right"),
        (_, false) if mapping.cache != Cache::WriteBack => Some("memory is cached write-back"),
        ([MemoryKind::Firmware(_)], false) if mapping.write || mapping.execute => {
            Some("the firmware's is only read")
        }
        _ => None,
    }
}
