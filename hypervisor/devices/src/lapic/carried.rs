//! Who carries the local APIC, and who can.
//!
//! While another than this model carries it, `irr` holds what was requested here and not handed over yet, and `isr` nothing; the
//! truth is in the virtual-APIC page or in the processor's own local APIC. LVT, SVR, ESR, ICR and ID stay here, and the timer
//! too but under [`Carrier::Direct`].

use super::page::VirtualApicPage;
use super::vectors::VectorSet;
use super::{Lapic, Mode};
use spec::apic::{Carrier, Esr, FIRST_VECTOR, Lvt, register};
use spec::{Ticks, Vector};

/// The carrier and what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried {
    Software,
    Page(&'static VirtualApicPage),
    Processor,
}

impl PartialEq for Carried {
    /// The same page, whatever is in it.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Page(a), Self::Page(b)) => core::ptr::eq(*a, *b),
            _ => core::mem::discriminant(self) == core::mem::discriminant(other),
        }
    }
}

impl Eq for Carried {}

impl Lapic {
    /// Who carries it now.
    #[inline]
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match self.carried {
            Carried::Software => Carrier::Software,
            Carried::Page(_) => Carrier::Accelerated,
            Carried::Processor => Carrier::Direct,
        }
    }

    /// Who can carry it as it is now, at most `best`. It changes only by what the guest writes to its APIC, INIT, a TSC offset, and
    /// the end of an interrupt.
    #[must_use]
    pub fn suits(&self, best: Carrier, has_accelerated: bool) -> Carrier {
        if best == Carrier::Direct && self.why_not_direct().is_none() {
            Carrier::Direct
        } else if best != Carrier::Software
            && has_accelerated
            && self.mode == Mode::X2Apic
            // The processor would take a SELF_IPI whatever SVR says.
            && self.is_enabled()
        {
            Carrier::Accelerated
        } else {
            Carrier::Software
        }
    }

    /// Whether an interrupt is in service, as far as is known without asking the processor's own local APIC.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        let highest = match self.carried {
            Carried::Page(page) => page.highest(register::ISR),
            Carried::Software | Carried::Processor => self.isr.highest(),
        };
        highest != 0
    }

    /// What keeps the processor's own local APIC from being lent to the guest, or from staying so; `None`: nothing.
    #[must_use]
    pub fn why_not_direct(&self) -> Option<&'static str> {
        let timer = self.lvt.timer();
        Some(if self.mode != Mode::X2Apic {
            "the guest keeps xAPIC mode"
        } else if !self.is_enabled() {
            "disabled by software"
        } else if !timer.contains(Lvt::TSC_DEADLINE) {
            "the local APIC timer is not in TSC-deadline mode"
        } else if !timer.contains(Lvt::MASKED)
            && ((timer & Lvt::VECTOR).bits() as u8) < FIRST_VECTOR
        {
            // The processor would log the error where the guest does not see it.
            "the local APIC timer's vector is an exception's"
        } else if self.timer.tsc_offset() != 0 {
            "the guest's TSC is not the host's"
        } else if self.is_serving() {
            "an interrupt is in service"
        } else {
            return None;
        })
    }

    /// Whether something was requested that the carrier does not know of.
    #[inline]
    #[must_use]
    pub const fn has_requests(&self) -> bool {
        self.irr.highest() != 0
    }

    /// Neither requests nor what is in service are the software's from here on.
    pub(super) fn lent(&mut self, to: Carried) {
        self.carried = to;
        self.irr = VectorSet::EMPTY;
        self.isr = VectorSet::EMPTY;
        self.tmr = VectorSet::EMPTY;
        (self.tpr, self.ppr) = (0, 0);
    }

    /// When the timer's interrupt has to be requested at the latest. That the last one is still there says nothing: the guest takes it
    /// without an exit, and the next has to come all the same.
    #[cold]
    #[inline(never)]
    pub(super) fn next_deadline_of_carried(&self) -> Option<Ticks> {
        let entry = self.lvt.timer();
        let vector = (entry & Lvt::VECTOR).bits() as u8;
        let idle = entry.contains(Lvt::MASKED)
            || (vector < FIRST_VECTOR && self.errors.contains(Esr::RECEIVE_ILLEGAL_VECTOR));
        (!idle).then(|| self.timer.rested_deadline()).flatten()
    }

    /// Whether a vCPU that does not run, such as one that halts, has an interrupt that it would be given.
    #[inline]
    #[must_use]
    pub fn interrupts(&self) -> bool {
        let Carried::Page(page) = self.carried else {
            return self.deliverable().is_some();
        };
        // Its timer's is among the requests: then the page need not be searched.
        let class = page.get(register::PPR) as u8 >> 4;
        self.irr.highest() >> 4 > class || page.highest(register::IRR) >> 4 > class
    }

    /// What a vCPU that does not run, such as one that halts, would be given next.
    #[cold]
    #[inline(never)]
    pub(super) fn deliverable_by_carrier(&self) -> Option<Vector> {
        let Carried::Page(page) = self.carried else {
            return None;
        };
        let highest = page.highest(register::IRR).max(self.irr.highest());
        (highest >> 4 > page.ppr() >> 4).then_some(Vector(highest))
    }
}
