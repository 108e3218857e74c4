//! Which MSRs each vCPU touches without an exit.

use crate::carrier::Carrier::{self, Accelerated, Direct, Software};
use crate::layers::{Layers, Piece};
use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::{MsrGrant, Range};

pub(super) const RULE: Rule = Rule {
    name: "msrs",
    proves: "vCPUs touch without an exit only MSRs that are theirs while they run, each for a reason that is known here.",
    check,
};

/// MSRs in a row that may be granted.
#[derive(Clone, Copy, PartialEq, Debug)]
pub(crate) struct Allowed {
    pub(crate) first: u32,
    pub(crate) last: u32,
    pub(crate) name: &'static str,
    read: bool,
    write: bool,
    /// Only under these
    carriers: &'static [Carrier],
    pub(crate) why: &'static str,
}

const fn row(
    first: u32,
    last: u32,
    name: &'static str,
    rights: &str,
    carriers: &'static [Carrier],
    why: &'static str,
) -> Allowed {
    let rights = rights.as_bytes();
    Allowed {
        first,
        last,
        name,
        read: rights[0] == b'r',
        write: rights[rights.len() - 1] == b'w',
        carriers,
        why,
    }
}

const ANY: &[Carrier] = &[Software, Accelerated, Direct];
const LENT: &[Carrier] = &[Direct];
/// The virtual-APIC page, or the local APIC that is lent
const PAGE_OR_LENT: &[Carrier] = &[Accelerated, Direct];

const IN_VMCS: &str = "in the VMCS: entries load the guest's, exits the hypervisor's";
const EXCHANGED: &str =
    "no code of the hypervisor's goes by it, and it is exchanged when vCPUs are";
const OWN_APIC: &str = "of the virtual-APIC page, or of the local APIC that is the guest's";

/// All that may be granted, lowest first (SDM vol. 4, "Architectural MSRs"; vol. 3, "x2APIC Register Address Space").
pub(crate) const ALLOWED: &[Allowed] = &[
    row(
        0x10,
        0x10,
        "IA32_TIME_STAMP_COUNTER",
        "r",
        ANY,
        "reads as RDTSC does; a write would move the core's",
    ),
    row(
        0x3b,
        0x3b,
        "IA32_TSC_ADJUST",
        "r",
        LENT,
        "of the core that is the guest's alone, whose time is the guest's",
    ),
    row(
        0x48,
        0x48,
        "IA32_SPEC_CTRL",
        "rw",
        ANY,
        "the guest's own protection; exchanged at entries and exits, or when vCPUs are",
    ),
    row(
        0x49,
        0x49,
        "IA32_PRED_CMD",
        "w",
        ANY,
        "a barrier, which keeps nothing",
    ),
    row(
        0x174,
        0x176,
        "IA32_SYSENTER_CS, _ESP, _EIP",
        "rw",
        ANY,
        IN_VMCS,
    ),
    row(0x277, 0x277, "IA32_PAT", "r", ANY, IN_VMCS),
    row(
        0x6e0,
        0x6e0,
        "IA32_TSC_DEADLINE",
        "rw",
        LENT,
        "the timer of the local APIC that is the guest's",
    ),
    row(0x808, 0x808, "x2APIC TPR", "rw", PAGE_OR_LENT, OWN_APIC),
    row(0x80a, 0x80a, "x2APIC PPR", "r", PAGE_OR_LENT, OWN_APIC),
    row(0x80b, 0x80b, "x2APIC EOI", "w", PAGE_OR_LENT, OWN_APIC),
    row(
        0x810,
        0x827,
        "x2APIC ISR, TMR, IRR",
        "r",
        PAGE_OR_LENT,
        OWN_APIC,
    ),
    row(
        0x838,
        0x838,
        "x2APIC initial count",
        "rw",
        LENT,
        "0 in TSC-deadline mode, which the guest cannot leave without an exit",
    ),
    row(0x839, 0x839, "x2APIC current count", "r", LENT, "likewise"),
    row(
        0x83f,
        0x83f,
        "x2APIC SELF IPI",
        "w",
        PAGE_OR_LENT,
        "reaches the vCPU alone: its page, or its core",
    ),
    row(0xc000_0080, 0xc000_0080, "IA32_EFER", "r", ANY, IN_VMCS),
    row(
        0xc000_0081,
        0xc000_0084,
        "IA32_STAR, LSTAR, CSTAR, FMASK",
        "rw",
        ANY,
        EXCHANGED,
    ),
    row(
        0xc000_0100,
        0xc000_0101,
        "IA32_FS_BASE, GS_BASE",
        "rw",
        ANY,
        IN_VMCS,
    ),
    row(
        0xc000_0102,
        0xc000_0102,
        "IA32_KERNEL_GS_BASE",
        "rw",
        ANY,
        EXCHANGED,
    ),
    row(
        0xc000_0103,
        0xc000_0103,
        "IA32_TSC_AUX",
        "rw",
        ANY,
        EXCHANGED,
    ),
];

