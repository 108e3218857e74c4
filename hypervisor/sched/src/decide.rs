//! Who runs, until when.

use crate::account::State;
use crate::scheduler::Scheduler;
use crate::{Band, Decision, Id};
use spec::Ticks;

impl Scheduler {
    /// Who runs from now on. To be asked after each event, and at the latest when the clock shows the last answer's
    /// `until`; asking more often changes nothing.
    pub fn decide(&mut self, now: Ticks) -> Decision {
        let now = self.advance(now);
        self.expire(now);
        let (run, until) = self.choose(now);
        self.switch(run, now);
        Decision {
            run: run.map(|(id, band)| (Id(id), band)),
            until: Ticks(until),
        }
    }

    /// What the clock has brought about for reservations and for the window's vCPU.
    fn expire(&mut self, now: u64) {
        while let Some((at, id)) = self.timers.due(now) {
            self.rouse(id, at);
        }
        while let Some((_, id)) = self.releases.due(now) {
            self.roll(id, now);
        }
        while let Some((_, id)) = self.deadlines.due(now) {
            self.roll(id, now);
        }
        if let Some(owner) = self.spot.owner
            && let Some(vcpu) = self.vcpu(owner)
            && let Some(at) = vcpu.is_due(now)
        {
            self.rouse(owner, at);
        }
    }

    /// A period of one that is ready has ended.
    fn roll(&mut self, id: u16, now: u64) {
        let Some(vcpu) = self.vcpu(id) else {
            return;
        };
        let Some(server) = &mut vcpu.server else {
            return;
        };
        let release = server.deadline();
        let missed = server.roll(now);
        let times = &mut vcpu.account.times;
        times.missed = times.missed.saturating_add(missed.periods);
        times.worst_short = times.worst_short.max(Ticks(missed.short));
        self.join(id, 0);
        self.settle(id, release);
    }

    #[inline]
    fn choose(&mut self, now: u64) -> (Option<(u16, Band)>, u64) {
        let mut until = u64::MAX;
        if self.table.is_some() {
            if let Some(owner) = self.spot.owner
                && self.is_ready(Id(owner))
            {
                return (Some((owner, Band::Window)), self.spot.end);
            }
            until = self.next_window();
        }
        for heap in [&self.timers, &self.releases] {
            if let Some((at, _)) = heap.top() {
                until = until.min(at);
            }
        }
        if let Some((deadline, id)) = self.deadlines.top() {
            let left = self
                .vcpu(id)
                .and_then(|it| it.server)
                .map_or(0, |it| it.left());
            let spent = now.saturating_add(left);
            return (Some((id, Band::Reserved)), until.min(spent).min(deadline));
        }
        if self.fair.is_turn_over() {
            while let Some((at, id)) = self.weighted_timers.due(now) {
                self.rouse(id, at);
            }
        }
        let chosen = self.fair.choose();
        let (mut rest, contended) = self.fair.rest();
        if chosen.is_none() {
            rest = 0;
        }
        let end = now.saturating_add(rest);
        if contended {
            until = until.min(end);
        } else if let Some((at, _)) = self.weighted_timers.top() {
            until = until.min(at.max(end));
        }
        (chosen.map(|id| (id, Band::LeftOver)), until)
    }

    /// When a window may next take the core: not at the start of one whose vCPU sleeps, for no sleeper costs anything.
    fn next_window(&self) -> u64 {
        let Some(table) = &self.table else {
            return u64::MAX;
        };
        let timer = |id: u16| match self.vcpus.get(usize::from(id)) {
            Some(Some(vcpu)) if vcpu.ready => Some(0),
            Some(Some(vcpu)) => vcpu.timer,
            _ => None,
        };
        let mut first = self.spot.owner.and_then(timer).unwrap_or(u64::MAX);
        for (start, id) in table.coming(&self.spot) {
            if start >= first {
                break;
            }
            if let Some(at) = timer(id) {
                first = first.min(start.max(at));
            }
        }
        first
    }

    #[inline]
    fn switch(&mut self, run: Option<(u16, Band)>, now: u64) {
        let before = self.running.map(|(id, _)| id);
        let after = run.map(|(id, _)| id);
        self.running = run;
        if before != after {
            if let Some(id) = before {
                self.settle(id, now);
            }
            if let Some(vcpu) = after.and_then(|id| self.vcpu(id)) {
                vcpu.account.enter(State::Running, now);
            }
        }
        if let Some((id, Band::Window)) = run
            && !self.spot.given
        {
            self.spot.given = true;
            let start = self.spot.start;
            if before != after
                && let Some(vcpu) = self.vcpu(id)
            {
                vcpu.late(start, now);
            }
        }
    }
}
