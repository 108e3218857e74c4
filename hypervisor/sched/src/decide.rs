//! Who runs, until when.

use crate::account::State;
use crate::scheduler::Scheduler;
use crate::vcpu::NEVER;
use crate::{Band, Decision, Id};
use spec::Ticks;

/// So many timers of vCPUs with a weight alone are taken in by one decision: they wait for the turn's end in any case, and
/// the others are taken in at that.
const TIMERS: usize = 8;

impl Scheduler {
    /// Who runs from now on. To be asked after each event, and at the latest when the clock shows the last answer's
    /// `until`; asking more often changes nothing.
    #[inline]
    pub fn decide(&mut self, now: Ticks) -> Decision {
        let now = self.advance(now);
        if !self.stands || now >= self.until {
            self.renew(now);
        }
        Decision {
            run: self.running.map(|(id, band)| (Id(id), band)),
            until: Ticks(self.until),
        }
    }

    fn renew(&mut self, now: u64) {
        self.expire(now);
        let (run, until) = self.choose(now);
        self.switch(run, now);
        self.until = until;
        // In a window, what the clock brings about for others changes nothing, and is looked at all the same.
        self.stands = !matches!(run, Some((_, Band::Window)));
    }

    /// What the clock has brought about for reservations and for the window's vCPU.
    #[inline]
    fn expire(&mut self, now: u64) {
        while let Some((at, id)) = self.alarms.due(now) {
            if self.is_ready(Id(id)) {
                self.roll(id, now);
            } else {
                self.rouse(id, at);
            }
        }
        while let Some((_, id)) = self.deadlines.due(now) {
            self.roll(id, now);
        }
        if let Some(owner) = self.spot.owner
            && let Some(vcpu) = self.vcpu(owner)
            && vcpu.timer <= now
        {
            let at = vcpu.timer;
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
        self.queue(id);
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
        if let Some((at, _)) = self.alarms.top() {
            until = until.min(at);
        }
        if let Some((deadline, id)) = self.deadlines.top() {
            let server = self.vcpu(id).and_then(|it| it.server.as_ref());
            let left = server.map_or(0, |it| it.left());
            let spent = now.saturating_add(left);
            return (Some((id, Band::Reserved)), until.min(spent).min(deadline));
        }
        if self.fair.is_turn_over() {
            for _ in 0..TIMERS {
                let Some((at, id)) = self.timers.due(now) else {
                    break;
                };
                self.rouse(id, at);
            }
        }
        let chosen = self.fair.choose();
        let (rest, contended) = self.fair.rest();
        let end = now.saturating_add(rest);
        if contended {
            // The timers that are still due, too, are looked at then.
            until = until.min(end);
        } else if let Some((at, _)) = self.timers.top() {
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
            Some(Some(vcpu)) if vcpu.ready => 0,
            Some(Some(vcpu)) => vcpu.timer,
            _ => NEVER,
        };
        let mut first = self.spot.owner.map_or(NEVER, timer);
        for (start, id) in table.coming(&self.spot) {
            if start >= first {
                break;
            }
            first = first.min(start.max(timer(id)));
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
