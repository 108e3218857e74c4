//! One core's scheduler: what happens to vCPUs. Who runs is decided in `decide`.

use crate::account::State;
use crate::fair::Fair;
use crate::heap::Heap;
use crate::server::Server;
use crate::table::{Spot, Table};
use crate::vcpu::{Luggage, Vcpu};
use crate::{Band, CoreTimes, Id, Share, Times};
use alloc::vec::Vec;
use spec::Ticks;

/// One core's scheduler. `now` never goes back: an earlier one counts as the latest that was seen.
///
/// An id that is too large or of no vCPU is told as `false` or `None`, and nothing has happened then.
pub struct Scheduler {
    pub(crate) vcpus: Vec<Option<Vcpu>>,
    /// Ready, with a budget left, by deadline
    pub(crate) deadlines: Heap<u64>,
    /// Ready, with a spent budget, by the time of the next one
    pub(crate) releases: Heap<u64>,
    /// Blocked, with a reservation, by their timers
    pub(crate) timers: Heap<u64>,
    /// Blocked, with a weight alone, by their timers: nobody looks while a turn lasts
    pub(crate) weighted_timers: Heap<u64>,
    pub(crate) fair: Fair,
    pub(crate) table: Option<Table>,
    pub(crate) spot: Spot,
    pub(crate) running: Option<(u16, Band)>,
    /// The last event
    pub(crate) last: u64,
    /// The host's own work since then
    stolen: u64,
    wake_cost: u64,
    core: CoreTimes,
}

impl Scheduler {
    /// For ids below `capacity`; a turn of left-over time is `slice` long. All allocation is here and in [`Table::new`].
    #[must_use]
    pub fn new(capacity: u16, slice: Ticks, now: Ticks) -> Self {
        let mut vcpus = Vec::new();
        vcpus.resize_with(usize::from(capacity), || None);
        Self {
            vcpus,
            deadlines: Heap::new(capacity),
            releases: Heap::new(capacity),
            timers: Heap::new(capacity),
            weighted_timers: Heap::new(capacity),
            fair: Fair::new(capacity, slice.0),
            table: None,
            spot: Spot::NONE,
            running: None,
            last: now.0,
            stolen: 0,
            wake_cost: 0,
            core: CoreTimes::default(),
        }
    }

    /// What a wake-up costs its vCPU, zero if this is never said: the host's work for the two switches that it makes. Of
    /// a weighted one, that much is added to what it had. Of a reservation, it is taken from the budget, but for the
    /// first wake-up in a period, which admission has counted. So a storm of sleep and wake spends its own share on what
    /// it costs the others, which no count of the time that it *ran* would show.
    pub fn set_wake_cost(&mut self, cost: Ticks) {
        self.wake_cost = cost.0;
    }

    /// Gives the core a cyclic table, another one, or none.
    pub fn set_table(&mut self, table: Option<Table>, now: Ticks) {
        let now = self.advance(now);
        self.table = table;
        self.look_up(now, now);
        // A window that is half over is late by nobody's fault.
        self.spot.given = true;
    }

    /// Adds a vCPU, blocked. `false`, too, if the id is in use.
    pub fn add(&mut self, id: Id, share: Share, now: Ticks) -> bool {
        self.adopt(id, share, Luggage::default(), now)
    }

    /// Adds one that comes from another scheduler, blocked, as [`Scheduler::add`] does. The time between is in no account.
    pub fn adopt(&mut self, id: Id, share: Share, luggage: Luggage, now: Ticks) -> bool {
        let now = self.advance(now);
        match self.vcpus.get_mut(usize::from(id.0)) {
            Some(slot @ None) => *slot = Some(Vcpu::new(share, &luggage, now)),
            _ => return false,
        }
        self.fair.open(id.0, share.weight, luggage.ahead);
        true
    }

    /// Takes a vCPU out, in whatever state it is.
    pub fn remove(&mut self, id: Id, now: Ticks) -> Option<Luggage> {
        let now = self.advance(now);
        self.vcpu(id.0)?;
        self.rest(id.0, None, now);
        self.disarm(id.0);
        let vcpu = self.vcpus.get_mut(usize::from(id.0))?.take()?;
        Some(Luggage {
            times: vcpu.account.until(now),
            ahead: self.fair.ahead(id.0),
            spent: vcpu.server.map(|it| it.spent()).unwrap_or_default(),
        })
    }