/// What of the list is where.
pub(crate) fn allowed() -> Layers<&'static Allowed> {
    Layers::new(ALLOWED.iter().map(|row| (range(row.first, row.last), row)))
}

pub(crate) fn range(first: u32, last: u32) -> Range {
    Range {
        start: first.into(),
        len: (u64::from(last) + 1).saturating_sub(first.into()),
    }
}

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    let allowed = allowed();
    for vcpu in &it.whole.vcpus {
        let carrier = Carrier::named(&vcpu.carrier);
        for grant in &vcpu.msrs {
            for piece in allowed.over(range(grant.first, grant.last)) {
                if !may(&piece, grant, carrier) {
                    let (first, last) =
                        (piece.range.start, piece.range.start + piece.range.len - 1);
                    let which = if first == last {
                        format!("MSR {first:#x}")
                    } else {
                        format!("MSRs {first:#x} to {last:#x}")
                    };
                    let names: Vec<_> = piece.of.iter().map(|row| row.name).collect();
                    let what =
                        format_args!("{which}: {}{}", rights(grant), known(&names, &vcpu.carrier));
                    findings.add(it.vcpu(vcpu), what);
                }
            }
        }
    }
    let granted = it.whole.vcpus.iter().flat_map(|vcpu| &vcpu.msrs);
    let granted = granted
        .map(|grant| range(grant.first, grant.last).len as usize)
        .sum();
    let vcpus = it.whole.vcpus.len();
    findings.proof(format!(
        "{} of {}",
        count(granted, "grant"),
        count(vcpus, "vCPU")
    ))
}

fn may(piece: &Piece<'_, &Allowed>, grant: &MsrGrant, carrier: Option<Carrier>) -> bool {
    piece.of.iter().any(|row| {
        let carried = carrier.is_some_and(|carrier| row.carriers.contains(&carrier));
        carried && (row.read || !grant.read) && (row.write || !grant.write)
    })
}

/// What a grant lets a guest do, in words.
pub(crate) const fn rights(grant: &MsrGrant) -> &'static str {
    match (grant.read, grant.write) {
        (true, true) => "read and written",
        (true, false) => "read",
        (false, true) => "written",
        (false, false) => "neither read nor written",
    }
}

fn known(names: &[&str], carrier: &str) -> String {
    match names {
        [] => " without an exit, and not among those that may be".to_owned(),
        names => format!(
            " without an exit, which {} may not be so under {carrier}",
            names.join(", ")
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_msr_is_there_once_and_in_order() {
        assert!(ALLOWED.windows(2).all(|two| two[0].last < two[1].first));
        assert!(
            ALLOWED
                .iter()
                .all(|row| row.first <= row.last && (row.read || row.write))
        );
    }

    #[test]
    fn all_there_are_is_a_range_like_any() {
        assert_eq!(range(0, u32::MAX).len, 1 << 32);
    }
}
