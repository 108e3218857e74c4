//! What can be seen of a scheduler.

use crate::account::State;
use crate::scheduler::Scheduler;
use crate::{CoreTimes, Id, Share, Times};
use spec::Ticks;

impl Scheduler {
    /// Where a vCPU's time went, until `now`.
    #[must_use]
    pub fn times(&self, id: Id, now: Ticks) -> Option<Times> {
        let vcpu = self.vcpus.get(usize::from(id.0))?.as_ref()?;
        let now = now.0.max(self.last);
        let mut vcpu = *vcpu;
        if let Some((running, band)) = self.running
            && running == id.0
        {
            vcpu.account.ran(band, self.unaccounted(now).0);
        }
        Some(vcpu.times(now))
    }

    /// Where the core's time went, until `now`.
    #[must_use]
    pub fn core_times(&self, now: Ticks) -> CoreTimes {
        let (ran, stolen) = self.unaccounted(now.0.max(self.last));
        let mut core = self.core;
        core.add(self.running.map(|(_, band)| band), ran, stolen);
        core.stolen = core.stolen.since(self.asleep);
        core
    }

    /// A vCPU that waits for left-over time, has no reservation, and would be best given to another core: the one that
    /// is furthest ahead of its share, so the last that this core would choose. Linear in those that wait.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "numbers are below the capacity that the scheduler was made with"
    )]
    pub fn movable(&self) -> Option<Id> {
        let last = self.fair.last(|id| {
            let vcpu = self.vcpus[usize::from(id)].as_ref();
            self.running.is_none_or(|(running, _)| running != id)
                && vcpu.is_some_and(|vcpu| vcpu.share.reservation.is_none())
        });
        last.map(Id)
    }

    /// What a vCPU may have.
    #[must_use]
    pub fn share(&self, id: Id) -> Option<Share> {
        let vcpu = self.vcpus.get(usize::from(id.0))?.as_ref()?;
        Some(vcpu.share)
    }

    /// Whether a vCPU is there and wants to run, as far as the last event knew.
    #[must_use]
    pub fn is_ready(&self, id: Id) -> bool {
        let vcpu = self.vcpus.get(usize::from(id.0));
        matches!(vcpu, Some(Some(vcpu)) if vcpu.ready)
    }

    /// Whether a vCPU wants to run and may not, as far as the last event knew: its budget is spent and it has no weight, or
    /// it is none of its windows.
    #[must_use]
    pub fn is_throttled(&self, id: Id) -> bool {
        let owns = self.spot.owner == Some(id.0);
        let vcpu = self.vcpus.get(usize::from(id.0));
        matches!(vcpu, Some(Some(vcpu)) if vcpu.state(owns) == State::Throttled)
    }

    /// Level moves in heaps since [`Scheduler::new`]: the measure of the work done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let heaps = [&self.deadlines, &self.alarms, &self.timers];
        heaps.iter().map(|heap| heap.steps()).sum::<u64>() + self.fair.steps()
    }

    /// Time since the last event: nobody's account knows of it yet. The host's own work apart.
    pub(crate) fn unaccounted(&self, now: u64) -> (u64, u64) {
        let passed = now - self.last;
        let stolen = self.stolen.min(passed);
        (passed - stolen, stolen)
    }
}
