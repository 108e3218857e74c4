//! Task and processor priority, and the way of a vector from requested to ended (SDM vol. 3, "Task and Processor
//! Priorities", "Interrupt Acceptance for Fixed Interrupts").

use super::{Effect, Lapic};
use spec::Vector;

impl Lapic {
    /// The interrupt to deliver next: the highest requested, if its class is above the processor's priority
    /// ("Task and Processor Priorities").
    #[inline]
    #[must_use]
    pub fn deliverable(&self) -> Option<Vector> {
        let highest = self.irr.highest();
        (highest >> 4 > self.ppr >> 4).then_some(Vector(highest))
    }

    /// The processor takes the interrupt that [`Lapic::deliverable`] named: requested becomes in service. Any
    /// other vector that is not requested changes nothing.
    #[inline]
    pub fn acknowledge(&mut self, vector: Vector) {
        if self.irr.contains(vector.0) {
            self.irr.remove(vector.0);
            self.isr.insert(vector.0);
            self.update_priority();
        }
    }

    /// CR8: the class of the task priority.
    #[inline]
    #[must_use]
    pub const fn cr8(&self) -> u8 {
        self.tpr >> 4
    }

    /// Writes CR8, of which the low four bits count.
    #[inline]
    pub const fn set_cr8(&mut self, class: u8) {
        self.set_tpr((class & 0xf) << 4);
    }

    /// Processor priority: among receivers of a lowest-priority message the one with the least wins.
    #[must_use]
    pub const fn priority(&self) -> u8 {
        self.ppr
    }

    #[inline]
    pub(super) const fn set_tpr(&mut self, tpr: u8) {
        self.tpr = tpr;
        self.update_priority();
    }

    /// "Task and Processor Priorities": the subclass counts only while the task's class is the higher one.
    #[inline]
    const fn update_priority(&mut self) {
        let serving = self.isr.highest();
        self.ppr = if self.tpr >> 4 >= serving >> 4 {
            self.tpr
        } else {
            serving & 0xf0
        };
    }

    /// "Signaling Interrupt Servicing Completion": the highest in service ends.
    #[inline]
    pub(super) fn end_of_interrupt(&mut self) -> Effect {
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
