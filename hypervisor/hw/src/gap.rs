//! The gap between a last look at the kick flag and the instruction that must not run once it is set.
//!
//! A kick is an NMI, which interrupts anything. One that strikes after the look sets the flag too late for it: so its handler
//! leads the core out of the gap, and the guest is not entered, or the sleep not begun.

/// A stretch of code, from the look at the flag up to and including the instruction that it guards.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Gap {
    /// Where the look begins
    pub(crate) from: u64,
    /// The end of the guarded instruction
    pub(crate) to: u64,
    /// Where the code goes on if the flag is set, with the stack as it is anywhere in the gap
    pub(crate) out: u64,
}

impl Gap {
    /// Where an interrupted core goes on instead, if it was in the gap.
    #[inline]
    pub(crate) fn way_out(self, rip: u64) -> Option<u64> {
        (self.from..self.to).contains(&rip).then_some(self.out)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_from_the_look_to_the_guarded_instruction_is_a_core_led_out() {
        let gap = Gap {
            from: 10,
            to: 20,
            out: 30,
        };
        assert_eq!(
            [9, 10, 19, 20].map(|rip| gap.way_out(rip)),
            [None, Some(30), Some(30), None]
        );
    }

    #[test]
    fn each_gap_is_a_short_stretch_of_code_before_its_way_out() {
        for gap in [crate::entry::gap()].into_iter().chain(crate::idle::gaps()) {
            assert!(gap.from < gap.to && gap.to <= gap.out, "{gap:?}");
            assert!(gap.out - gap.from < 200, "{gap:?}");
        }
    }
}
