//! What exits load.

use crate::layers::Layers;
use crate::subject::{Subject, addresses, frames};
use crate::text::{self, count};
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{CoreSurvey, Mapping, Range, Use, VcpuSurvey};

pub(super) const RULE: Rule = Rule {
    name: "host-state",
    proves: "Each exit goes on in the hypervisor's code, on its stack, by its tables, with the control registers of its core.",
    check,
};

/// An exit's first push.
const PUSH: u64 = 8;

struct Tables<'a> {
    mappings: &'a [Mapping],
    at: Layers<usize>,
}

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let mappings = &it.whole.host.host;
    let tables = Tables {
        mappings,
        at: Layers::new(mappings.iter().map(addresses).zip(0..)),
    };
    for vcpu in &it.whole.vcpus {
        let place = it.vcpu(vcpu);
        let core = it
            .whole
            .host
            .cores
            .iter()
            .find(|core| core.number == vcpu.core);
        if let Some(core) = core {
            registers(it, vcpu, core, &place, &mut findings);
        }
        tables.points(
            it,
            (vcpu.host.rip, 1),
            &[Use::Image],
            true,
            &format!("{place}, RIP"),
            &mut findings,
        );
        // Each entry writes it: before the first it is zero.
        if vcpu.host.rsp != 0 {
            let top = (vcpu.host.rsp.wrapping_sub(PUSH), PUSH);
            tables.points(
                it,
                top,
                &[Use::Stack],
                false,
                &format!("{place}, RSP"),
                &mut findings,
            );
        }
        let data = [Use::Heap, Use::Image, Use::Stack];
        for (name, base, len) in [
            ("IDTR", vcpu.host.idtr, 256 * 16),
            ("GDTR", vcpu.host.gdtr, 8),
            ("TR", vcpu.host.tr_base, 104),
            ("FS", vcpu.host.fs_base, 1),
            ("GS", vcpu.host.gs_base, 1),
        ] {
            // Nothing goes by FS.
            if !(name == "FS" && base == 0) {
                tables.points(
                    it,
                    (base, len),
                    &data,
                    false,
                    &format!("{place}, base of {name}"),
                    &mut findings,
                );
            }
        }
    }
    findings.proof(count(it.whole.vcpus.len(), "vCPU"))
}

fn registers(
    it: &Subject<'_>,
    vcpu: &VcpuSurvey,
    core: &CoreSurvey,
    place: &str,
    findings: &mut Findings,
) {
    let host = &vcpu.host;
    for (name, is, should) in [
        ("CR0", host.cr0, core.cr0),
        ("CR3", host.cr3, it.whole.host.host_root),
        ("CR4", host.cr4, core.cr4),
        ("IA32_EFER", host.efer, core.efer),
        ("IA32_PAT", host.pat, core.pat),
    ] {
        let what = format_args!(
            "exits load {is:#x}, and core {} has {should:#x}",
            core.number
        );
        findings.expect(is == should, format_args!("{place}, {name}"), what);
    }
}

impl Tables<'_> {
    /// Whether the bytes from `at` on are mapped as code or as data that can be written, and are of one of these uses.
    fn points(
        &self,
        it: &Subject<'_>,
        (at, len): (u64, u64),
        uses: &[Use],
        code: bool,
        place: &str,
        findings: &mut Findings,
    ) {
        for piece in self.at.over(Range { start: at, len }) {
            let mapping = piece.of.first().and_then(|which| self.mappings.get(*which));
            let Some(mapping) = mapping else {
                findings.add(place, format!("{:#x} is not mapped", piece.range.start));
                continue;
            };
            let frame = Range {
                start: frames(mapping)
                    .start
                    .wrapping_add(piece.range.start.wrapping_sub(mapping.at)),
                len: piece.range.len,
            };
            let right = mapping.execute == code && mapping.write != code && mapping.read;
            let rights = text::rights(mapping.read, mapping.write, mapping.execute);
            findings.expect(
                right,
                place,
                format_args!("{:#x} is mapped {rights}", piece.range.start),
            );
            for owned in it.owners.over(frame) {
                let ours = matches!(owned.of, [used] if uses.contains(used));
                findings.expect(
                    ours,
                    place,
                    format_args!("{at:#x} leads to {}", it.what_is(owned.range)),
                );
            }
        }
    }
}