    /// Changes what a vCPU may have. A budget that is spent stays spent until its period ends, or until a new one would
    /// have. That reservations of others keep what they have in the periods that run now is certain only if the sum fits
    /// with the old share and with the new one.
    pub fn set(&mut self, id: Id, share: Share, now: Ticks) -> bool {
        let now = self.advance(now);
        let cost = self.wake_cost;
        let Some(vcpu) = self.vcpu(id.0) else {
            return false;
        };
        if vcpu.share == share {
            return true;
        }
        vcpu.share = share;
        vcpu.server = match (vcpu.server, share.reservation) {
            (Some(mut server), Some(reservation)) => {
                server.change(reservation, now);
                Some(server)
            }
            (None, Some(reservation)) => {
                let mut server = Server::new(reservation);
                server.wake(now, cost);
                Some(server)
            }
            (_, None) => None,
        };
        let ready = vcpu.ready;
        self.leave(id.0);
        self.disarm(id.0);
        self.fair.set_weight(id.0, share.weight);
        if ready {
            self.join(id.0, 0);
        } else {
            self.arm(id.0);
        }
        self.settle(id.0, now);
        true
    }

    /// The vCPU wants to run. `true` if it was blocked: only then [`Scheduler::decide`] may say another thing.
    pub fn wake(&mut self, id: Id, now: Ticks) -> bool {
        let now = self.advance(now);
        match self.vcpu(id.0) {
            Some(vcpu) if !vcpu.ready => {
                // Its timer may have done so before, and nobody has looked.
                let at = vcpu.is_due(now).unwrap_or(now);
                self.rouse(id.0, at);
                true
            }
            _ => false,
        }
    }

    /// The vCPU does not want to run, until it is woken, or until the clock shows `until`. Of one that is blocked
    /// already, this changes the time alone.
    pub fn block(&mut self, id: Id, until: Option<Ticks>, now: Ticks) -> bool {
        let now = self.advance(now);
        if self.vcpu(id.0).is_none() {
            return false;
        }
        self.rest(id.0, until.map(|it| it.0), now);
        true
    }

