//! What else must not be the guest's: exceptions, bits of CR0 and CR4, MSRs that entries and exits exchange.

use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};

pub(super) const RULE: Rule = Rule {
    name: "intercepts",
    proves: "Exceptions that would hold a core or are the host's exit; bits of CR0 and CR4 that reach past the guest are kept from it; \
             entries and exits load and store no MSRs by list.",
    check,
};

/// Exceptions that must exit.
const EXCEPTIONS: &[(u8, &str)] = &[
    (
        1,
        "#DB: one whose delivery raises the next would never end (CVE-2015-8104)",
    ),
    (
        17,
        "#AC: one whose delivery raises the next would never end (CVE-2015-5307)",
    ),
    (18, "#MC: errors of the machine are the host's"),
];

/// Bits of CR0 that a guest may have: all that it alone sees the effect of. The rest are the hypervisor's, of which CD and NW would slow
/// the core's caches for all.
const CR0: &[u8] = &[
    0,  // PE
    1,  // MP
    2,  // EM
    3,  // TS
    4,  // ET
    5,  // NE
    16, // WP
    18, // AM
    31, // PG
];

/// Likewise of CR4; the rest are the hypervisor's. MCE, or an error of the machine would stop it; VMXE and SMXE, or the guest could
/// begin to play host; OSXSAVE, PKE, CET, PKS and UINTR, on which state hangs that is exchanged, or not, when vCPUs are.
const CR4: &[u8] = &[
    0,  // VME
    1,  // PVI
    2,  // TSD
    3,  // DE
    4,  // PSE
    5,  // PAE
    7,  // PGE
    8,  // PCE, since RDPMC exits
    9,  // OSFXSR
    10, // OSXMMEXCPT
    11, // UMIP
    16, // FSGSBASE
    17, // PCIDE
    20, // SMEP
    21, // SMAP
];

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    for vcpu in &it.whole.vcpus {
        let place = it.vcpu(vcpu);
        for (vector, why) in EXCEPTIONS {
            let exits = vcpu.exception_bitmap >> vector & 1 != 0;
            findings.expect(exits, &place, format_args!("does not exit for {why}"));
        }
        for (name, mask, may) in [("CR0", vcpu.cr0_mask, CR0), ("CR4", vcpu.cr4_mask, CR4)] {
            let bits = (0..64u8).filter(|bit| mask >> bit & 1 == 0 && !may.contains(bit));
            for bit in bits {
                findings.add(&place, format!("the guest has bit {bit} of {name}"));
            }
        }
        for ((at, entries), name) in
            vcpu.msr_lists
                .iter()
                .zip(["loaded by entries", "stored by exits", "loaded by exits"])
        {
            let what = format_args!("{} at {at:#x} {name}", count(*entries as usize, "MSR"));
            findings.expect(*entries == 0, &place, what);
        }
        findings.expect(
            vcpu.msr_lists.len() == 3,
            &place,
            "not all three lists of MSRs were told of",
        );
    }
    findings.proof(count(it.whole.vcpus.len(), "vCPU"))
}
