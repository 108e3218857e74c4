//! One vCPU, as its core's scheduler sees it.

use crate::account::{Account, State};
use crate::server::{Server, Spent};
use crate::{Share, Times};
use spec::Ticks;

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
    pub(crate) timer: Option<u64>,
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
            timer: None,
            account: Account::new(luggage.times, now),
        }
    }

    /// Whether it runs in windows only.
    pub(crate) fn has_windows_only(&self) -> bool {
        self.share == Share::default()
    }

    /// When its timer has woken it, if nobody has looked since.
    pub(crate) fn is_due(&self, now: u64) -> Option<u64> {
        self.timer.filter(|at| *at <= now)
    }

    /// Its times until `now`, of which it ran `ran` since it was last charged.
    pub(crate) fn times(&self, now: u64) -> Times {
        let mut account = self.account;
        if let Some(at) = self.is_due(now) {
            let state = if self.has_windows_only() {
                State::Throttled
            } else {
                State::Waiting
            };
            account.enter(state, at);
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
