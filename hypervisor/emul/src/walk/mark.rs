//! Setting accessed and dirty flags.
#![expect(clippy::arithmetic_side_effects, reason = "five steps at most")]
#![expect(
    clippy::indexing_slicing,
    reason = "five steps at most, as `follow` goes"
)]

use super::{BITS32, Intent, WalkError, Walker};
use seam::{AccessError, GuestMem};
use spec::Gpa;
use spec::pte::Pte;

/// How often a walk starts over because an entry changed before its accessed or dirty flag was set.
const ATTEMPTS: u32 = 16;

/// An entry on the way, and its place.
#[derive(Clone, Copy, Default)]
pub(super) struct Step {
    pub(super) at: Gpa,
    pub(super) entry: u64,
}

impl<M: GuestMem, const MODE: u32> Walker<'_, M, MODE> {
    /// Walks and sets the flags that are clear: rare, so apart from the walk that finds them all set.
    #[cold]
    #[inline(never)]
    pub(super) fn follow_and_mark(&self) -> Result<Gpa, WalkError> {
        for _ in 0..ATTEMPTS {
            let (mut steps, mut count) = ([Step::default(); 5], 0);
            let (gpa, is_marked) = self.follow(|step| {
                steps[count] = step;
                count += 1;
            })?;
            if is_marked || self.mark_all(&steps[..count])? {
                return Ok(gpa);
            }
        }
        Err(WalkError::Busy)
    }

    /// Sets the flags of all entries on the way, from the root on, the dirty flag in the last; `false` if one is no
    /// longer what was read.
    fn mark_all(&self, steps: &[Step]) -> Result<bool, WalkError> {
        for (n, step) in steps.iter().enumerate() {
            let mut flags = Pte::ACCESSED;
            flags.set(
                Pte::DIRTY,
                n + 1 == steps.len() && self.intent == Intent::Write,
            );
            if !self.mark(*step, flags)? {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Sets flags in an entry; `false` if it is no longer what was read.
    fn mark(&self, step: Step, flags: Pte) -> Result<bool, WalkError> {
        let outside = |_: AccessError| WalkError::Outside(step.at);
        let (old, new) = (step.entry, step.entry | flags.bits());
        if old == new {
            return Ok(true);
        }
        if MODE != BITS32 {
            return self
                .mem
                .compare_exchange_u64(step.at, old, new)
                .map_err(outside);
        }
        // The neighbour in the same word may change without harm: take it as it is now.
        let (at, shift) = (step.at.align_down(8), 8 * (step.at.0 & 4));
        let word = self.mem.read_u64(at).map_err(outside)?;
        if (word >> shift) & 0xffff_ffff != old {
            return Ok(false);
        }
        self.mem
            .compare_exchange_u64(at, word, word | (new << shift))
            .map_err(outside)
    }
}
