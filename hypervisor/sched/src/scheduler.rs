//! One core's scheduler.

use crate::{CoreTimes, Decision, Id, Share, Table, Times};
use spec::Ticks;

/// The account of a vCPU that leaves a scheduler, for the next one: what it has had of the left-over time relative to the
/// others, how far its reservation's period is spent, and its times.
#[derive(Clone, Copy, Debug, Default)]
pub struct Luggage {}

/// One core's scheduler. `now` never goes back: an earlier one counts as the latest that was seen.
pub struct Scheduler {}

impl Scheduler {
    /// For ids below `capacity`; a turn of left-over time is `slice` long. All allocation is here and in [`Table::new`].
    #[must_use]
    pub fn new(_capacity: u16, _slice: Ticks, _now: Ticks) -> Self {
        Self {}
    }

    /// Gives the core a cyclic table, another one, or none.
    pub fn set_table(&mut self, _table: Option<Table>, _now: Ticks) {}

    /// Adds a vCPU, blocked. `false` if the id is too large or in use: nothing has happened then.
    pub fn add(&mut self, _id: Id, _share: Share, _now: Ticks) -> bool {
        false
    }

    /// Adds one that comes from another scheduler, blocked, as [`Scheduler::add`] does.
    pub fn adopt(&mut self, _id: Id, _share: Share, _luggage: Luggage, _now: Ticks) -> bool {
        false
    }

    /// Takes a vCPU out, in whatever state it is. `None` if it is not there.
    pub fn remove(&mut self, _id: Id, _now: Ticks) -> Option<Luggage> {
        None
    }

    /// Changes what a vCPU may have. `false` if it is not there.
    pub fn set(&mut self, _id: Id, _share: Share, _now: Ticks) -> bool {
        false
    }

    /// The vCPU wants to run. `true` if it was blocked: only then [`Scheduler::decide`] may say another thing.
    pub fn wake(&mut self, _id: Id, _now: Ticks) -> bool {
        false
    }

    /// The vCPU does not want to run, until it is woken, or until the clock shows `until`. Of one that is blocked
    /// already, this changes the time alone. `false` if it is not there.
    pub fn block(&mut self, _id: Id, _until: Option<Ticks>, _now: Ticks) -> bool {
        false
    }

    /// Who runs from now on. To be asked after each event, and at the latest when the clock shows the last answer's
    /// `until`; asking more often changes nothing.
    pub fn decide(&mut self, _now: Ticks) -> Decision {
        Decision {
            run: None,
            until: Ticks(u64::MAX),
        }
    }

    /// So much of the time since the last event was the host's own work: charged to nobody. Said before that event.
    pub fn stolen(&mut self, _ticks: Ticks) {}

    /// Where a vCPU's time went, until `now`.
    #[must_use]
    pub fn times(&self, _id: Id, _now: Ticks) -> Option<Times> {
        None
    }

    /// Where the core's time went, until `now`.
    #[must_use]
    pub fn core_times(&self, _now: Ticks) -> CoreTimes {
        CoreTimes::default()
    }

    /// A vCPU that waits for left-over time, has no reservation, and would be best given to another core: the one that
    /// is furthest ahead of its share, so the last that this core would choose. Linear in those that wait.
    #[must_use]
    pub fn movable(&self) -> Option<Id> {
        None
    }

    /// What a vCPU may have.
    #[must_use]
    pub fn share(&self, _id: Id) -> Option<Share> {
        None
    }

    /// Whether a vCPU is there and wants to run, as far as the last event knew.
    #[must_use]
    pub fn is_ready(&self, _id: Id) -> bool {
        false
    }

    /// Level moves in heaps since [`Scheduler::new`]: the measure of the work done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        0
    }
}
