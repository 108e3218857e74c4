//! One vCPU, as its core's scheduler sees it.

use crate::account::{Account, State};
use crate::server::{Server, Spent};
use crate::{Share, Times};
use spec::Ticks;

/// The timer of one that has none, and of one that is ready.
pub(crate) const NEVER: u64 = u64::MAX;

/// Where a vCPU waits for the clock, or for others' deadlines.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Queue {
    None,
    Deadlines,
    Alarms,
    Timers,
}

/// The account of a vCPU that leaves a scheduler, for the next one: what it has had of the left-over time above its
/// share, how far its reservation's period is spent, and its times.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Luggage {
    pub(crate) times: Times,
    /// Ticks of left-over time
    pub(crate) ahead: u64,
    pub(crate) spent: Spent,
}

impl Luggage {
    /// Where the vCPU's time went, until it left.
    #[must_use]
    pub fn times(&self) -> &Times {
        &self.times
    }
}

/// One vCPU; its virtual time is with the others'.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Vcpu {
    pub(crate) share: Share,
    pub(crate) server: Option<Server>,
    pub(crate) ready: bool,
    /// Since when it is
    pub(crate) woke: u64,
    /// While it is not, when the clock wakes it
    pub(crate) timer: u64,
    /// Where it is, by the last that was made of all this
    pub(crate) queue: Queue,
    pub(crate) account: Account,
}

impl Vcpu {
    /// Blocked.
    pub(crate) fn new(share: Share, luggage: &Luggage, now: u64) -> Self {
        Self {
            share,
            server: share
                .reservation
                .map(|it| Server::resumed(it, luggage.spent, now)),
            ready: false,
            woke: 0,
            timer: NEVER,
            queue: Queue::None,
            account: Account::new(luggage.times, now),
        }
    }

    /// Whether it runs in windows only.
    pub(crate) fn has_windows_only(&self) -> bool {
        self.share == Share::default()
    }

    /// Whether it has a budget to run by.
    #[inline]
    pub(crate) fn has_budget(&self) -> bool {
        self.server.as_ref().is_some_and(|it| it.left() > 0)
    }

    /// What its time goes into while it does not run. `owns`: it is its window.
    #[inline]
    pub(crate) fn state(&self, owns: bool) -> State {
        if !self.ready {
            State::Blocked
        } else if owns || self.share.weight.is_some() || self.has_budget() {
            State::Waiting
        } else {
            State::Throttled
        }
    }

    /// Where it belongs, and by which time.
    #[inline]
    pub(crate) fn belongs(&self) -> (Queue, u64) {
        match &self.server {
            Some(server) if self.ready && server.left() > 0 => {
                (Queue::Deadlines, server.deadline())
            }
            Some(server) if self.ready => (Queue::Alarms, server.deadline()),
            _ if self.timer == NEVER => (Queue::None, NEVER),
            Some(_) => (Queue::Alarms, self.timer),
            None if self.share.weight.is_some() => (Queue::Timers, self.timer),
            // It is looked at when its window is near.
            None => (Queue::None, NEVER),
        }
    }

    /// Its times until `now`, of which it ran `ran` since it was last charged.
    pub(crate) fn times(&self, now: u64) -> Times {
        let mut account = self.account;
        // Nobody may have looked since.
        if self.timer <= now {
            let state = if self.has_windows_only() {
                State::Throttled
            } else {
                State::Waiting
            };
            account.enter(state, self.timer);
        }
        account.until(now)
    }

    /// It has been given the core in the window that started at `start`, for the first time in it.
    pub(crate) fn late(&mut self, start: u64, now: u64) {
        if self.woke <= start {
            let late = Ticks(now.saturating_sub(start));
            let worst = &mut self.account.times.worst_late;
            *worst = (*worst).max(late);
        }
    }
}
