//! What becomes of a VM that has ended: whether it is started anew, and when.

use crate::life::End;
use exits::Stop;
use spec::Ticks;

/// Doublings of the first delay: more of them than this make no difference to anyone.
const DOUBLINGS: u32 = 20;

/// What the plan says of it, in ticks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Policy {
    /// How often it is started anew after crashes in a row; never where a crash is its end
    pub restarts: u32,
    /// Whether it is started anew when it has reset itself
    pub reboots: bool,
    /// Time between the first crash and the restart; it doubles with each
    pub delay: Ticks,
    /// The longest such time
    pub longest: Ticks,
    /// One that has been up for so long begins a new row
    pub window: Ticks,
}

impl Default for Policy {
    /// A crash is its end, a reboot is not.
    fn default() -> Self {
        Self {
            restarts: 0,
            reboots: true,
            delay: Ticks(0),
            longest: Ticks(0),
            window: Ticks(u64::MAX),
        }
    }
}

/// The row of crashes.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Row(u32);

/// What follows an end.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Next {
    /// It stays off.
    Off,
    /// It stays off, since it has crashed more often in a row than it may.
    GivenUp,
    /// It is started anew after this time.
    Again(Ticks),
}

impl End {
    /// Whether the VM has failed: not by its own wish, nor anybody's.
    #[must_use]
    pub const fn is_crash(self) -> bool {
        match self {
            End::Stopped(stop) => !matches!(stop, Stop::PowerOff | Stop::Reset),
            End::Watchdog => true,
            // Its kernel or the machine is at fault, as it will be the next time.
            End::Asked | End::AskedToReset | End::NotStarted => false,
        }
    }
}

impl Row {
    /// What follows an end of a VM that has been `up` for so long.
    pub fn next(&mut self, policy: &Policy, end: End, up: Ticks) -> Next {
        if !end.is_crash() {
            // A guest that resets itself between its crashes is in the same row, or it could crash without end.
            if end != End::Stopped(Stop::Reset) {
                *self = Self::default();
            }
            return match end {
                End::AskedToReset => Next::Again(Ticks(0)),
                End::Stopped(Stop::Reset) if policy.reboots => Next::Again(Ticks(0)),
                _ => Next::Off,
            };
        }
        if up >= policy.window {
            *self = Self::default();
        }
        if policy.restarts == 0 {
            return Next::Off;
        }
        if self.0 >= policy.restarts {
            return Next::GivenUp;
        }
        let doublings = self.0.min(DOUBLINGS);
        self.0 = self.0.saturating_add(1);
        let delay = policy.delay.0.saturating_mul(1 << doublings);
        Next::Again(Ticks(delay).min(policy.longest))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const CRASH: End = End::Stopped(Stop::TripleFault);
    const POLICY: Policy = Policy {
        restarts: 3,
        reboots: true,
        delay: Ticks(100),
        longest: Ticks(250),
        window: Ticks(1000),
    };

    #[test]
    fn crashes_in_a_row_are_followed_by_longer_and_longer_delays_and_then_by_nothing() {
        let mut row = Row::default();
        let mut next = |up| row.next(&POLICY, CRASH, Ticks(up));
        let again = |ticks| Next::Again(Ticks(ticks));
        assert_eq!([next(1), next(2), next(3)], [100, 200, 250].map(again));
        assert_eq!([next(4), next(999)], [Next::GivenUp; 2]);
    }

    /// The fault: a reset between two crashes began a new row, so that a guest that does both by turns was started anew without end.
    #[test]
    fn a_reset_does_not_end_a_row() {
        let mut row = Row::default();
        let reset = End::Stopped(Stop::Reset);
        for doubled in [100, 200, 250] {
            assert_eq!(
                row.next(&POLICY, CRASH, Ticks(1)),
                Next::Again(Ticks(doubled))
            );
            assert_eq!(row.next(&POLICY, reset, Ticks(1)), Next::Again(Ticks(0)));
        }
        assert_eq!(row.next(&POLICY, CRASH, Ticks(1)), Next::GivenUp);
    }

    #[test]
    fn one_that_has_been_up_for_long_begins_a_new_row() {
        let mut row = Row::default();
        for up in [1, 2, 3] {
            let _ = row.next(&POLICY, CRASH, Ticks(up));
        }
        assert_eq!(
            row.next(&POLICY, CRASH, Ticks(1000)),
            Next::Again(Ticks(100))
        );
    }

    #[test]
    fn a_crash_is_the_end_where_the_plan_says_nothing() {
        let usual = Policy::default();
        assert_eq!(Row::default().next(&usual, CRASH, Ticks(5)), Next::Off);
        let reset = End::Stopped(Stop::Reset);
        assert_eq!(
            Row::default().next(&usual, reset, Ticks(5)),
            Next::Again(Ticks(0))
        );
        let stays = Policy {
            reboots: false,
            ..POLICY
        };
        assert_eq!(Row::default().next(&stays, reset, Ticks(5)), Next::Off);
        assert_eq!(
            Row::default().next(&stays, End::AskedToReset, Ticks(5)),
            Next::Again(Ticks(0)),
            "what somebody asks for is done"
        );
    }

    fn end() -> impl Strategy<Value = End> {
        prop_oneof![
            4 => Just(CRASH),
            1 => Just(End::Stopped(Stop::Bug("bug"))),
            1 => Just(End::Watchdog),
            1 => Just(End::Stopped(Stop::Reset)),
            1 => Just(End::Stopped(Stop::PowerOff)),
            1 => Just(End::Asked),
            1 => Just(End::AskedToReset),
            1 => Just(End::NotStarted),
        ]
    }

    proptest! {
        #[test]
        fn no_vm_is_restarted_after_crashes_more_often_in_a_row_than_it_may(
            restarts in 0..6u32,
            delay in any::<u64>(),
            longest in any::<u64>(),
            ends in proptest::collection::vec((end(), 0..2000u64), 0..100),
        ) {
            let policy = Policy { restarts, delay: Ticks(delay), longest: Ticks(longest), ..POLICY };
            let (mut row, mut count) = (Row::default(), 0);
            for (end, up) in ends {
                let next = row.next(&policy, end, Ticks(up));
                let by_order = !end.is_crash() && end != End::Stopped(Stop::Reset);
                if by_order || end.is_crash() && Ticks(up) >= policy.window {
                    count = 0;
                }
                let Next::Again(after) = next else { continue };
                prop_assert!(after <= policy.longest);
                if end.is_crash() {
                    count += 1;
                    prop_assert!(count <= restarts);
                    prop_assert!(after >= policy.delay.min(policy.longest));
                } else {
                    prop_assert_eq!(after, Ticks(0));
                    prop_assert!(matches!(end, End::AskedToReset | End::Stopped(Stop::Reset)));
                }
            }
        }
    }
}
