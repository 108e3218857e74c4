//! A vCPU's times, kept.

use crate::{Band, Times};
use spec::Ticks;

/// What time goes into now.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum State {
    Blocked,
    Throttled,
    Waiting,
    Running,
}

/// The times, and what goes on now.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Account {
    pub(crate) times: Times,
    state: State,
    since: u64,
    /// The wait follows a wake-up or a release, no preemption
    fresh: bool,
}

impl Account {
    /// Blocked from `now` on.
    pub(crate) fn new(times: Times, now: u64) -> Self {
        Self {
            times,
            state: State::Blocked,
            since: now,
            fresh: false,
        }
    }

    /// In another state from `at` on, which is not before the last change; if it is, it is at that one.
    pub(crate) fn enter(&mut self, state: State, at: u64) {
        if state == self.state {
            return;
        }
        let at = at.max(self.since);
        let spell = self.count(at);
        if state == State::Waiting {
            self.fresh = self.state != State::Running;
        }
        if state == State::Running {
            self.times.turns += 1;
            if self.state == State::Waiting {
                self.times.worst_wait = self.times.worst_wait.max(spell);
                if self.fresh {
                    self.times.worst_wake = self.times.worst_wake.max(spell);
                }
            }
        }
        self.state = state;
        self.since = at;
    }

    /// Puts the time until `at` where it belongs.
    fn count(&mut self, at: u64) -> Ticks {
        let spell = Ticks(at.saturating_sub(self.since));
        let sum = match self.state {
            State::Blocked => &mut self.times.blocked,
            State::Throttled => &mut self.times.throttled,
            State::Waiting => &mut self.times.wait,
            // Told by `ran`, for the host's own work is not the vCPU's.
            State::Running => return spell,
        };
        *sum = sum.after(spell);
        spell
    }

    /// It ran.
    #[inline]
    pub(crate) fn ran(&mut self, band: Band, ticks: u64) {
        let sum = match band {
            Band::Window => &mut self.times.window,
            Band::Reserved => &mut self.times.reserved,
            Band::LeftOver => &mut self.times.left_over,
        };
        *sum = sum.after(Ticks(ticks));
    }

    /// The times until `now`, but for what it has run and nobody told.
    pub(crate) fn until(mut self, now: u64) -> Times {
        self.count(now);
        self.times
    }
}
