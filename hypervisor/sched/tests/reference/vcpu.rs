//! One vCPU, and what can be found out about it.

use sched::Share;

#[derive(Clone, Debug)]
pub(crate) struct Vcpu {
    pub(crate) id: u16,
    pub(crate) share: Share,
    pub(crate) ready: bool,
    pub(super) timer: Option<u64>,
    pub(super) deadline: u64,
    pub(super) spent: u64,
    /// Virtual time
    pub(super) time: u128,
    /// It wanted left-over time when that was last looked at
    pub(super) wanted: bool,
    pub(crate) missed: u64,
    pub(crate) short: u64,
    pub(crate) ran: [u64; 3],
}

impl Vcpu {
    pub(super) fn budget(&self) -> u64 {
        self.share
            .reservation
            .map_or(0, |it| it.budget.0.clamp(1, self.period()))
    }

    pub(super) fn period(&self) -> u64 {
        self.share.reservation.map_or(0, |it| it.period.0.max(1))
    }

    pub(super) fn left(&self) -> u64 {
        self.budget().saturating_sub(self.spent)
    }

    pub(super) fn rate(&self) -> u128 {
        self.share
            .weight
            .map_or(0, |it| (1 << 28) / u128::from(it.get()))
    }

    pub(super) fn wants_reserved(&self) -> bool {
        self.ready && self.left() > 0
    }

    pub(super) fn wants_left_over(&self) -> bool {
        self.ready && self.share.weight.is_some()
    }

    pub(super) fn is_throttled(&self) -> bool {
        self.ready && self.share.reservation.is_some() && self.left() == 0
    }

    pub(super) fn is_too_much(&self, now: u64) -> bool {
        let rest = u128::from(self.deadline - now);
        u128::from(self.left()) * u128::from(self.period()) > u128::from(self.budget()) * rest
    }

    pub(super) fn renew(&mut self, release: u64) {
        self.spent = self.spent.saturating_sub(self.budget());
        self.deadline = release + self.period();
    }
}
