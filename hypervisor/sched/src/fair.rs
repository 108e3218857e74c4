//! Left-over time: by virtual time, in turns of a slice.
//!
//! A vCPU's virtual time is the left-over time that it had over its weight; whoever has the least has the next turn. The
//! virtual clock is the least of those that want time, and never goes back. Who joins is placed at the clock, unless its
//! own time is later: sleep earns nothing. There is no preemption within a turn, so that no storm of wake-ups cuts a
//! neighbour's turn; a turn that was interrupted by a reservation or a window goes on after it.
//!
//! **No starvation.** Who is ready is at most slice/weight ahead of the clock (and what its wake-up cost). Before its
//! turn, another may run until it is past that, and then a slice: of left-over time, one with weight w waits at most
//! a slice, for the turn that is on when it wakes, and the sum over the others, with weight v, of
//! (slice + cost) · (v/w) + slice. Of many whose timers go off together, each 8 come a turn after those before them.
#![expect(
    clippy::indexing_slicing,
    reason = "numbers are below the capacity that the scheduler was made with"
)]

use crate::Weight;
use crate::heap::Heap;
use alloc::vec;
use alloc::vec::Vec;

/// One tick of a vCPU with weight 1, in units of virtual time.
const UNIT: u64 = 1 << 28;
/// When the clock shows this, it is set back to zero. So there is as much room above it: that one vCPU is further ahead
/// of another than 2³⁵ ticks times its weight is not remembered.
const EPOCH: u64 = 1 << 63;

/// No turn has begun. A slice is at most as long.
const NO_TURN: u64 = u64::MAX;

/// What a vCPU had.
#[derive(Clone, Copy, Default)]
struct Account {
    /// Virtual time
    time: u64,
    /// How much of it a tick is; zero without weight
    rate: u64,
}

impl Account {
    fn add(&mut self, ticks: u64) {
        self.time = self.time.saturating_add(ticks.saturating_mul(self.rate));
    }
}

/// All that a core's left-over time is shared by.
pub(crate) struct Fair {
    /// Those that want time but for the first, by virtual time
    waiting: Heap,
    /// By id
    accounts: Vec<Account>,
    /// As it was when somebody last came or went, or a turn ended
    clock: u64,
    /// Whose turn it is, or who was alone when it came and stands first in line until the next turn begins
    first: Option<u16>,
    /// Of the turn's slice, [`NO_TURN`] before it begins
    used: u64,
    slice: u64,
}

