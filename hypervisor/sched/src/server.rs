//! A reservation at work: a constant-bandwidth server with hard limits (Abeni and Buttazzo, "Integrating Multimedia
//! Applications in Hard Real-Time Systems", with the period's end as the limit).
//!
//! Time used beyond the budget, since somebody came late, is used of the next periods' budgets. What a period did not
//! give by its end is lost: carried on, it would be more than the budget in the period after, and on a full core each
//! later period would be late by as much, of this vCPU and then of others.

use crate::Reservation;

/// State of one reservation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Server {
    /// 1..=period
    budget: u64,
    period: u64,
    /// End of the period, zero before the first
    deadline: u64,
    /// Of the period's budget; more than that if somebody came late
    spent: u64,
}

/// What a reservation takes along to another core.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Spent {
    deadline: u64,
    spent: u64,
}

/// Periods that ended without having given all that they should.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct Missed {
    pub(crate) periods: u64,
    /// Of a budget, the most
    pub(crate) short: u64,
}

impl Server {
    pub(crate) fn new(reservation: Reservation) -> Self {
        let period = reservation.period.0.max(1);
        Self {
            budget: reservation.budget.0.clamp(1, period),
            period,
            deadline: 0,
            spent: 0,
        }
    }

    /// The end of the period.
    pub(crate) fn deadline(&self) -> u64 {
        self.deadline
    }

    /// What is left of the period's budget.
    #[inline]
    pub(crate) fn left(&self) -> u64 {
        self.budget.saturating_sub(self.spent)
    }

    /// It ran so long.
    #[inline]
    pub(crate) fn spend(&mut self, ticks: u64) {
        self.spent = self.spent.saturating_add(ticks);
    }

    /// It wants to run from `now` on: in the period that it is in, if what is left can be used in it at no more than the
    /// reserved rate, else in a new one. Within a period's length of the last release the wake-up costs `cost`. Says
    /// whether there is a budget, which has paid then, or which admission has made large enough.
    pub(crate) fn wake(&mut self, now: u64, cost: u64) -> bool {
        let is_early = now < self.deadline;
        if !is_early || self.is_too_much(now) {
            self.renew(now);
        }
        let has_budget = self.left() > 0;
        if is_early && has_budget {
            self.spend(cost);
        }
        has_budget
    }

    /// Whether what is left is more than the reserved rate has until the deadline: others would pay for it.
    fn is_too_much(&self, now: u64) -> bool {
        let rest = u128::from(self.deadline.saturating_sub(now));
        u128::from(self.left()) * u128::from(self.period) > u128::from(self.budget) * rest
    }

    fn renew(&mut self, release: u64) {
        self.spent = self.spent.saturating_sub(self.budget);
        self.deadline = release.saturating_add(self.period);
    }

    /// The period of one that is ready is over, at `now` or before: it is in the next one, or in the one that `now` is in.
    pub(crate) fn roll(&mut self, now: u64) -> Missed {
        let mut missed = Missed::default();
        self.end_period(&mut missed);
        if self.deadline <= now {
            // Somebody came late by more than a period. Time used beyond a budget may have paid for some that follow.
            let whole = (now - self.deadline) / self.period + 1;
            let paid = self.spent / self.budget;
            let skipped = whole.min(paid);
            self.spent -= skipped * self.budget;
            if whole > skipped {
                missed.periods += whole - skipped;
                let last = whole - skipped - 1;
                let spent = if last == 0 { self.spent } else { 0 };
                missed.short = missed.short.max(self.budget - spent);
                self.spent = 0;
            }
            let ends = u128::from(self.deadline) + u128::from(whole) * u128::from(self.period);
            self.deadline = u64::try_from(ends).unwrap_or(u64::MAX);
        }
        missed
    }

    fn end_period(&mut self, missed: &mut Missed) {
        if self.left() > 0 {
            missed.periods += 1;
            missed.short = missed.short.max(self.left());
        }
        self.renew(self.deadline);
    }

    /// Another reservation from `now` on. What was spent of the period counts against the new budget, and the period
    /// ends no later than a new one would.
    pub(crate) fn change(&mut self, reservation: Reservation, now: u64) {
        let Self {
            deadline, spent, ..
        } = *self;
        *self = Self::new(reservation);
        self.spent = spent.min(self.budget);
        self.deadline = deadline.min(now.saturating_add(self.period));
        if now < self.deadline && self.is_too_much(now) {
            self.renew(now);
        }
    }

