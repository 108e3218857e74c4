//! When a vCPU has something to do, and what wakes one that sleeps.

use super::Vcpu;
use spec::Ticks;
use spec::state::Activity;

/// What a halted vCPU does not hear: that was decided when it halted, and cannot change meanwhile.
#[derive(Clone, Copy, Default)]
pub(super) struct Deaf {
    pub(super) interrupts: bool,
    pub(super) nmis: bool,
}

impl Vcpu {
    /// Takes in what others have for it, and says whether it can be entered now.
    pub(crate) fn is_ready(&mut self, now: Ticks) -> bool {
        if self.report.is_some() {
            return true;
        }
        if !self.on || self.held {
            return false;
        }
        let wants = self
            .software
            .wants(self.guest.vm.mailbox(&self.software), now);
        match self.software.activity {
            Activity::Active => true,
            Activity::Halted => self.is_interrupted() || wants.nmi && !self.deaf.nmis,
            Activity::WaitForSipi => wants.start_up.is_some(),
        }
    }

    /// It has an interrupt for which it would wake up.
    fn is_interrupted(&self) -> bool {
        !self.deaf.interrupts && self.software.has_interrupt()
    }

    /// Ends the sleep of a vCPU to which the processor delivers interrupts, if there is one.
    pub(crate) fn wake_if_interrupted(&mut self) {
        if self.software.activity == Activity::Halted && self.is_interrupted() {
            self.software.activity = Activity::Active;
        }
    }

    /// It has executed HLT.
    pub(crate) fn fall_asleep(&mut self) {
        self.software.activity = Activity::Halted;
        if let Some(vmx) = &self.vmx {
            self.deaf = Deaf {
                interrupts: !vmx.can_take_interrupt(&self.vmcs),
                nmis: !vmx.can_take_nmi(&self.vmcs),
            };
        }
    }

    /// The vector of a start-up that has come and is not carried out yet.
    pub(crate) fn awaited_start_up(&mut self) -> Option<u8> {
        let mailbox = self.guest.vm.mailbox(&self.software);
        self.software.wants(mailbox, hw::tsc::now()).start_up
    }

    /// When its core must look at it again at the latest, for its own timer.
    pub(crate) fn deadline(&self) -> Option<Ticks> {
        if !self.on || self.held || self.deaf.interrupts {
            return None;
        }
        self.software.deadline()
    }
}
