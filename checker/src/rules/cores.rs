//! The cores, in root operation.

use crate::subject::{FRAME, Subject, frame_at};
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{CoreSurvey, Use};

pub(super) const RULE: Rule = Rule {
    name: "cores",
    proves: "All cores go by the hypervisor's tables, mind their write and execute protection, and have the same further protections on.",
    check,
};

/// A bit of a register, by the manual's name.
type Bit = (u8, &'static str);

const CR0: &[Bit] = &[(0, "PE"), (16, "WP"), (31, "PG")];
const CR4: &[Bit] = &[(5, "PAE"), (13, "VMXE")];
const EFER: &[Bit] = &[(8, "LME"), (10, "LMA"), (11, "NXE")];
/// Five-level paging, which these tables are not for.
const LA57: u64 = 1 << 12;
/// On where the machine has them: which that is the first core shows.
const FURTHER: &[Bit] = &[(11, "UMIP"), (20, "SMEP"), (21, "SMAP")];

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let cores = &it.whole.host.cores;
    for core in cores {
        let place = format!("core {}", core.number);
        for (name, value, bits) in [
            ("CR0", core.cr0, CR0),
            ("CR4", core.cr4, CR4),
            ("IA32_EFER", core.efer, EFER),
        ] {
            for (bit, meaning) in bits {
                findings.expect(
                    value >> bit & 1 != 0,
                    &place,
                    format_args!("{name}.{meaning} is off"),
                );
            }
        }
        findings.expect(core.cr4 & LA57 == 0, &place, "CR4.LA57 is on");
        let root = core.cr3 & !(FRAME - 1);
        let what = format_args!(
            "CR3 leads to {root:#x}, and our tables begin at {:#x}",
            it.whole.host.host_root
        );
        findings.expect(root == it.whole.host.host_root, &place, what);
        let region = frame_at(core.vmxon);
        let right = core.vmxon.is_multiple_of(FRAME) && it.is_only(region, Use::VmxRegion);
        findings.expect(
            right,
            &place,
            format_args!("VMXON region {:#x}: {}", core.vmxon, it.what_is(region)),
        );
        agrees(core, cores.first(), &place, &mut findings);
    }
    let first = cores.first();
    let on = FURTHER
        .iter()
        .filter(|(bit, _)| first.is_some_and(|first| first.cr4 >> bit & 1 != 0));
    let on: Vec<_> = on.map(|(_, name)| *name).collect();
    let on = if on.is_empty() {
        "no further protection".to_owned()
    } else {
        on.join(", ")
    };
    findings.proof(format!("{}, all with {on}", count(cores.len(), "core")))
}

fn agrees(core: &CoreSurvey, first: Option<&CoreSurvey>, place: &str, findings: &mut Findings) {
    let Some(first) = first else { return };
    for (bit, name) in FURTHER {
        let same = (core.cr4 ^ first.cr4) >> bit & 1 == 0;
        findings.expect(
            same,
            place,
            format_args!("CR4.{name} is not as on core {}", first.number),
        );
    }
    findings.expect(
        core.pat == first.pat,
        place,
        format_args!("IA32_PAT is not that of core {}", first.number),
    );
}