    pub(crate) fn spent(&self) -> Spent {
        Spent {
            deadline: self.deadline,
            spent: self.spent,
        }
    }

    /// One that was elsewhere until `now`.
    pub(crate) fn resumed(reservation: Reservation, spent: Spent, now: u64) -> Self {
        let mut server = Self::new(reservation);
        server.deadline = spent.deadline;
        server.spent = spent.spent;
        server.change(reservation, now);
        server
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use spec::Ticks;

    fn server(budget: u64, period: u64) -> Server {
        Server::new(Reservation {
            budget: Ticks(budget),
            period: Ticks(period),
        })
    }

    #[test]
    fn the_first_wake_up_opens_a_period() {
        let mut it = server(3, 10);
        it.wake(100, 0);
        assert_eq!((it.left(), it.deadline()), (3, 110));
    }

    #[test]
    fn a_wake_up_keeps_what_it_can_use_at_its_rate_and_no_more() {
        let mut it = server(3, 10);
        it.wake(100, 0);
        it.spend(1);
        // Two left by 110: at 103 that is 2/7, below 3/10; at 104 it is 2/6, above.
        let mut early = it;
        early.wake(103, 0);
        assert_eq!((early.left(), early.deadline()), (2, 110));
        it.wake(104, 0);
        assert_eq!((it.left(), it.deadline()), (3, 114));
    }

    #[test]
    fn a_spent_budget_stays_spent_until_the_deadline() {
        let mut it = server(3, 10);
        it.wake(100, 0);
        it.spend(3);
        it.wake(109, 0);
        assert_eq!((it.left(), it.deadline()), (0, 110));
        assert_eq!(it.roll(110), Missed::default());
        assert_eq!((it.left(), it.deadline()), (3, 120));
    }

    #[test]
    fn a_storm_of_wake_ups_pays_whether_or_not_it_opens_a_period() {
        let mut it = server(100, 1000);
        it.wake(0, 10);
        assert_eq!(it.left(), 100);
        it.spend(1);
        it.wake(500, 10);
        assert_eq!((it.left(), it.deadline()), (90, 1500));
        it.wake(501, 10);
        assert_eq!((it.left(), it.deadline()), (80, 1500));
    }

    #[test]
    fn coming_late_is_paid_back_from_later_periods() {
        let mut it = server(3, 10);
        it.wake(0, 0);
        it.spend(8);
        assert_eq!(it.roll(10), Missed::default());
        assert_eq!((it.left(), it.deadline()), (0, 20));
        assert_eq!(it.roll(20), Missed::default());
        assert_eq!((it.left(), it.deadline()), (1, 30));
    }

    #[test]
    fn periods_that_gave_nothing_are_counted_once_each() {
        let mut it = server(3, 10);
        it.wake(0, 0);
        it.spend(1);
        assert_eq!(
            it.roll(35),
            Missed {
                periods: 3,
                short: 3
            }
        );
        assert_eq!((it.left(), it.deadline()), (3, 40));
        // One that lived on what it had used too much.
        it.spend(10);
        assert_eq!(
            it.roll(75),
            Missed {
                periods: 1,
                short: 2
            }
        );
        assert_eq!((it.left(), it.deadline()), (3, 80));
    }

    #[test]
    fn a_change_takes_effect_within_a_new_period() {
        let mut it = server(3_000_000, 10_000_000);
        it.wake(0, 0);
        it.spend(3_000_000);
        let small = Reservation {
            budget: Ticks(5),
            period: Ticks(10),
        };
        it.change(small, 4_000_000);
        assert_eq!((it.left(), it.deadline()), (0, 4_000_010));
        assert_eq!(it.roll(4_000_010), Missed::default());
        assert_eq!((it.left(), it.deadline()), (5, 4_000_020));
    }

    #[test]
    fn the_end_of_time_is_no_overflow() {
        let mut it = server(u64::MAX, u64::MAX);
        it.wake(u64::MAX - 1, u64::MAX);
        it.spend(u64::MAX);
        it.roll(u64::MAX - 1);
        it.wake(u64::MAX - 1, u64::MAX);
        it.change(
            Reservation {
                budget: Ticks(0),
                period: Ticks(0),
            },
            u64::MAX - 1,
        );
        assert!(it.left() <= 1);
    }
}
