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
    /// All but what is in `spells`
    pub(crate) times: Times,
    /// By state. While it runs the host's own work is not its time: that is told by `ran`.
    spells: [u64; 4],
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
            spells: [times.blocked.0, times.throttled.0, times.wait.0, 0],
            state: State::Blocked,
            since: now,
            fresh: false,
        }
    }

    /// In another state from `at` on, which is not before the last change; if it is, it is at that one.
    #[inline]
    pub(crate) fn enter(&mut self, state: State, at: u64) {
        if state == self.state {
            return;
        }
        let at = at.max(self.since);
        let spell = Ticks(at - self.since);
        self.count(at);
        if state == State::Waiting {
            self.fresh = self.state != State::Running;
        }
        if state == State::Running {
            self.times.turns += 1;
            // No longer a wait than any that followed a wake-up is nothing new.
            if self.state == State::Waiting && spell > self.times.worst_wake {
                self.times.worst_wait = self.times.worst_wait.max(spell);
                if self.fresh {
                    self.times.worst_wake = spell;
                }
            }
        }
        self.state = state;
        self.since = at;
    }

    /// Puts the time until `at` where it belongs.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "four states")]
    fn count(&mut self, at: u64) {
        let sum = &mut self.spells[self.state as usize];
        *sum = sum.saturating_add(at.saturating_sub(self.since));
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

    /// It slept, though it is said to run.
    #[inline]
    #[expect(clippy::indexing_slicing, reason = "four states")]
    pub(crate) fn slept(&mut self, ticks: Ticks) {
        let blocked = &mut self.spells[State::Blocked as usize];
        *blocked = blocked.saturating_add(ticks.0);
    }

    /// The times until `now`, but for what it has run and nobody told.
    pub(crate) fn until(mut self, now: u64) -> Times {
        self.count(now);
        let [blocked, throttled, wait, _] = self.spells.map(Ticks);
        Times {
            wait,
            throttled,
            blocked,
            ..self.times
        }
    }
}
