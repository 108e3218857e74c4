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
//! (slice + cost) · (v/w) + slice.

use crate::Weight;
use crate::heap::Heap;
use alloc::vec;
use alloc::vec::Vec;

/// One tick of a vCPU with weight 1, in units of virtual time. 2⁶⁴ ticks of it fit an `u128`.
const UNIT: u64 = 1 << 32;

/// All that a core's left-over time is shared by.
pub(crate) struct Fair {
    /// Those that want time, by virtual time; the one that has it stays here
    ready: Heap<u128>,
    /// By id: virtual time, and how much of it a tick is; zero without weight
    accounts: Vec<(u128, u64)>,
    clock: u128,
    /// Whose turn it is
    turn: Option<u16>,
    /// Of that turn's slice
    used: u64,
    slice: u64,
}

impl Fair {
    pub(crate) fn new(capacity: u16, slice: u64) -> Self {
        Self {
            ready: Heap::new(capacity),
            accounts: vec![(0, 0); usize::from(capacity)],
            clock: 0,
            turn: None,
            used: 0,
            slice: slice.max(1),
        }
    }

    pub(crate) fn steps(&self) -> u64 {
        self.ready.steps()
    }

    pub(crate) fn contains(&self, id: u16) -> bool {
        self.ready.contains(id)
    }

    /// Gives the account of one that is not ready a weight; what it had more than others stays as many ticks.
    pub(crate) fn set_weight(&mut self, id: u16, weight: Option<Weight>) {
        let ahead = self.ahead(id);
        self.open(id, weight, ahead);
    }

    /// Opens an account of one that had `ahead` more than others elsewhere.
    pub(crate) fn open(&mut self, id: u16, weight: Option<Weight>, ahead: u64) {
        let rate = weight.map_or(0, |weight| UNIT / u64::from(weight.get()));
        let time = self.clock + u128::from(ahead) * u128::from(rate);
        self.accounts[usize::from(id)] = (time, rate);
    }

    /// Ticks that it had more than it should have had by now.
    pub(crate) fn ahead(&self, id: u16) -> u64 {
        let (time, rate) = self.accounts[usize::from(id)];
        let ahead = time.saturating_sub(self.clock);
        u64::try_from(ahead.checked_div(u128::from(rate)).unwrap_or(0)).unwrap_or(u64::MAX)
    }

    /// It wants time. `cost` is what a wake-up costs it.
    pub(crate) fn join(&mut self, id: u16, cost: u64) {
        let (time, rate) = &mut self.accounts[usize::from(id)];
        *time = (*time).max(self.clock) + u128::from(cost) * u128::from(*rate);
        self.ready.put(id, *time);
        self.advance();
    }

    /// It wants no more.
    pub(crate) fn leave(&mut self, id: u16) {
        self.ready.remove(id);
        if self.turn == Some(id) {
            self.turn = None;
        }
        self.advance();
    }

    /// It ran.
    pub(crate) fn charge(&mut self, id: u16, ticks: u64) {
        if !self.ready.contains(id) {
            return;
        }
        if self.turn == Some(id) {
            self.used = self.used.saturating_add(ticks);
        }
        let (time, rate) = &mut self.accounts[usize::from(id)];
        *time += u128::from(ticks) * u128::from(*rate);
        self.ready.put(id, *time);
        self.advance();
    }

    fn advance(&mut self) {
        if let Some((time, _)) = self.ready.top() {
            self.clock = self.clock.max(time);
        }
    }

    /// Whether another may have the next turn now.
    #[inline]
    pub(crate) fn is_turn_over(&self) -> bool {
        self.turn.is_none() || self.used >= self.slice
    }

    /// Whose turn it is now.
    pub(crate) fn choose(&mut self) -> Option<u16> {
        if let Some(id) = self.turn {
            // Alone it goes on, and whoever comes then need not wait.
            if self.used < self.slice || self.ready.len() == 1 {
                return Some(id);
            }
            // Behind an equal one: by the least that there is.
            let (time, _) = &mut self.accounts[usize::from(id)];
            *time += 1;
            self.ready.put(id, *time);
            self.advance();
        }
        self.turn = self.ready.top().map(|(_, id)| id);
        self.used = 0;
        self.turn
    }

    /// What the turn has left, and whether somebody waits for its end.
    pub(crate) fn rest(&self) -> (u64, bool) {
        (self.slice.saturating_sub(self.used), self.ready.len() > 1)
    }

    /// Of those that wait and that `may` names, the one furthest ahead.
    pub(crate) fn last(&self, may: impl Fn(u16) -> bool) -> Option<u16> {
        let waiting = self.ready.iter().filter(|(_, id)| may(*id));
        waiting.max().map(|(_, id)| id)
    }
}
