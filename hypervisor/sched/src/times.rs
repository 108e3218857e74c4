//! Where the time went.

use crate::Band;
use spec::Ticks;

/// Of one vCPU, since it was first added to a scheduler.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Times {
    /// Ran in its windows
    pub window: Ticks,
    /// Ran by its reservation
    pub reserved: Ticks,
    /// Ran by its weight
    pub left_over: Ticks,
    /// Ready and entitled to run, and another had the core
    pub wait: Ticks,
    /// Ready, but not entitled: budget spent and no weight, or outside its windows
    pub throttled: Ticks,
    /// Not ready
    pub blocked: Ticks,
    /// How often it was given the core that it did not have
    pub turns: u64,
    /// The longest time from becoming both ready and entitled to running
    pub worst_wake: Ticks,
    /// The longest wait in one piece, one that followed a preemption included
    pub worst_wait: Ticks,
    /// The longest time from the start of a window, at which it was ready, to the decision that gave it the core
    pub worst_late: Ticks,
    /// Periods at whose end it was ready and had not had what was left of its budget
    pub missed: u64,
    /// The most of its budget that such a period lacked
    pub worst_short: Ticks,
}

impl Times {
    /// Ran, by whatever right.
    #[must_use]
    pub const fn run(&self) -> Ticks {
        self.window.after(self.reserved).after(self.left_over)
    }
}

/// Of one core, since its scheduler was made: their sum is the time since then.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CoreTimes {
    /// vCPUs ran in their windows
    pub window: Ticks,
    /// vCPUs ran by their reservations
    pub reserved: Ticks,
    /// vCPUs ran by their weights
    pub left_over: Ticks,
    /// Nobody ran
    pub idle: Ticks,
    /// The host's own work
    pub stolen: Ticks,
}

impl CoreTimes {
    /// So much time passed while one ran by this right, or none did.
    pub(crate) fn add(&mut self, band: Option<Band>, ran: u64, stolen: u64) {
        let sum = match band {
            Some(Band::Window) => &mut self.window,
            Some(Band::Reserved) => &mut self.reserved,
            Some(Band::LeftOver) => &mut self.left_over,
            None => &mut self.idle,
        };
        *sum = sum.after(Ticks(ran));
        self.stolen = self.stolen.after(Ticks(stolen));
    }
}
