//! The I/O APIC (Intel 82093AA data sheet, section 3), version 0x20 with 24 pins and an EOI register.

#[cfg(test)]
mod tests;

use crate::interrupt::{Delivery, Destination};
use seam::AccessError;
use spec::ioapic::{PINS, Redirection, VERSION, offset, register};
use spec::{Vector, Width};

/// An interrupt message of an I/O APIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Message {
    /// What the receiver is to do
    pub delivery: Delivery,
    /// Who it is
    pub destination: Destination,
    /// Its end has to be told by [`IoApic::eoi`].
    pub level: bool,
}

/// The messages of one change, at most one a pin, in the order of the pins.
#[derive(Clone, Debug)]
#[must_use]
pub struct Messages<'a> {
    entries: &'a [Redirection; PINS as usize],
    /// A bit for each pin that has one to send
    pins: u32,
}

impl Iterator for Messages<'_> {
    type Item = Message;

    fn next(&mut self) -> Option<Message> {
        while self.pins != 0 {
            let pin = self.pins.trailing_zeros() as usize;
            self.pins &= self.pins.wrapping_sub(1);
            let message = self.entries.get(pin).and_then(|&entry| message(entry));
            if message.is_some() {
                return message;
            }
        }
        None
    }
}

/// One I/O APIC.
///
/// A pin is told whether its interrupt is asserted, not whether its wire is high: the polarity of an entry is kept
/// and means nothing, since the platform that drives the pin is the one that would have to match it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct IoApic {
    entries: [Redirection; PINS as usize],
    /// A bit for each asserted pin
    asserted: u32,
    select: u8,
    /// Identification, bits 27:24 of its register: at creation, and now
    born_id: u8,
    id: u8,
}

impl IoApic {
    /// The I/O APIC with this identification (of which four bits count), just after reset: all pins masked and
    /// not asserted.
    #[must_use]
    pub const fn new(id: u8) -> Self {
        Self {
            entries: [Redirection::MASKED; PINS as usize],
            asserted: 0,
            select: 0,
            born_id: id & 0xf,
            id: id & 0xf,
        }
    }

    /// Back to the state at creation, but for the pins: they are driven from outside.
    pub const fn reset(&mut self) {
        *self = Self {
            asserted: self.asserted,
            ..Self::new(self.born_id)
        };
    }

    /// Reads the memory window: four bytes at each register, one to four at IOREGSEL.
    ///
    /// # Errors
    /// [`AccessError::Absent`] where no register is, [`AccessError::Width`] for other widths.
    pub fn read(&self, offset: u16, width: Width) -> Result<u64, AccessError> {
        match (offset, width) {
            (offset::SELECT, Width::B1 | Width::B2 | Width::B4) => Ok(self.select.into()),
            (offset::WINDOW, Width::B4) => Ok(self.read_selected().into()),
            // Write-only
            (offset::EOI, Width::B4) => Ok(0),
            (offset::SELECT | offset::WINDOW | offset::EOI, _) => Err(AccessError::Width),
            _ => Err(AccessError::Absent),
        }
    }

