//! A watchdog: a countdown that whoever is watched begins anew in time, again and again.
//!
//! Its actions are those of Microsoft's "Hardware Watchdog Timers Design Specification", which the WDAT maps to the registers of
//! [`spec::watchdog`]. What becomes of a machine that has let it expire is not the guest's to say, so there is nothing to set for that.

#[cfg(test)]
mod tests;

use seam::AccessError;
use spec::watchdog::{Control, PERIOD_MS, Status, offset};
use spec::{Hz, Nanos, Ticks, Width};

/// Nanoseconds of a period.
const PERIOD: u64 = PERIOD_MS as u64 * 1_000_000;

/// One watchdog.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Watchdog {
    hz: Hz,
    /// The most periods that it can be set to
    max: u32,
    /// What it is set to, in periods and in ticks
    countdown: u32,
    length: Ticks,
    running: bool,
    status: Status,
    /// When it expires if it runs; for one that is held, by the time at which that began
    due: Ticks,
    /// Its machine stands still since then
    held: Option<Ticks>,
}

impl Watchdog {
    /// One that stands still, set to the most that it can be set to: `max`, in whole periods. `expired` says whether it has ended
    /// the machine's last run; `hz` ticks of its clock make a second.
    #[must_use]
    pub fn new(max: Nanos, hz: Hz, expired: bool) -> Self {
        let max = Self::periods(max);
        Self {
            hz,
            max,
            countdown: max,
            length: ticks(hz, max),
            running: false,
            status: if expired {
                Status::EXPIRED
            } else {
                Status::empty()
            },
            due: Ticks(0),
            held: None,
        }
    }

    /// The most periods that one can be set to whose countdown may be so long.
    #[must_use]
    pub fn periods(max: Nanos) -> u32 {
        u32::try_from(max.0 / PERIOD).unwrap_or(u32::MAX).max(1)
    }

    /// Reads the register at `offset`.
    ///
    /// # Errors
    /// [`AccessError::Width`] for all but an aligned access to the whole of one, [`AccessError::Absent`] beyond them.
    pub fn read(&self, offset: u8, width: Width, now: Ticks) -> Result<u64, AccessError> {
        let value = match whole(offset, width)? {
            offset::CONTROL if self.running => Control::RUNNING.bits(),
            offset::CONTROL => 0,
            offset::STATUS => self.status.bits(),
            offset::COUNTDOWN => self.countdown,
            offset::LEFT => self.left(now),
            _ => return Err(AccessError::Absent),
        };
        Ok(value.into())
    }

    /// Writes the register at `offset`. A countdown that is too long, or none at all, becomes the next that it can be; it counts from
    /// then on.
    ///
    /// # Errors
    /// As for [`Watchdog::read`].
    pub fn write(
        &mut self,
        offset: u8,
        width: Width,
        value: u64,
        now: Ticks,
    ) -> Result<(), AccessError> {
        let value = value as u32;
        match whole(offset, width)? {
            offset::CONTROL => {
                let run = Control::from_bits_truncate(value).contains(Control::RUNNING);
                if run && !self.running {
                    self.begin(now);
                }
                self.running = run;
            }
            offset::STATUS => self.status.remove(Status::from_bits_truncate(value)),
            offset::COUNTDOWN => {
                self.countdown = value.clamp(1, self.max);
                self.length = ticks(self.hz, self.countdown);
                self.begin(now);
            }
            offset::LEFT => self.begin(now),
            _ => return Err(AccessError::Absent),
        }
        Ok(())
    }

    /// When it expires, if nothing is done about it.
    #[must_use]
    pub fn expires(&self) -> Option<Ticks> {
        (self.running && self.held.is_none()).then_some(self.due)
    }

    /// Whether it has expired; it does so once.
    #[must_use]
    pub fn expire(&mut self, now: Ticks) -> bool {
        let expired = self.expires().is_some_and(|due| due <= now);
        if expired {
            self.running = false;
        }
        expired
    }

    /// Its machine stands still from now on, and the countdown with it.
    pub fn hold(&mut self, now: Ticks) {
        self.held.get_or_insert(now);
    }

    /// Its machine goes on, and the countdown from what was left.
    pub fn release(&mut self, now: Ticks) {
        if let Some(since) = self.held.take() {
            self.due = self.due.after(now.since(since));
        }
    }

    /// The least time between a countdown's begin and its end.
    #[must_use]
    pub fn period(&self) -> Ticks {
        ticks(self.hz, 1)
    }

    fn begin(&mut self, now: Ticks) {
        self.due = self.held.unwrap_or(now).after(self.length);
    }

    /// Periods that are left, of which the last counts until it is over.
    fn left(&self, now: Ticks) -> u32 {
        if !self.running {
            return 0;
        }
        let left = self.due.since(self.held.unwrap_or(now)).0;
        let left = left.div_ceil(self.period().0.max(1));
        u32::try_from(left).map_or(self.countdown, |left| left.min(self.countdown))
    }
}

fn ticks(hz: Hz, periods: u32) -> Ticks {
    hz.ticks(u64::from(periods) * PERIOD)
}

/// Registers are read and written as a whole.
fn whole(offset: u8, width: Width) -> Result<u8, AccessError> {
    if width == Width::B4 && offset.is_multiple_of(4) {
        Ok(offset)
    } else {
        Err(AccessError::Width)
    }
}
