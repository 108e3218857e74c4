//! The CMOS clock (Motorola MC146818A data sheet) with the century byte and RAM of a PC.
//!
//! Its interrupt is wired to nothing: alarm and enable bits hold what is written, and register C stays zero. A
//! guest that sets the clock sets its own alone.

mod calendar;
#[cfg(test)]
mod tests;

use calendar::Fields;
use spec::cmos::{RegA, RegB, RegD, SIZE, UPDATE_WARNING, offset, register};
use spec::{Hz, Ticks};

/// One clock.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cmos {
    /// Ticks of a second, never zero
    second: u64,
    /// The clock showed this Unix time at `since`
    unix: i64,
    since: Ticks,
    /// The time registers while the clock is held
    held: Option<Fields>,
    a: RegA,
    b: RegB,
    index: u8,
    /// Alarms and RAM; the bytes under the other registers are not used
    ram: [u8; SIZE],
}

impl Cmos {
    /// A clock that shows `unix` (seconds since 1970, UTC; the years 0 to 9999) at `now`, of which `hz` make a
    /// second; BCD and 24 hours, as firmware leaves it.
    #[must_use]
    pub fn new(unix: i64, now: Ticks, hz: Hz) -> Self {
        Self {
            second: hz.0.max(1),
            unix: calendar::clamp(unix),
            since: now,
            held: None,
            a: RegA::DIVIDER_32K | RegA::RATE_1024,
            b: RegB::HOURS_24,
            index: 0,
            ram: [0; SIZE],
        }
    }

    /// The RESET pin: interrupts off. The clock goes on and RAM stays, which the battery is for.
    pub fn reset(&mut self) {
        self.b
            .remove(RegB::PIE | RegB::AIE | RegB::UIE | RegB::SQWE);
        self.index = 0;
    }

    /// Reads the port at `offset`: the data port, all ones elsewhere.
    #[must_use]
    pub fn read(&self, offset: u8, now: Ticks) -> u8 {
        if offset != offset::DATA {
            return u8::MAX;
        }
        match self.index {
            register::A => {
                let mut a = self.a;
                a.set(RegA::UIP, self.is_updating(now));
                a.bits()
            }
            register::B => self.b.bits(),
            register::C => 0,
            register::D => RegD::VRT.bits(),
            index => match Fields::position(index) {
                Some(at) => self.fields(now).0.get(at).copied().unwrap_or(0),
                None => self.ram.get(usize::from(index)).copied().unwrap_or(0),
            },
        }
    }

    /// Writes the port at `offset`.
    pub fn write(&mut self, offset: u8, value: u8, now: Ticks) {
        match offset {
            // Bit 7 masks NMI on a PC; there is none to mask.
            offset::INDEX => self.index = value & (SIZE as u8).wrapping_sub(1),
            offset::DATA => self.write_data(value, now),
            _ => {}
        }
    }

    fn write_data(&mut self, value: u8, now: Ticks) {
        match self.index {
            register::A => {
                let a = RegA::from_bits_truncate(value).difference(RegA::UIP);
                // Out of reset, the first update comes half a second later ("Divider Control").
                let restarted = in_reset(self.a) && !in_reset(a);
                let into_second = if restarted {
                    self.second / 2
                } else {
                    self.since_update(now)
                };
                self.a = a;
                self.hold_or_release(into_second, now);
            }
            register::B => {
                self.b = RegB::from_bits_truncate(value);
                self.hold_or_release(self.since_update(now), now);
            }
            register::C | register::D => {}
            index => match Fields::position(index) {
                Some(at) => {
                    let mut fields = self.fields(now);
                    if let Some(field) = fields.0.get_mut(at) {
                        *field = value;
                    }
                    if self.held.is_some() {
                        self.held = Some(fields);
                    } else {
                        self.adopt(fields, self.since_update(now), now);
                    }
                }
                None => {
                    if let Some(byte) = self.ram.get_mut(usize::from(index)) {
                        *byte = value;
                    }
                }
            },
        }
    }

    /// SET and the divider's reset hold the time registers still; without both, the clock goes on from what they say.
    fn hold_or_release(&mut self, into_second: u64, now: Ticks) {
        let hold = self.b.contains(RegB::SET) || in_reset(self.a);
        match self.held {
            None if hold => self.held = Some(self.fields(now)),
            Some(fields) if !hold => {
                self.held = None;
                self.adopt(fields, into_second, now);
            }
            _ => {}
        }
    }

    /// Takes over a time that software wrote. One that is no date changes nothing, as if it had not been written.
    fn adopt(&mut self, fields: Fields, into_second: u64, now: Ticks) {
        if let Some(unix) = fields.decode(self.b) {
            self.unix = unix;
            self.since = Ticks(now.0.saturating_sub(into_second));
        }
    }

    fn fields(&self, now: Ticks) -> Fields {
        self.held.unwrap_or_else(|| {
            let seconds = now.since(self.since).0.checked_div(self.second);
            let unix = self.unix.saturating_add_unsigned(seconds.unwrap_or(0));
            Fields::encode(unix, self.b)
        })
    }

    /// Ticks since the last update.
    const fn since_update(&self, now: Ticks) -> u64 {
        match now.since(self.since).0.checked_rem(self.second) {
            Some(into) => into,
            None => 0,
        }
    }

    fn is_updating(&self, now: Ticks) -> bool {
        let left = self.second.saturating_sub(self.since_update(now));
        self.held.is_none() && left <= self.second / UPDATE_WARNING
    }
}

fn in_reset(a: RegA) -> bool {
    a.contains(RegA::DIVIDER_RESET)
}
