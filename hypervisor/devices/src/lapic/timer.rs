//! The APIC timer (SDM vol. 3, "APIC Timer" and "TSC-Deadline Mode").
//!
//! Its clock is the TSC shifted right, its divider a power of two, so a count turns into a time by a shift.

use spec::Ticks;
use spec::apic::{DIVIDE_MASK, Lvt};

/// The slowest clock: TSC / 2^24. With it a count of 32 bits and a divider of 2^7 fill 63 bits of time.
pub const MAX_CLOCK_SHIFT: u8 = 24;

/// How long a periodic timer rests between two looks at it, where its interrupt is taken without one: some entries and exits, so that
/// a guest with an absurdly short period comes to take what it gets.
pub(super) const REST: Ticks = Ticks(1 << 13);

/// What the timer does with its count.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Mode {
    OneShot,
    Periodic,
    TscDeadline,
}

impl Mode {
    /// From the LVT timer entry, in which at most one of the two mode bits is set.
    pub(super) const fn of(lvt: Lvt) -> Mode {
        if lvt.contains(Lvt::TSC_DEADLINE) {
            Mode::TscDeadline
        } else if lvt.contains(Lvt::PERIODIC) {
            Mode::Periodic
        } else {
            Mode::OneShot
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Timer {
    mode: Mode,
    clock_shift: u8,
    /// `clock_shift` and the divider together
    shift: u8,
    divide: u32,
    initial: u32,
    /// IA32_TSC_DEADLINE as the guest wrote it, in its own time
    tsc_deadline: u64,
    /// The guest's TSC minus the host's
    tsc_offset: u64,
    /// When the timer fires next, if it runs
    deadline: Option<Ticks>,
    /// When the next look makes sense after a period has ended
    rested: Ticks,
}

impl Timer {
    #[expect(clippy::arithmetic_side_effects, reason = "MAX_CLOCK_SHIFT and seven")]
    pub(super) const fn new(clock_shift: u8) -> Timer {
        let clock_shift = if clock_shift > MAX_CLOCK_SHIFT {
            MAX_CLOCK_SHIFT
        } else {
            clock_shift
        };
        Timer {
            mode: Mode::OneShot,
            clock_shift,
            shift: clock_shift + divider_log2(0),
            divide: 0,
            initial: 0,
            tsc_deadline: 0,
            tsc_offset: 0,
            deadline: None,
            rested: Ticks(0),
        }
    }

    /// Back to the state after INIT; clock and TSC offset are not the APIC's to forget.
    pub(super) const fn reset(&mut self) {
        *self = Timer {
            tsc_offset: self.tsc_offset,
            ..Timer::new(self.clock_shift)
        };
    }

    pub(super) const fn forget_tsc_offset(&mut self) {
        self.tsc_offset = 0;
    }

    #[inline]
    pub(super) const fn deadline(&self) -> Option<Ticks> {
        self.deadline
    }

    /// The same for whom it costs an exit: see [`REST`].
    pub(super) fn rested_deadline(&self) -> Option<Ticks> {
        match self.mode {
            Mode::Periodic => Some(self.deadline?.max(self.rested)),
            Mode::OneShot | Mode::TscDeadline => self.deadline,
        }
    }

    pub(super) const fn tsc_offset(&self) -> u64 {
        self.tsc_offset
    }

    /// Disarms, and says what IA32_TSC_DEADLINE has to hold elsewhere for the same to come of it.
    pub(super) const fn lend(&mut self) -> u64 {
        let deadline = match self.deadline {
            Some(_) => self.tsc_deadline,
            None => 0,
        };
        self.deadline = None;
        self.tsc_deadline = 0;
        deadline
    }

    /// Whether it goes on by itself.
    #[inline]
    pub(super) const fn repeats(&self) -> bool {
        matches!(self.mode, Mode::Periodic)
    }

    pub(super) const fn initial(&self) -> u32 {
        self.initial
    }

    pub(super) const fn divide(&self) -> u32 {
        self.divide
    }

    /// Going to or from TSC-deadline mode disarms; between the other two the count runs on.
    pub(super) fn set_mode(&mut self, mode: Mode) {
        if (mode == Mode::TscDeadline) != (self.mode == Mode::TscDeadline) {
            self.deadline = None;
            self.initial = 0;
            self.tsc_deadline = 0;
        }
        self.mode = mode;
    }

    /// Starts the count, or stops it with 0. Without effect in TSC-deadline mode.
    pub(super) fn set_initial(&mut self, count: u32, now: Ticks) {
        if self.mode == Mode::TscDeadline {
            return;
        }
        self.initial = count;
        self.deadline = (count != 0).then(|| now.after(self.span(count)));
    }

    /// What is left of the count; a part of a tick counts as one.
    pub(super) fn current(&self, now: Ticks) -> u32 {
        let Some(deadline) = self.deadline else {
            return 0;
        };
        let left = match self.mode {
            Mode::TscDeadline => return 0,
            Mode::Periodic if deadline <= now => self.next(deadline, now).since(now).0,
            _ => deadline.since(now).0,
        };
        let whole = left >> self.shift;
        let part = left & (1_u64 << self.shift).wrapping_sub(1) != 0;
        u32::try_from(whole.saturating_add(part.into()))
            .map_or(self.initial, |count| count.min(self.initial))
    }

    /// Changes the divider; what is left of the count goes on at the new speed.
    pub(super) fn set_divide(&mut self, value: u32, now: Ticks) {
        let left = self.current(now);
        self.divide = value & DIVIDE_MASK;
        self.shift = self.clock_shift.saturating_add(divider_log2(self.divide));
        if left != 0 {
            self.deadline = Some(now.after(self.span(left)));
        }
    }

    /// IA32_TSC_DEADLINE: 0 once it has passed.
    pub(super) fn tsc_deadline(&self, now: Ticks) -> u64 {
        match self.deadline {
            Some(deadline) if deadline > now => self.tsc_deadline,
            _ => 0,
        }
    }

    /// Arms, or disarms with 0. Without effect in the other modes.
    #[inline]
    pub(super) fn set_tsc_deadline(&mut self, value: u64, now: Ticks) {
        if self.mode != Mode::TscDeadline {
            return;
        }
        self.tsc_deadline = value;
        self.deadline = (value != 0).then(|| self.host_time(value, now));
    }

    /// The guest's TSC runs at another distance from now on.
    pub(super) fn set_tsc_offset(&mut self, offset: u64, now: Ticks) {
        self.tsc_offset = offset;
        if self.tsc_deadline != 0 {
            self.deadline = Some(self.host_time(self.tsc_deadline, now));
        }
    }

    /// Whether the timer has fired by `now`; it then stops, or goes on to the next period.
    #[inline]
    pub(super) fn expire(&mut self, now: Ticks) -> bool {
        let Some(deadline) = self.deadline else {
            return false;
        };
        if deadline > now {
            return false;
        }
        self.deadline = match self.mode {
            Mode::Periodic => {
                self.rested = now.after(REST);
                Some(self.next(deadline, now))
            }
            Mode::OneShot | Mode::TscDeadline => None,
        };
        self.tsc_deadline = 0;
        true
    }

    /// The first end of a period after `now`, given one that is not. Divides only when whole periods were missed.
    fn next(&self, deadline: Ticks, now: Ticks) -> Ticks {
        let period = self.span(self.initial);
        let late = now.since(deadline);
        let missed = match late.0.checked_rem(period.0) {
            Some(into) if late >= period => Ticks(late.0.saturating_sub(into)),
            _ => Ticks(0),
        };
        deadline.after(missed).after(period)
    }

    /// How long `count` lasts: at most 2^63, by the limit on the clock's shift.
    const fn span(&self, count: u32) -> Ticks {
        Ticks((count as u64) << self.shift)
    }

    /// When the guest's TSC reaches `value`: `now` if it is past.
    #[inline]
    const fn host_time(&self, value: u64, now: Ticks) -> Ticks {
        let guest_now = now.0.wrapping_add(self.tsc_offset);
        now.after(Ticks(value.saturating_sub(guest_now)))
    }
}

const _: () = assert!(32 + 7 + MAX_CLOCK_SHIFT as u32 <= 63);

/// log2 of the divider ("Divide Configuration Register"): bits 3, 1, 0 count 2, 4, ... 128, and then 1.
const fn divider_log2(register: u32) -> u8 {
    let code = (register & 3) | ((register >> 1) & 4);
    (code.wrapping_add(1) & 7) as u8
}
