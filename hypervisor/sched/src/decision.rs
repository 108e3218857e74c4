//! What the scheduler says.

use crate::Id;
use spec::Ticks;

/// By what right a vCPU has the core.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Band {
    /// It is its window
    Window,
    /// By its reservation
    Reserved,
    /// By its weight
    LeftOver,
}

/// Who runs, and until when.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Decision {
    /// `None`: the core idles
    pub run: Option<(Id, Band)>,
    /// When the clock may next change this by itself, always later than the decision; `Ticks(u64::MAX)`: only an event
    /// (a wake-up, a block, a changed share) can.
    pub until: Ticks,
}
