//! One core's scheduler: what happens to vCPUs. Who runs is decided in `decide`.

use crate::fair::Fair;
use crate::heap::Heap;
use crate::server::Server;
use crate::table::{Spot, Table};
use crate::vcpu::{Luggage, NEVER, Vcpu};
use crate::{Band, CoreTimes, Id, Share};
use alloc::vec::Vec;
use spec::Ticks;

/// One core's scheduler. `now` never goes back: an earlier one counts as the latest that was seen.
///
/// An id that is too large or of no vCPU is told as `false` or `None`, and nothing has happened then.
pub struct Scheduler {
    pub(crate) vcpus: Vec<Option<Vcpu>>,
    /// Ready, with a budget left, by deadline
    pub(crate) deadlines: Heap,
    /// With a reservation: blocked, by their timers, or with a spent budget, by the time of the next one
    pub(crate) alarms: Heap,
    /// Blocked, with a weight alone, by their timers: nobody looks while a turn lasts
    pub(crate) timers: Heap,
    pub(crate) fair: Fair,
    pub(crate) table: Option<Table>,
    pub(crate) spot: Spot,
    pub(crate) running: Option<(u16, Band)>,
    /// What the last decision said
    pub(crate) until: u64,
    /// Nothing has happened since then that could change it
    pub(crate) stands: bool,
    /// The last event
    pub(crate) last: u64,
    /// The host's own work since then
    pub(crate) stolen: u64,
    /// What [`Scheduler::slept`] was told, which is in the core's stolen time too
    pub(crate) asleep: Ticks,
    pub(crate) wake_cost: u64,
    pub(crate) core: CoreTimes,
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
            alarms: Heap::new(capacity),
            timers: Heap::new(capacity),
            fair: Fair::new(capacity, slice.0),
            table: None,
            spot: Spot::NONE,
            running: None,
            until: 0,
            stands: false,
            last: now.0.min(u64::MAX - 1),
            stolen: 0,
            asleep: Ticks(0),
            wake_cost: 0,
            core: CoreTimes::default(),
        }
    }

    /// What a wake-up costs its vCPU, zero if this is never said: the host's work for the two switches that it makes. Of
    /// a reservation with a budget left, it is taken from that, but for the first wake-up in a period, which admission has
    /// counted; of another with a weight, that much is added to what it had. So a storm of sleep and wake spends its own share on what
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
        self.rest(id.0, NEVER, now);
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
        let wants = vcpu.ready && share.weight.is_some();
        self.fair.leave(id.0);
        self.fair.set_weight(id.0, share.weight);
        if wants {
            self.fair.join(id.0, 0);
        }
        self.queue(id.0);
        self.settle(id.0, now);
        self.stands = false;
        true
    }

    /// The vCPU wants to run. `true` if it was blocked: only then [`Scheduler::decide`] may say another thing.
    pub fn wake(&mut self, id: Id, now: Ticks) -> bool {
        let now = self.advance(now);
        match self.vcpu(id.0) {
            Some(vcpu) if !vcpu.ready => {
                // Its timer may have done so before, and nobody has looked.
                let at = vcpu.timer.min(now);
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
        self.rest(id.0, until.map_or(NEVER, |it| it.0), now)
    }

    /// So much of the time since the last event was the host's own work: charged to nobody. Said before that event.
    pub fn stolen(&mut self, ticks: Ticks) {
        self.stolen = self.stolen.saturating_add(ticks.0);
        self.stands = false;
    }

    /// So much of the time since the last event the one that runs has slept, with nobody else to give the core to: the core was idle,
    /// the vCPU blocked, and nothing is charged. Said before that event. This is much less work than [`Scheduler::block`],
    /// [`Scheduler::wake`] and two decisions.
    #[inline]
    pub fn slept(&mut self, ticks: Ticks) {
        let Some((id, _)) = self.running else {
            return;
        };
        if let Some(vcpu) = self.vcpu(id) {
            vcpu.account.slept(ticks);
        }
        self.core.idle = self.core.idle.after(ticks);
        self.stolen = self.stolen.saturating_add(ticks.0);
        self.asleep = self.asleep.after(ticks);
    }

    #[inline]
    pub(crate) fn vcpu(&mut self, id: u16) -> Option<&mut Vcpu> {
        self.vcpus.get_mut(usize::from(id))?.as_mut()
    }

    /// Brings all that goes on by itself up to `now`, but for what may make others want the core. Says what time it is:
    /// the end of time is never reached, so that what never happens is always later.
    #[inline]
    pub(crate) fn advance(&mut self, now: Ticks) -> u64 {
        if now.0 > self.last {
            self.pass(now.0.min(NEVER - 1));
        }
        self.stolen = 0;
        self.last
    }

    /// Time passes.
    #[inline]
    fn pass(&mut self, now: u64) {
        let (ran, stolen) = self.unaccounted(now);
        self.last = now;
        self.core
            .add(self.running.map(|(_, band)| band), ran, stolen);
        if let Some((id, band)) = self.running {
            self.charge(id, band, ran);
        }
        if now >= self.spot.edge() {
            self.look_up(now, self.spot.edge());
        }
    }

    fn charge(&mut self, id: u16, band: Band, ran: u64) {
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        vcpu.account.ran(band, ran);
        match band {
            Band::Reserved => self.spend(id, ran),
            Band::LeftOver => self.fair.charge(id, ran),
            Band::Window => {}
        }
    }

    #[inline(never)]
    fn spend(&mut self, id: u16, ran: u64) {
        if let Some(server) = self.vcpu(id).and_then(|it| it.server.as_mut()) {
            server.spend(ran);
            if server.left() == 0 {
                self.queue(id);
            }
        }
    }

    /// Finds the place in the table again. The last one was left at `left`.
    #[inline(never)]
    fn look_up(&mut self, now: u64, left: u64) {
        let before = self.spot;
        self.spot = self.table.as_ref().map_or(Spot::NONE, |it| it.spot(now));
        self.stands = false;
        if let Some(owner) = before.owner {
            self.settle(owner, left);
        }
        if let Some(owner) = self.spot.owner {
            self.settle(owner, self.spot.start.max(left));
        }
    }
}
