//! Where each vCPU waits.

use crate::account::State;
use crate::scheduler::Scheduler;

impl Scheduler {
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
        let paid = vcpu.server.as_mut().is_some_and(|it| it.wake(at, cost));
        self.disarm(id);
        self.join(id, if paid { 0 } else { cost });
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
    pub(crate) fn rest(&mut self, id: u16, timer: Option<u64>, now: u64) {
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
            }
            Some(server) => {
                self.releases.put(id, server.deadline());
                self.deadlines.remove(id);
            }
            None => {}
        }
        // With a budget left, too: no left-over time passes until that is spent, and none of its claim is lost.
        if weighted && !self.fair.contains(id) {
            self.fair.join(id, cost);
        }
    }

    /// Takes it from where it waits.
    pub(crate) fn leave(&mut self, id: u16) {
        self.deadlines.remove(id);
        self.releases.remove(id);
        self.fair.leave(id);
    }

    pub(crate) fn arm(&mut self, id: u16) {
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

    pub(crate) fn disarm(&mut self, id: u16) {
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
