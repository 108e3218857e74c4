//! Operands in memory: translated once, then read and written in RAM or on the bus.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "an operand of eight bytes at most, and the parts of it in two pages"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "parts and widths are of eight bytes at most"
)]

use crate::error::{Error, Fault};
use crate::linear::{advance, linear};
use crate::walk::{Intent, Translation, walk};
use seam::GuestMem;
use spec::cpu::{Cr0, Rflags};
use spec::state::CpuState;
use spec::{Gpa, Gva, PAGE_SIZE, Width};

/// What lies outside the guest's RAM: emulated chips, or nothing.
pub trait Bus {
    /// Reads; bits above the width do not count. What nothing answers reads as all ones.
    fn read(&mut self, gpa: Gpa, width: Width) -> u64;
    /// Writes; bits of `value` above the width are zero.
    fn write(&mut self, gpa: Gpa, width: Width, value: u64);
}

/// A part of an operand within one page.
#[derive(Clone, Copy)]
struct Part {
    gpa: Gpa,
    len: usize,
    is_ram: bool,
}

impl Part {
    fn new(mem: &impl GuestMem, gpa: Gpa, len: u64) -> Self {
        Self {
            gpa,
            len: len as usize,
            // A page is RAM, or is not.
            is_ram: mem.read_u64(gpa.align_down(8)).is_ok(),
        }
    }
}

/// Where an operand lies: in one page, or in two.
#[derive(Clone, Copy)]
pub(crate) struct Place {
    first: Part,
    second: Option<Part>,
    width: Width,
}

impl Place {
    /// Translates the operand at `segment:offset`, both its pages, with all checks for `intent`. `known` is a
    /// translation that the processor has made.
    #[inline]
    pub(crate) fn find(
        mem: &impl GuestMem,
        cpu: &CpuState,
        segment: usize,
        offset: u64,
        width: Width,
        intent: Intent,
        known: Option<&Translation>,
    ) -> Result<Self, Error> {
        let at = linear(cpu, segment, offset, width.bytes(), intent)?;
        if !at.0.is_multiple_of(width.bytes()) && is_alignment_checked(cpu) {
            return Err(Fault::alignment().into());
        }
        let room = PAGE_SIZE - at.0 % PAGE_SIZE;
        if room < width.bytes() {
            // The processor may have met either page.
            return Self::in_two_pages(mem, cpu, at, room, width, intent);
        }
        let gpa = match known {
            Some(known) if known.allows(at, intent) => known.gpa,
            _ => walk(mem, cpu, at, intent)?,
        };
        Ok(Self {
            first: Part::new(mem, gpa, width.bytes()),
            second: None,
            width,
        })
    }

    /// The operand at `at` of which `room` bytes lie in one page and the others in the next.
    #[cold]
    fn in_two_pages(
        mem: &impl GuestMem,
        cpu: &CpuState,
        at: Gva,
        room: u64,
        width: Width,
        intent: Intent,
    ) -> Result<Self, Error> {
        let first = walk(mem, cpu, at, intent)?;
        let second = walk(mem, cpu, advance(cpu, at, room), intent)?;
        Ok(Self {
            first: Part::new(mem, first, room),
            second: Some(Part::new(mem, second, width.bytes() - room)),
            width,
        })
    }

    /// Whether no byte of it is emulated: the processor itself can make the access, and atomically.
    pub(crate) fn is_ram(&self) -> bool {
        self.parts().all(|part| part.is_ram)
    }

    /// Its address, if it is one access on the bus.
    fn on_bus(&self) -> Option<Gpa> {
        (self.second.is_none() && !self.first.is_ram).then_some(self.first.gpa)
    }

    fn parts(&self) -> impl Iterator<Item = Part> {
        [Some(self.first), self.second].into_iter().flatten()
    }

    /// Reads it.
    #[inline]
    pub(crate) fn read(&self, mem: &impl GuestMem, bus: &mut impl Bus) -> Result<u64, Error> {
        if let Some(gpa) = self.on_bus() {
            return Ok(bus.read(gpa, self.width) & self.width.ones());
        }
        self.read_parts(mem, bus)
    }

    #[cold]
    fn read_parts(&self, mem: &impl GuestMem, bus: &mut impl Bus) -> Result<u64, Error> {
        let mut bytes = [0; 8];
        let mut rest = &mut bytes[..];
        for part in self.parts() {
            let (into, after) = rest.split_at_mut(part.len);
            if part.is_ram {
                mem.read_into(part.gpa, into).map_err(|_| Error::Retry)?;
            } else {
                for (gpa, at, width) in pieces(part) {
                    let value = bus.read(gpa, width).to_le_bytes();
                    let len = width.bytes() as usize;
                    into[at..at + len].copy_from_slice(&value[..len]);
                }
            }
            rest = after;
        }
        Ok(u64::from_le_bytes(bytes))
    }

    /// Writes the low bytes of `value` there.
    #[inline]
    pub(crate) fn write(
        &self,
        mem: &impl GuestMem,
        bus: &mut impl Bus,
        value: u64,
    ) -> Result<(), Error> {
        if let Some(gpa) = self.on_bus() {
            bus.write(gpa, self.width, value & self.width.ones());
            return Ok(());
        }
        self.write_parts(mem, bus, value)
    }

    #[cold]
    fn write_parts(
        &self,
        mem: &impl GuestMem,
        bus: &mut impl Bus,
        value: u64,
    ) -> Result<(), Error> {
        let bytes = value.to_le_bytes();
        let mut rest = &bytes[..];
        for part in self.parts() {
            let (from, after) = rest.split_at(part.len);
            if part.is_ram {
                mem.write_from(part.gpa, from).map_err(|_| Error::Retry)?;
            } else {
                for (gpa, at, width) in pieces(part) {
                    let mut piece = [0; 8];
                    let len = width.bytes() as usize;
                    piece[..len].copy_from_slice(&from[at..at + len]);
                    bus.write(gpa, width, u64::from_le_bytes(piece));
                }
            }
            rest = after;
        }
        Ok(())
    }
}

/// Whether operands have to be aligned (SDM vol. 3, "Alignment Check Exception (#AC)").
#[cold]
fn is_alignment_checked(cpu: &CpuState) -> bool {
    cpu.cpl() == 3 && cpu.cr0 & Cr0::AM.bits() != 0 && cpu.rflags & Rflags::AC.bits() != 0
}

/// Splits a part into accesses that a bus has: itself, or, for 3, 5, 6 or 7 bytes at a page's border, aligned
/// ones. Address, index of the first byte, width.
fn pieces(part: Part) -> impl Iterator<Item = (Gpa, usize, Width)> {
    let mut at = 0;
    core::iter::from_fn(move || {
        let left = (part.len - at) as u64;
        let gpa = Gpa(part.gpa.0 + at as u64);
        let width = Width::from_bytes(left).unwrap_or_else(|| {
            let fits = |width: &Width| width.bytes() <= left && gpa.is_aligned(width.bytes());
            [Width::B4, Width::B2]
                .into_iter()
                .find(fits)
                .unwrap_or(Width::B1)
        });
        let piece = (gpa, at, width);
        at += width.bytes().min(left) as usize;
        (left > 0).then_some(piece)
    })
}
