//! How often a core lets itself be disturbed by a VM for the sake of vCPUs that it does not run.
//!
//! A guest can have another core kicked as often as it sends interrupts to a vCPU of its own that is there and does not hear them. Each
//! look costs whoever runs there some 600 ticks, and the kick some 900. So a core takes [`BURST`] such looks of a VM at once, and one in
//! [`INTERVAL`] ticks in the long run. When it has had them it says that it is not to be kicked for that VM, leaves its vCPUs aside, and
//! looks by itself when all are paid for but a burst. Whoever runs loses no more than that; only the VM's own wake-ups come later.

use crate::seat::Seat;
use alloc::boxed::Box;
use spec::Ticks;

/// Looks that are taken at once.
const BURST: u64 = 16;
/// Ticks in which one more is taken.
const INTERVAL: u64 = 1 << 15;

/// What a core can still take of each VM.
pub(crate) struct Quiet {
    /// All looks that were taken are paid for by then, at [`INTERVAL`] each
    paid: Box<[Ticks]>,
    /// The VMs for which the core is not to be kicked, a bit each
    vms: u64,
    /// When it looks by itself
    until: Option<Ticks>,
}

impl Quiet {
    /// Of so many VMs.
    pub(crate) fn new(vms: usize) -> Self {
        Self {
            paid: (0..vms).map(|_| Ticks(0)).collect(),
            vms: 0,
            until: None,
        }
    }

    /// The core is about to look at a vCPU of a VM, while it runs another's; says whether it may.
    pub(crate) fn may_disturb(&mut self, seat: &Seat, vm: u32, now: Ticks) -> bool {
        if self.vms & bit(vm) != 0 {
            return false;
        }
        let Some(paid) = self.paid.get_mut(vm as usize) else {
            return true;
        };
        *paid = (*paid).max(now).after(Ticks(INTERVAL));
        if paid.since(now).0 > BURST * INTERVAL {
            let until = Ticks(paid.0 - BURST * INTERVAL);
            self.until = Some(self.until.map_or(until, |other| other.min(until)));
            self.vms |= bit(vm);
            seat.set_quiet(self.vms);
        }
        true
    }

    /// Whether it is time to look.
    #[inline]
    pub(crate) fn is_over(&self, now: Ticks) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Ends it for those VMs for which it is time: whoever calls this looks at the vCPUs afterwards.
    pub(crate) fn end(&mut self, seat: &Seat, now: Ticks) {
        if !self.is_over(now) {
            return;
        }
        self.until = None;
        for (vm, paid) in (0..).zip(&self.paid) {
            let until = Ticks(paid.0.saturating_sub(BURST * INTERVAL));
            if until <= now {
                self.vms &= !bit(vm);
            } else if self.vms & bit(vm) != 0 {
                self.until = Some(self.until.map_or(until, |other| other.min(until)));
            }
        }
        seat.set_quiet(self.vms);
    }

    /// Ends it for all, since nobody runs who could be disturbed; says if there was any. What was taken is still to be paid.
    pub(crate) fn pause(&mut self, seat: &Seat) -> bool {
        if self.vms == 0 {
            return false;
        }
        (self.vms, self.until) = (0, None);
        seat.set_quiet(0);
        true
    }

    /// When the core must look by itself at the latest, given when it must be back anyway.
    #[inline]
    pub(crate) fn latest(&self, deadline: Ticks) -> Ticks {
        self.until.map_or(deadline, |until| until.min(deadline))
    }
}

/// Of a plan's 64 VMs at most.
const fn bit(vm: u32) -> u64 {
    1 << (vm & 63)
}
