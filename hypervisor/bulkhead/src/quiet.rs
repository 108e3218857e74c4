//! How often a core lets itself be disturbed for the sake of vCPUs that it does not run.
//!
//! A guest can have another core kicked as often as it sends interrupts to a vCPU of its own that is there and does not hear them. Each
//! kick costs whoever runs there some 1,500 ticks. So a core takes [`BURST`] such kicks at once, and one in [`INTERVAL`] ticks in the long
//! run; when it has had them it says that it is not to be kicked, and looks by itself when the interval is over. Whoever runs loses no
//! more than that, and whoever waits for a kick gets it that much later.

use crate::seat::Seat;
use spec::Ticks;

/// Kicks that are taken at once.
const BURST: u64 = 16;
/// Ticks in which one more is taken.
const INTERVAL: u64 = 1 << 15;

/// What a core can still take.
#[derive(Default)]
pub(crate) struct Quiet {
    /// All kicks that were taken are paid for by then, at [`INTERVAL`] each
    paid: Ticks,
    /// When the core looks by itself
    until: Option<Ticks>,
}

impl Quiet {
    /// A kick was for a vCPU that does not run, while another does.
    pub(crate) fn disturbed(&mut self, seat: &Seat, now: Ticks) {
        self.paid = self.paid.max(now).after(Ticks(INTERVAL));
        if self.until.is_none() && self.paid.since(now).0 > BURST * INTERVAL {
            self.until = Some(now.after(Ticks(INTERVAL)));
            seat.set_quiet(true);
        }
    }

    /// Whether it is time to look.
    #[inline]
    pub(crate) fn is_over(&self, now: Ticks) -> bool {
        self.until.is_some_and(|until| until <= now)
    }

    /// Ends it if it is time: whoever calls this looks at its vCPUs afterwards.
    pub(crate) fn end(&mut self, seat: &Seat, now: Ticks) {
        if self.is_over(now) {
            self.until = None;
            seat.set_quiet(false);
        }
    }

    /// When the core must look by itself at the latest, given when it must be back anyway.
    #[inline]
    pub(crate) fn latest(&self, deadline: Ticks) -> Ticks {
        self.until.map_or(deadline, |until| until.min(deadline))
    }
}
