//! The processor's own local APIC, lent to the one vCPU of its core.

use super::carried::Carried;
use super::vectors::VectorSet;
use super::{Effect, Lapic};
use spec::apic::{Carrier, Lvt, PhysicalApic, Svr};
use spec::{Ticks, Vector};

/// What of the processor's local APIC follows the guest's registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Programmed {
    /// LVT timer
    pub lvt_timer: u32,
    /// Spurious-interrupt vector register
    pub svr: u32,
}

impl Lapic {
    /// From the software to the processor's own local APIC, and what that is to hold. Only where [`Lapic::suits`] says so.
    pub fn lend_to_processor(&mut self) -> PhysicalApic {
        debug_assert!(self.carrier() == Carrier::Software && self.why_not_direct().is_none());
        let Programmed { lvt_timer, svr } = self.programmed();
        let state = PhysicalApic {
            tpr: self.tpr,
            svr,
            lvt_timer,
            deadline: self.timer.lend(),
            irr: self.irr.words(),
            isr: self.isr.words(),
        };
        let level = self.tmr.intersection(&self.irr);
        self.lent(Carried::Processor);
        self.tmr = level;
        state
    }

    /// What was requested, to be raised in the processor's own local APIC: bit v for vector v.
    pub fn take_requests(&mut self) -> [u64; 4] {
        // The marks of level-triggered ones stay until their end.
        core::mem::replace(&mut self.irr, VectorSet::EMPTY).words()
    }

    /// Whether the guest has a level-triggered interrupt to end, which the processor takes for an edge-triggered one: then its EOI
    /// has to exit, and its reads of TMR should.
    #[inline]
    #[must_use]
    pub const fn has_level_in_flight(&self) -> bool {
        self.tmr.highest() != 0
    }

    /// An EOI that exited has ended this interrupt in the processor's own local APIC.
    pub fn end_physical(&mut self, vector: Vector) -> Effect {
        if self.carried == Carried::Processor && self.tmr.contains(vector.0) {
            self.tmr.remove(vector.0);
            Effect::Eoi(vector)
        } else {
            Effect::None
        }
    }

    /// What of the processor's local APIC the guest's last write may have changed. Without the bits that a processor may refuse.
    #[must_use]
    pub const fn programmed(&self) -> Programmed {
        const TIMER: Lvt = Lvt::VECTOR.union(Lvt::MASKED).union(Lvt::TSC_DEADLINE);
        Programmed {
            lvt_timer: self.lvt.timer().intersection(TIMER).bits(),
            svr: self.svr.intersection(Svr::VECTOR.union(Svr::ENABLE)).bits(),
        }
    }

    /// Back to the software with what the processor's own local APIC held. A deadline that has passed meanwhile fires.
    pub fn take_from_processor(&mut self, state: PhysicalApic, now: Ticks) {
        if self.carried == Carried::Processor {
            self.carried = Carried::Software;
            self.tpr = state.tpr;
            self.isr = VectorSet::from_words(state.isr);
            self.irr = VectorSet::from_words(state.irr).union(&self.irr);
            self.update_priority();
            self.set_tsc_deadline(state.deadline, now);
        }
    }

    /// Whether an EOI of the guest has exited that is still to be written to the processor's local APIC.
    #[inline]
    #[must_use]
    pub const fn owes_end(&self) -> bool {
        self.owes_end
    }

    /// The same, asked once: the owner writes it, and tells by [`Lapic::end_physical`].
    pub fn take_owed_end(&mut self) -> bool {
        core::mem::take(&mut self.owes_end)
    }
}
