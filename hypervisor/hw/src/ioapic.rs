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

    /// Routes a pin, edge-triggered and active high as ISA interrupts are, to one core. `false` if there is no such pin,
    /// or the core's id does not fit the eight bits of the destination field.
    pub fn route_edge(&mut self, pin: u8, vector: Vector, apic_id: u32) -> bool {
        let Ok(id) = u8::try_from(apic_id) else {
            return false;
        };
        if pin >= self.pins {
            return false;
        }
        self.set(pin, u64::from(id) << 56 | u64::from(vector.0));
        true
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