    /// So much of the time since the last event was the host's own work: charged to nobody. Said before that event.
    pub fn stolen(&mut self, ticks: Ticks) {
        self.stolen = self.stolen.saturating_add(ticks.0);
    }

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
        core
    }

    /// A vCPU that waits for left-over time, has no reservation, and would be best given to another core: the one that
    /// is furthest ahead of its share, so the last that this core would choose. Linear in those that wait.
    #[must_use]
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

    /// Level moves in heaps since [`Scheduler::new`]: the measure of the work done.
    #[must_use]
    pub fn steps(&self) -> u64 {
        let heaps = [
            &self.deadlines,
            &self.releases,
            &self.timers,
            &self.weighted_timers,
        ];
        heaps.iter().map(|heap| heap.steps()).sum::<u64>() + self.fair.steps()
    }

    pub(crate) fn vcpu(&mut self, id: u16) -> Option<&mut Vcpu> {
        self.vcpus.get_mut(usize::from(id))?.as_mut()
    }

    /// Time since the last event: nobody's account knows of it yet. The host's own work apart.
    fn unaccounted(&self, now: u64) -> (u64, u64) {
        let passed = now - self.last;
        let stolen = self.stolen.min(passed);
        (passed - stolen, stolen)
    }

    /// Brings all that goes on by itself up to `now`, but for what may make others want the core. Says what time it is:
    /// the end of time is never reached, so that what never happens is always later.
    #[inline]
    pub(crate) fn advance(&mut self, now: Ticks) -> u64 {
        let now = now.0.clamp(self.last, u64::MAX - 1);
        let (ran, stolen) = self.unaccounted(now);
        self.stolen = 0;
        self.last = now;
        if ran | stolen != 0 {
            self.core
                .add(self.running.map(|(_, band)| band), ran, stolen);
            if let Some((id, band)) = self.running {
                self.charge(id, band, ran);
            }
        }
        if now >= self.spot.edge() {
            self.look_up(now, self.spot.edge());
        }
        now
    }

    fn charge(&mut self, id: u16, band: Band, ran: u64) {
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        vcpu.account.ran(band, ran);
        match (band, &mut vcpu.server) {
            (Band::Reserved, Some(server)) => {
                server.spend(ran);
                if server.left() == 0 {
                    self.join(id, 0);
                }
            }
            (Band::LeftOver, _) => self.fair.charge(id, ran),
            _ => {}
        }
    }

    /// Finds the place in the table again. The last one was left at `left`.
    fn look_up(&mut self, now: u64, left: u64) {
        let before = self.spot;
        self.spot = self.table.as_ref().map_or(Spot::NONE, |it| it.spot(now));
        if let Some(owner) = before.owner {
            self.settle(owner, left);
        }
        if let Some(owner) = self.spot.owner {
            self.settle(owner, self.spot.start.max(left));
        }
    }

    /// It wants to run, since `at`.
    pub(crate) fn rouse(&mut self, id: u16, at: u64) {
        let cost = self.wake_cost;
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        if vcpu.has_windows_only() {
            vcpu.account.enter(State::Throttled, at);
        }
        vcpu.ready = true;
        vcpu.woke = at;
        vcpu.timer = None;
        if let Some(server) = &mut vcpu.server {
            server.wake(at, cost);
        }
        self.disarm(id);
        self.join(id, cost);
        // A window may have begun since then.
        let windowed = self.spot.owner == Some(id);
        self.settle(
            id,
            if windowed {
                at.max(self.spot.start)
            } else {
                at
            },
        );
    }

    /// It does not want to run.
    fn rest(&mut self, id: u16, timer: Option<u64>, now: u64) {
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        vcpu.ready = false;
        vcpu.timer = timer;
        if let Some((running, _)) = self.running
            && running == id
        {
            self.running = None;
        }
        self.leave(id);
        self.disarm(id);
        self.arm(id);
        self.settle(id, now);
    }

    /// Puts one that is ready where it waits. A wake-up costs it `cost` of its left-over time.
    pub(crate) fn join(&mut self, id: u16, cost: u64) {
        let Some(vcpu) = &self.vcpus[usize::from(id)] else {
            return;
        };
        let weighted = vcpu.share.weight.is_some();
        match &vcpu.server {
            Some(server) if server.left() > 0 => {
                self.deadlines.put(id, server.deadline());
                self.releases.remove(id);
                self.fair.leave(id);
                return;
            }
            Some(server) => {
                self.releases.put(id, server.deadline());
                self.deadlines.remove(id);
            }
            None => {}
        }
        if weighted && !self.fair.contains(id) {
            self.fair.join(id, cost);
        }
    }

    /// Takes it from where it waits.
    fn leave(&mut self, id: u16) {
        self.deadlines.remove(id);
        self.releases.remove(id);
        self.fair.leave(id);
    }

    fn arm(&mut self, id: u16) {
        let Some(vcpu) = &self.vcpus[usize::from(id)] else {
            return;
        };
        match vcpu.timer {
            Some(at) if vcpu.server.is_some() => self.timers.put(id, at),
            Some(at) if vcpu.share.weight.is_some() => self.weighted_timers.put(id, at),
            // In no heap: it is looked at when its window is near.
            _ => {}
        }
    }

    fn disarm(&mut self, id: u16) {
        self.timers.remove(id);
        self.weighted_timers.remove(id);
    }

    /// Puts the time from `at` on into the right account of one that does not run.
    pub(crate) fn settle(&mut self, id: u16, at: u64) {
        let entitled =
            self.spot.owner == Some(id) || self.deadlines.contains(id) || self.fair.contains(id);
        let running = self.running.is_some_and(|(running, _)| running == id);
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        if running {
            return;
        }
        let state = match (vcpu.ready, entitled) {
            (false, _) => State::Blocked,
            (true, true) => State::Waiting,
            (true, false) => State::Throttled,
        };
        vcpu.account.enter(state, at);
    }
}