impl Fair {
    pub(crate) fn new(capacity: u16, slice: u64) -> Self {
        Self {
            waiting: Heap::new(capacity),
            accounts: vec![Account::default(); usize::from(capacity)],
            clock: 0,
            first: None,
            used: NO_TURN,
            slice: slice.max(1),
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.waiting.steps()
    }

    /// Gives the account of one that is not ready a weight; what it had more than others stays as many ticks.
    pub(crate) fn set_weight(&mut self, id: u16, weight: Option<Weight>) {
        let ahead = self.ahead(id);
        self.open(id, weight, ahead);
    }

    /// Opens an account of one that had `ahead` more than others elsewhere.
    pub(crate) fn open(&mut self, id: u16, weight: Option<Weight>, ahead: u64) {
        self.tick();
        let account = &mut self.accounts[usize::from(id)];
        account.rate = weight.map_or(0, |weight| UNIT / u64::from(weight.get()));
        account.time = self.clock;
        account.add(ahead);
    }

    /// Ticks that it had more than it should have had by now.
    pub(crate) fn ahead(&mut self, id: u16) -> u64 {
        self.tick();
        let Account { time, rate } = self.accounts[usize::from(id)];
        time.saturating_sub(self.clock)
            .checked_div(rate)
            .unwrap_or(0)
    }

    /// It wants time. `cost` is what a wake-up costs it.
    #[inline]
    pub(crate) fn join(&mut self, id: u16, cost: u64) {
        self.tick();
        let account = &mut self.accounts[usize::from(id)];
        account.time = account.time.max(self.clock);
        account.add(cost);
        if self.first.is_none() && self.waiting.is_empty() {
            self.first = Some(id);
        } else {
            self.waiting.put(id, account.time);
        }
    }

    /// It wants no more.
    #[inline]
    pub(crate) fn leave(&mut self, id: u16) {
        self.tick();
        if self.first == Some(id) {
            (self.first, self.used) = (None, NO_TURN);
        } else {
            self.waiting.remove(id);
        }
    }

    /// It ran.
    #[inline]
    pub(crate) fn charge(&mut self, id: u16, ticks: u64) {
        let account = &mut self.accounts[usize::from(id)];
        if self.first == Some(id) {
            self.used = self.used.saturating_add(ticks);
            account.add(ticks);
        } else {
            self.charge_waiting(id, ticks);
        }
    }

    /// Its share was changed while it ran, which ended its turn.
    #[cold]
    fn charge_waiting(&mut self, id: u16, ticks: u64) {
        if self.waiting.contains(id) {
            let account = &mut self.accounts[usize::from(id)];
            account.add(ticks);
            self.waiting.put(id, account.time);
        }
    }

    /// Brings the clock up to the least of those that want time.
    #[inline]
    fn tick(&mut self) {
        let first = self.first.map(|id| self.accounts[usize::from(id)].time);
        let least = match (first, self.waiting.top()) {
            (Some(first), Some((time, _))) => first.min(time),
            (Some(time), None) | (None, Some((time, _))) => time,
            (None, None) => return,
        };
        self.clock = self.clock.max(least);
        if self.clock >= EPOCH {
            self.begin_epoch();
        }
    }

    /// Sets the clock back to zero, and all accounts with it. Who is behind it would have joined at the clock anyway.
    #[cold]
    fn begin_epoch(&mut self) {
        for account in &mut self.accounts {
            account.time = account.time.saturating_sub(self.clock);
        }
        self.waiting.lower(self.clock);
        self.clock = 0;
    }

    /// Whether another may have the next turn now.
    #[inline]
    pub(crate) fn is_turn_over(&self) -> bool {
        self.used >= self.slice
    }

    /// Whose turn it is now.
    #[inline]
    pub(crate) fn choose(&mut self) -> Option<u16> {
        if let Some(id) = self.first {
            if self.used < self.slice {
                return self.first;
            }
            // Alone it goes on, and whoever comes then need not wait.
            if self.waiting.is_empty() {
                if self.used == NO_TURN {
                    self.used = 0;
                }
                return self.first;
            }
            self.tick();
            let Account { time, .. } = &mut self.accounts[usize::from(id)];
            if self.used != NO_TURN {
                // Behind an equal one: by the least that there is.
                *time = time.saturating_add(1);
            }
            self.first = Some(self.waiting.exchange(id, *time));
        } else {
            self.first = self.waiting.top().map(|(_, id)| id);
            self.waiting.remove(self.first?);
        }
        self.used = 0;
        self.first
    }

    /// What the turn has left, and whether somebody waits for its end.
    #[inline]
    pub(crate) fn rest(&self) -> (u64, bool) {
        (
            self.slice.saturating_sub(self.used),
            !self.waiting.is_empty(),
        )
    }

    /// Of those that want time and that `may` names, the one furthest ahead.
    pub(crate) fn last(&self, may: impl Fn(u16) -> bool) -> Option<u16> {
        let first = self
            .first
            .map(|id| (self.accounts[usize::from(id)].time, id));
        let all = first.into_iter().chain(self.waiting.iter());
        all.filter(|(_, id)| may(*id)).max().map(|(_, id)| id)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fair(weights: &[u32]) -> Fair {
        let mut it = Fair::new(8, 10);
        for (id, weight) in (0..).zip(weights) {
            it.open(id, Weight::new(*weight), 0);
            it.join(id, 0);
        }
        it
    }

    /// Years of a clock, a thousand epochs: each has its share in each of them, and a sleeper's debt is remembered.
    #[test]
    fn an_epoch_s_end_changes_nobody_s_turn() {
        let mut it = fair(&[1, 3, 4]);
        let mut had = [0_u64; 3];
        let mut epochs = 0;
        let slice = 1 << 30;
        it.slice = slice;
        let mut clock = 0;
        while epochs < 1000 {
            let id = it.choose().expect("three want time");
            it.charge(id, slice);
            had[usize::from(id)] += 1;
            epochs += u64::from(it.clock < clock);
            clock = it.clock;
            let whole: u64 = had.iter().sum();
            for (had, weight) in had.iter().zip([1, 3, 4]) {
                assert!(had.abs_diff(whole * weight / 8) <= 3, "{had} of {whole}");
            }
        }
        // Ahead by so much, however often the clock was set back since it was noticed.
        it.leave(1);
        let ahead = it.ahead(1);
        it.join(1, slice);
        it.leave(1);
        assert!(it.ahead(1).abs_diff(ahead + slice) <= 1);
    }

    #[test]
    fn one_that_was_alone_for_ever_owes_nothing_and_is_owed_nothing() {
        let mut it = fair(&[1]);
        it.open(1, Weight::new(10_000), 0);
        assert_eq!(it.choose(), Some(0));
        it.charge(0, u64::MAX - 1);
        it.join(1, 0);
        assert_eq!((it.choose(), it.ahead(0), it.ahead(1)), (Some(1), 0, 0));
        it.charge(1, 10);
        assert_eq!(it.choose(), Some(0));
    }
}