    /// Writes the memory window, and gives the messages that come of it.
    ///
    /// # Errors
    /// As for [`IoApic::read`]; nothing was written.
    pub fn write(
        &mut self,
        offset: u16,
        width: Width,
        value: u64,
    ) -> Result<Messages<'_>, AccessError> {
        match (offset, width) {
            (offset::SELECT, Width::B1 | Width::B2 | Width::B4) => {
                self.select = value as u8;
                Ok(self.messages(0))
            }
            (offset::WINDOW, Width::B4) => Ok(self.write_selected(value as u32)),
            (offset::EOI, Width::B4) => Ok(self.eoi(Vector(value as u8))),
            (offset::SELECT | offset::WINDOW | offset::EOI, _) => Err(AccessError::Width),
            _ => Err(AccessError::Absent),
        }
    }

    /// Tells a pin whether its interrupt is asserted. An edge that meets a masked entry is lost (section 3.2.4,
    /// bit 16); a level waits. A pin that is not there changes nothing.
    pub fn set_pin(&mut self, pin: u8, asserted: bool) -> Option<Message> {
        let entry = *self.entries.get(usize::from(pin))?;
        let rises = asserted && !self.is_asserted(pin);
        if asserted {
            self.asserted |= 1 << pin;
        } else {
            self.asserted &= !(1 << pin);
        }
        let message = message(entry)?;
        let sends = if message.level {
            self.service(pin)
        } else {
            rises && !entry.contains(Redirection::MASKED)
        };
        sends.then_some(message)
    }

    /// A local APIC has ended a level-triggered interrupt of this vector. Pins that are still asserted send again.
    pub fn eoi(&mut self, vector: Vector) -> Messages<'_> {
        let mut again = 0;
        for pin in 0..PINS {
            let Some(entry) = self.entries.get_mut(usize::from(pin)) else {
                continue;
            };
            if entry.contains(Redirection::REMOTE_IRR)
                && (*entry & Redirection::VECTOR).bits() == u64::from(vector.0)
            {
                entry.remove(Redirection::REMOTE_IRR);
                again |= u32::from(self.service(pin)) << pin;
            }
        }
        self.messages(again)
    }

    /// Whether a pin's interrupt is asserted.
    #[must_use]
    pub fn is_asserted(&self, pin: u8) -> bool {
        pin < PINS && self.asserted & (1 << pin) != 0
    }

    const fn messages(&self, pins: u32) -> Messages<'_> {
        Messages {
            entries: &self.entries,
            pins,
        }
    }

    /// Whether a level-triggered pin has a message to send now; it then waits for its end.
    fn service(&mut self, pin: u8) -> bool {
        let asserted = self.is_asserted(pin);
        let Some(entry) = self.entries.get_mut(usize::from(pin)) else {
            return false;
        };
        let sends = asserted
            && !entry.intersects(Redirection::MASKED | Redirection::REMOTE_IRR)
            && message(*entry).is_some_and(|m| m.level);
        if sends {
            entry.insert(Redirection::REMOTE_IRR);
        }
        sends
    }

    fn read_selected(&self) -> u32 {
        match self.select {
            register::ID | register::ARBITRATION => u32::from(self.id) << 24,
            register::VERSION => u32::from(VERSION) | (u32::from(PINS - 1) << 16),
            select => match redirection(select) {
                Some((pin, half)) => match self.entries.get(pin) {
                    Some(entry) => (entry.bits() >> half) as u32,
                    None => 0,
                },
                None => 0,
            },
        }
    }

    fn write_selected(&mut self, value: u32) -> Messages<'_> {
        if self.select == register::ID {
            self.id = (value >> 24) as u8 & 0xf;
        }
        let Some((pin, half)) = redirection(self.select) else {
            return self.messages(0);
        };
        let Some(entry) = self.entries.get_mut(pin) else {
            return self.messages(0);
        };
        let kept = entry.bits() & !(0xffff_ffff << half);
        let written = Redirection::from_bits_truncate(kept | (u64::from(value) << half));
        let remote = *entry & Redirection::REMOTE_IRR;
        *entry = written & Redirection::WRITABLE;
        // An edge-triggered entry has no remote IRR: how software clears one that is stuck.
        if entry.contains(Redirection::LEVEL) {
            entry.insert(remote);
        }
        let pin = pin as u8;
        let pins = u32::from(self.service(pin)) << pin;
        self.messages(pins)
    }
}

/// The pin and the bit position within its entry that a register number stands for.
fn redirection(select: u8) -> Option<(usize, u32)> {
    let number = select.checked_sub(register::REDIRECTION)?;
    (number < 2 * PINS).then_some((usize::from(number >> 1), 32 * u32::from(number & 1)))
}

/// What an entry sends; `None` for reserved delivery modes, ExtINT and vectors below 16.
fn message(entry: Redirection) -> Option<Message> {
    let mode = ((entry & Redirection::DELIVERY).bits() >> 8) as u8;
    let vector = (entry & Redirection::VECTOR).bits() as u8;
    let delivery = Delivery::decode(mode, vector).ok()?;
    // The other delivery modes have no end that anyone would tell: they are edges whatever the entry says.
    let ends = matches!(delivery, Delivery::Fixed(_) | Delivery::LowestPriority(_));
    let destination = ((entry & Redirection::DESTINATION).bits() >> 56) as u8;
    Some(Message {
        delivery,
        destination: Destination::xapic(destination, entry.contains(Redirection::LOGICAL)),
        level: ends && entry.contains(Redirection::LEVEL),
    })
}
