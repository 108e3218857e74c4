//! Moves of vCPUs between the cores of the pool.
//!
//! The rule: a core on which a vCPU waits that may run on any core of the pool gives it to one that has nothing to run. It does so when it
//! decides who runs next; a core that is about to sleep kicks one that could give, but only once in [`BEGGING`]: a guest that sleeps for
//! a moment again and again would have it kick without end, and would be back when the other looks. vCPUs with a reservation go only
//! where their reservation goes; those with cores of their own, or with windows, never.
//!
//! One that has waited for [`PATIENCE`] goes to the next core of the pool even if that has enough to do: reservations or windows of its
//! own core may leave it nothing for ever.
// UNSAFETY: hands a vCPU with its inactive control structure from one core to another.
#![allow(unsafe_code)]

use crate::run::Runner;
use crate::seat::{self, Seat};
use crate::vcpu::{FOREVER, Vcpu};
use crate::{lifecycle, shares, stop, trace};
use alloc::boxed::Box;
use core::sync::atomic::Ordering;
use proto::trace::What;
use sched::{Id, Luggage};
use spec::Ticks;

/// Ticks between two kicks by a core that has nothing to run.
const BEGGING: Ticks = Ticks(1 << 15);

/// How long a vCPU waits before it tries its luck elsewhere, in nanoseconds.
const PATIENCE: u64 = 20_000_000;

/// A vCPU on its way to another core.
pub(crate) struct Parcel {
    id: Id,
    vcpu: Box<Vcpu>,
    luggage: Luggage,
    /// It can run
    ready: bool,
}

// SAFETY: `give` has taken its registers out of the core and has cleared its control structure, which makes it inactive there; nothing
// else of a vCPU belongs to a core. `take` describes the new core in it before it runs.
unsafe impl Send for Parcel {}

impl Runner {
    /// Gives vCPUs that wait here to cores that have nothing to run, as long as there are both; and one that has waited for long to the
    /// next core.
    pub(crate) fn offer(&mut self, now: Ticks) {
        if !self.shares {
            return;
        }
        loop {
            let waits = self.scheduler.movable();
            self.tell_crowded(waits.is_some());
            let Some(id) = waits else {
                self.waits = None;
                return;
            };
            if !self.idle_core().is_some_and(|to| self.give(id, to, now)) {
                self.send_away(id, now);
                return;
            }
        }
    }

    fn tell_crowded(&mut self, crowded: bool) {
        if crowded != self.crowded {
            self.crowded = crowded;
            // Sequentially consistent, with the look for idle cores that follows: either we see that a core sleeps, or it sees this.
            self.seat.crowded.store(crowded, Ordering::SeqCst);
        }
    }

    /// Another core of the pool that has nothing to run, and is ours for a vCPU now.
    fn idle_core(&self) -> Option<u32> {
        // Whoever turns the flag has the core.
        let claims = |seat: &Seat| {
            seat.idle.load(Ordering::SeqCst) && seat.idle.swap(false, Ordering::AcqRel)
        };
        self.others()
            .find(|core| seat::at(*core).is_some_and(claims))
    }

    /// The other cores of the pool.
    fn others(&self) -> impl Iterator<Item = u32> + use<> {
        let here = self.core.local.index;
        let cores = self.machine.pool.iter().copied();
        cores.filter(move |core| *core != here)
    }

    /// Sends one that has waited for long to the next core of the pool.
    fn send_away(&mut self, id: Id, now: Ticks) {
        let since = match self.waits {
            Some((first, since)) if first == id => since,
            _ => now,
        };
        self.waits = Some((id, since));
        let patience = self.machine.bundle.handover().tsc.ticks(PATIENCE);
        if now.since(since) < patience {
            return;
        }
        let next = self.others().find(|core| *core > self.core.local.index);
        if let Some(to) = next.or_else(|| self.others().next()) {
            // If it cannot be done now, it waits once more.
            let _ = self.give(id, to, now);
            self.waits = None;
        }
    }

    /// Says that this core has nothing to run, and kicks one that has too much, or says when it may.
    pub(crate) fn beg(&mut self) -> Ticks {
        if !self.shares {
            return FOREVER;
        }
        self.seat.idle.store(true, Ordering::SeqCst);
        let crowded = |seat: &Seat| seat.crowded.load(Ordering::SeqCst);
        let crowded = |core: &u32| seat::at(*core).is_some_and(crowded);
        let Some(other) = self.others().find(crowded) else {
            return FOREVER;
        };
        let now = hw::tsc::now();
        if now < self.begs_after {
            return self.begs_after;
        }
        self.begs_after = now.after(BEGGING);
        seat::kick(other);
        FOREVER
    }

    /// This core has something to do again.
    pub(crate) fn stop_begging(&self) {
        if self.seat.idle.load(Ordering::Relaxed) {
            self.seat.idle.store(false, Ordering::SeqCst);
        }
    }

    /// Sends a vCPU of this core to another one; says whether that could be done now.
    pub(crate) fn give(&mut self, id: Id, to: u32, now: Ticks) -> bool {
        let Some(seat) = seat::at(to) else {
            return false;
        };
        let mut inbox = seat.inbox.lock();
        if inbox.is_some() {
            // Somebody else was faster; it will be taken out soon.
            return false;
        }
        if self.current == Some(id) {
            self.release();
        }
        let Some(mut vcpu) = self.vcpu_mut(id).take() else {
            return false;
        };
        if let Err(e) = vcpu.detach() {
            // It would have to be used on two cores at once.
            stop::die(&format_args!("a control structure cannot be cleared: {e}"));
        }
        let ready = self.scheduler.is_ready(id);
        let Some(luggage) = self.scheduler.remove(id, now) else {
            stop::die(&"a vCPU is unknown to its scheduler");
        };
        self.seat
            .trace
            .note(now, trace::of(What::Move, vcpu.who(), to));
        // Before the parcel is there: whoever leaves something for the vCPU and still wakes this core for it did so before this, and the
        // other core looks at all when it takes it.
        vcpu.guest.places.set(vcpu.software.index, to);
        *inbox = Some(Parcel {
            id,
            vcpu,
            luggage,
            ready,
        });
        drop(inbox);
        seat::kick(to);
        true
    }

    /// Takes in a vCPU that was sent here.
    pub(crate) fn take(&mut self, now: Ticks) {
        let Some(parcel) = self.seat.inbox.lock().take() else {
            return;
        };
        let Parcel {
            id,
            mut vcpu,
            luggage,
            ready,
        } = parcel;
        // In this order: a share that is changed in between is another version still.
        vcpu.share_version = vcpu.guest.share.version();
        let share = shares::of(self.machine, vcpu.guest);
        self.release();
        if let Err(e) = vcpu.attach(&self.vtx, &self.core) {
            stop::die(&format_args!("a control structure cannot be loaded: {e}"));
        }
        vcpu.moves += 1;
        *self.vcpu_mut(id) = Some(vcpu);
        self.scheduler.adopt(id, share, luggage, now);
        if ready {
            self.scheduler.wake(id, now);
        }
        // Orders and mail that came while it was on its way.
        lifecycle::obey(self, id);
        self.consider(id, now);
    }
}
