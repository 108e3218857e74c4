//! Single-stepping: where the processor was after each instruction.

use crate::slot::Slot;

/// The most steps that are kept.
const MOST: usize = 64;

static ON: Slot<bool> = Slot::new(false);
static COUNT: Slot<usize> = Slot::new(0);
static SEEN: [Slot<Step>; MOST] = [const { Slot::new(Step { rip: 0, dr6: 0 }) }; MOST];

/// A debug exception.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Step {
    /// The instruction that comes next
    pub rip: u64,
    /// Why the exception came
    pub dr6: u64,
}

/// Has debug exceptions counted from now on.
pub fn begin() {
    COUNT.set(0);
    ON.set(true);
}

/// Ends it, and says how many there were.
pub fn end() -> usize {
    ON.set(false);
    COUNT.get()
}

/// Takes a debug exception; `false` if they are not counted.
pub(crate) fn take(rip: u64, dr6: u64) -> bool {
    if !ON.get() {
        return false;
    }
    let count = COUNT.get();
    if let Some(slot) = SEEN.get(count) {
        slot.set(Step { rip, dr6 });
    }
    COUNT.set(count + 1);
    true
}

/// One of them.
#[must_use]
pub fn seen(at: usize) -> Option<Step> {
    (at < COUNT.get())
        .then(|| SEEN.get(at).map(Slot::get))
        .flatten()
}
