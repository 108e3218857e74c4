//! What each carrier of the local APIC lets a guest touch without an exit: the data from which the MSR bitmaps are made.
//!
//! What is not listed exits. An x2APIC write that does not exit reaches the processor's own local APIC, but for the three registers
//! that "virtualize x2APIC mode" with virtual-interrupt delivery redirects (SDM vol. 3, "Virtualizing MSR-Based APIC Accesses").

use crate::msr::Rights;
use spec::Msr;
use spec::apic::{Carrier, register};
use spec::msr::{TSC_ADJUST, TSC_DEADLINE, X2APIC_FIRST};

/// Registers in a row with the same rights.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Grant {
    /// The first register
    pub first: Msr,
    /// The last one
    pub last: Msr,
    /// What the guest may do with each
    pub rights: Rights,
    /// Why it may
    pub why: &'static str,
}

impl Grant {
    /// The registers.
    pub fn msrs(&self) -> impl Iterator<Item = Msr> + use<> {
        (self.first.0..=self.last.0).map(Msr)
    }
}

#[expect(
    clippy::arithmetic_side_effects,
    reason = "256 registers from 0x800 on"
)]
const fn x2apic(number: u8) -> Msr {
    Msr(X2APIC_FIRST.0 + number as u32)
}

const fn grant(first: Msr, last: Msr, rights: Rights, why: &'static str) -> Grant {
    Grant {
        first,
        last,
        rights,
        why,
    }
}

const fn one(msr: Msr, rights: Rights, why: &'static str) -> Grant {
    grant(msr, msr, rights, why)
}

const TPR: Msr = x2apic(register::TPR);
const PPR: Msr = x2apic(register::PPR);
const EOI: Msr = x2apic(register::EOI);
const SELF_IPI: Msr = x2apic(register::SELF_IPI);
const SETS_FIRST: Msr = x2apic(register::ISR);
const SETS_LAST: Msr = x2apic(register::ESR - 1);
const READ: Rights = Rights::READ;
const WRITE: Rights = Rights::WRITE;

const ACCELERATED: &[Grant] = &[
    one(
        TPR,
        Rights::all(),
        "VTPR in the virtual-APIC page; a write is TPR virtualization",
    ),
    one(PPR, READ, "VPPR in the virtual-APIC page"),
    one(
        EOI,
        WRITE,
        "EOI virtualization; ends of level-triggered interrupts exit",
    ),
    grant(
        SETS_FIRST,
        SETS_LAST,
        READ,
        "VISR, VTMR and VIRR in the virtual-APIC page",
    ),
    one(SELF_IPI, WRITE, "self-IPI virtualization"),
];

const DIRECT: &[Grant] = &[
    one(
        TSC_ADJUST,
        READ,
        "the guest's TSC is the processor's; given only where the processor's is 0, as the guest's is",
    ),
    one(
        TSC_DEADLINE,
        Rights::all(),
        "the timer is lent with the local APIC, and the guest's TSC is the processor's",
    ),
    one(
        TPR,
        Rights::all(),
        "lent: it holds back nothing but the guest's own interrupts",
    ),
    one(PPR, READ, "follows from the guest's own TPR and ISR"),
    one(
        EOI,
        WRITE,
        "only the guest has interrupts in service; exits while one of them is level-triggered",
    ),
    grant(
        SETS_FIRST,
        SETS_LAST,
        READ,
        "nothing but the guest's own interrupts; TMR exits while one of them is level-triggered",
    ),
    one(
        x2apic(register::TIMER_INITIAL),
        Rights::all(),
        "without effect and 0 in TSC-deadline mode, which the guest cannot leave without an exit",
    ),
    one(
        x2apic(register::TIMER_CURRENT),
        READ,
        "0 in TSC-deadline mode",
    ),
    one(SELF_IPI, WRITE, "reaches this processor alone"),
];

/// What a guest is granted while `carrier` carries its local APIC.
#[must_use]
pub const fn grants(carrier: Carrier) -> &'static [Grant] {
    match carrier {
        Carrier::Software => &[],
        Carrier::Accelerated => ACCELERATED,
        Carrier::Direct => DIRECT,
    }
}

/// What of the grants of [`Carrier::Direct`] is taken back while the guest has a level-triggered interrupt to end: the processor has it as
/// an edge-triggered one, so it would not show in TMR and no I/O APIC would be told of its end.
pub const WITHHELD_WITH_LEVEL_IN_FLIGHT: &[Grant] = &[
    one(EOI, WRITE, "the I/O APIC is to be told"),
    grant(
        x2apic(register::TMR),
        x2apic(register::IRR - 1),
        READ,
        "Linux ends an interrupt that TMR calls edge-triggered by the I/O APIC's registers too",
    ),
];

#[cfg(test)]
mod tests;
