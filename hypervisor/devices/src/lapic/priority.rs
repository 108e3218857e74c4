//! Task and processor priority, and the way of a vector from requested to ended (SDM vol. 3, "Task and Processor
//! Priorities", "Interrupt Acceptance for Fixed Interrupts").

use super::carried::Carried;
use super::{Effect, Lapic};
use spec::Vector;

impl Lapic {
    /// The interrupt to deliver next: the highest requested, if its class is above the processor's priority
    /// ("Task and Processor Priorities"). Whoever else carries the APIC delivers by itself; for the page it is said all the same,
    /// for a vCPU that halts.
    #[inline]
    #[must_use]
    pub fn deliverable(&self) -> Option<Vector> {
        if !self.is_software() {
            return self.deliverable_by_carrier();
        }
        let highest = self.irr.highest();
        (highest >> 4 > self.ppr >> 4).then_some(Vector(highest))
    }

    /// The processor takes the interrupt that [`Lapic::deliverable`] named: requested becomes in service. Any
    /// other vector that is not requested changes nothing, nor does one that another carrier delivers.
    #[inline]
    pub fn acknowledge(&mut self, vector: Vector) {
        if self.irr.contains(vector.0) && self.is_software() {
            self.irr.remove(vector.0);
            self.isr.insert(vector.0);
            self.update_priority();
        }
    }

    /// CR8: the class of the task priority.
    #[inline]
    #[must_use]
    pub fn cr8(&self) -> u8 {
        match self.carried {
            Carried::Page(page) => page.tpr() >> 4,
            _ => self.tpr >> 4,
        }
    }

    /// Writes CR8, of which the low four bits count.
    #[inline]
    pub fn set_cr8(&mut self, class: u8) {
        self.set_tpr((class & 0xf) << 4);
    }

    /// Processor priority: among receivers of a lowest-priority message the one with the least wins.
    #[must_use]
    pub fn priority(&self) -> u8 {
        match self.carried {
            Carried::Page(page) => page.ppr(),
            _ => self.ppr,
        }
    }

    #[inline]
    pub(super) fn set_tpr(&mut self, tpr: u8) {
        if let Carried::Page(page) = self.carried {
            page.set_tpr(tpr);
            return;
        }
        self.tpr = tpr;
        self.update_priority();
    }

    #[inline]
    pub(super) const fn update_priority(&mut self) {
        self.ppr = of_processor(self.tpr, self.isr.highest());
    }

    #[inline]
    pub(super) const fn is_software(&self) -> bool {
        matches!(self.carried, Carried::Software)
    }

    /// "Signaling Interrupt Servicing Completion": the highest in service ends.
    #[inline]
    pub(super) fn end_of_interrupt(&mut self) -> Effect {
        match self.carried {
            Carried::Software => {}
            // The processor would not know what is in service now: whoever lends the page anew tells it.
            Carried::Page(_) => self.take_from_page(),
            Carried::Processor => {
                self.owes_end = true;
                return Effect::None;
            }
        }
        let vector = self.isr.highest();
        if vector == 0 {
            return Effect::None;
        }
        self.isr.remove(vector);
        self.update_priority();
        if self.tmr.contains(vector) {
            Effect::Eoi(Vector(vector))
        } else {
            Effect::None
        }
    }
}

/// Processor priority ("Task and Processor Priorities"): the subclass counts only while the task's class is the higher one.
#[inline]
pub(super) const fn of_processor(tpr: u8, serving: u8) -> u8 {
    if tpr >> 4 >= serving >> 4 {
        tpr
    } else {
        serving & 0xf0
    }
}
