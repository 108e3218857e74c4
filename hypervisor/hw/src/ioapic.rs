//! The host's I/O APIC (82093AA datasheet, "I/O APIC registers").
// UNSAFETY: MMIO accesses to the I/O APIC.
#![allow(unsafe_code)]

use core::ptr::NonNull;
use spec::ioapic::{Redirection, offset, register};
use spec::{Hpa, Vector};

/// Where PCs have their first I/O APIC when no table says otherwise.
pub const DEFAULT_BASE: Hpa = Hpa(0xfec0_0000);

/// One I/O APIC.
#[derive(Debug)]
pub struct HostIoApic {
    select: NonNull<u32>,
    window: NonNull<u32>,
    pins: u8,
}

// SAFETY: the pointers are to device registers that this value alone uses; any core may do so.
unsafe impl Send for HostIoApic {}

impl HostIoApic {
    /// Takes over an I/O APIC and masks all its pins; `None` if nothing answers there.
    ///
    /// # Safety
    /// `mmio` is a page of device registers, mapped uncached, that nobody else uses.
    pub unsafe fn take(mmio: NonNull<u8>) -> Option<Self> {
        let mut chip = Self {
            select: mmio.cast(),
            // SAFETY: IOWIN lies in the same page.
            window: unsafe { mmio.add(usize::from(offset::WINDOW)) }.cast(),
            pins: 0,
        };
        let version = chip.read(register::VERSION);
        if version == u32::MAX || version == 0 {
            return None;
        }
        chip.pins = (version >> 16 & 0x7f) as u8 + 1;
        // The register number has eight bits: no more than 120 pins can be reached.
        chip.pins = chip.pins.min(120);
        for pin in 0..chip.pins {
            chip.set(pin, Redirection::MASKED.bits());
        }
        Some(chip)
    }

    /// Routes a pin to one core; the wire's polarity and trigger are those of the MADT (ISA interrupts are active high and
    /// edge-triggered unless it overrides them). `false` if there is no such pin, or the core's id does not fit the eight
    /// bits of the destination field.
    pub fn route(
        &mut self,
        pin: u8,
        vector: Vector,
        apic_id: u32,
        active_low: bool,
        level: bool,
    ) -> bool {
        match entry(vector, apic_id, active_low, level) {
            Some(entry) if pin < self.pins => {
                self.set(pin, entry.bits());
                true
            }
            _ => false,
        }
    }

    /// Writes a redirection entry; the half with the mask bit last.
    fn set(&mut self, pin: u8, entry: u64) {
        let at = register::REDIRECTION + 2 * pin;
        self.write(at + 1, (entry >> 32) as u32);
        self.write(at, entry as u32);
    }

    fn read(&mut self, register: u8) -> u32 {
        // SAFETY: `take`'s caller mapped the registers.
        unsafe {
            self.select.write_volatile(u32::from(register));
            self.window.read_volatile()
        }
    }

    fn write(&mut self, register: u8, value: u32) {
        // SAFETY: as in `read`; the values route interrupts to vectors with handlers, or mask them.
        unsafe {
            self.select.write_volatile(u32::from(register));
            self.window.write_volatile(value);
        }
    }
}

/// A redirection entry: fixed delivery to one core, in physical mode, not masked.
fn entry(vector: Vector, apic_id: u32, active_low: bool, level: bool) -> Option<Redirection> {
    /// Everyone, in physical mode.
    const BROADCAST: u8 = 0xff;
    let id = u8::try_from(apic_id).ok().filter(|id| *id != BROADCAST)?;
    let mut entry = Redirection::from_bits_retain(u64::from(id) << 56 | u64::from(vector.0));
    entry.set(Redirection::ACTIVE_LOW, active_low);
    entry.set(Redirection::LEVEL, level);
    Some(entry)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_entry_names_core_vector_and_wire() {
        let bits = |id, low, level| entry(Vector(0x41), id, low, level).map(|e| e.bits());
        // 82093AA, section 3.2.4: destination 63:56, trigger 15, polarity 13.
        assert_eq!(bits(3, false, false), Some(0x0300_0000_0000_0041));
        assert_eq!(bits(3, true, true), Some(0x0300_0000_0000_a041));
        assert_eq!(bits(255, false, false), None);
        assert_eq!(bits(0x103, false, false), None);
    }
}
