//! The controls of each vCPU, bit by bit.

mod table;

use crate::carrier::Carrier;
use crate::subject::Subject;
use crate::text::count;
use crate::verdict::{Findings, Proof, Rule};
use proto::certificate::VcpuSurvey;
pub(crate) use table::{EPT, VPID};

pub(super) const RULE: Rule = Rule {
    name: "controls",
    proves: "Each control of each vCPU that keeps its guest in is on, and each is off that is not known here and allowed.",
    check,
};

/// What a bit may be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum May {
    /// It must be set
    On,
    /// It must be clear
    Off,
    /// It may be either
    Be,
}

/// One bit of a word of controls.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bit {
    pub(crate) bit: u8,
    /// The manual's name
    pub(crate) name: &'static str,
    /// Under each carrier, the least first
    pub(crate) may: [May; 3],
    pub(crate) why: &'static str,
}

impl Bit {
    const fn may(&self, carrier: Carrier) -> May {
        let [software, accelerated, direct] = self.may;
        match carrier {
            Carrier::Software => software,
            Carrier::Accelerated => accelerated,
            Carrier::Direct => direct,
        }
    }
}

/// The words of a vCPU, with the bits that are known of each: any other must be clear.
pub(crate) fn words(vcpu: &VcpuSurvey) -> [(&'static str, u32, &'static [Bit]); 5] {
    [
        ("pin-based controls", vcpu.pin, table::PIN),
        ("primary controls", vcpu.primary, table::PRIMARY),
        ("secondary controls", vcpu.secondary, table::SECONDARY),
        ("exit controls", vcpu.exit, table::EXIT),
        ("entry controls", vcpu.entry, table::ENTRY),
    ]
}

fn check(it: &Subject<'_>) -> Proof {
    let mut findings = Findings::default();
    for vcpu in &it.whole.vcpus {
        let place = it.vcpu(vcpu);
        let Some(carrier) = Carrier::named(&vcpu.carrier) else {
            let what = format_args!(
                "its local APIC is carried by `{}`, which is not known here",
                vcpu.carrier
            );
            findings.add(place, what);
            continue;
        };
        for (name, value, bits) in words(vcpu) {
            let place = format!("{place}, {name}");
            for bit in 0..32 {
                let set = value >> bit & 1 != 0;
                match (bits.iter().find(|known| known.bit == bit), set) {
                    (Some(known), false) if known.may(carrier) == May::On => {
                        findings.add(
                            &place,
                            format!("{:?} (bit {bit}) is off: {}", known.name, known.why),
                        );
                    }
                    (Some(known), true) if known.may(carrier) == May::Off => {
                        let why = format!(
                            "{:?} (bit {bit}) is on, under {}: {}",
                            known.name, vcpu.carrier, known.why
                        );
                        findings.add(&place, why);
                    }
                    (None, true) => findings.add(
                        &place,
                        format!("bit {bit} is on, and is not among those that may be"),
                    ),
                    _ => {}
                }
            }
        }
    }
    let vcpus = it.whole.vcpus.len();
    findings.proof(format!(
        "{} of {}",
        count(vcpus * 5 * 32, "bit"),
        count(vcpus, "vCPU")
    ))
}
