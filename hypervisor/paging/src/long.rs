//! The format of the processor's own four-level tables, for the hypervisor's address space.

use crate::format::{Address, Entry, Format, Level, REACH, Rights};
use spec::{Hpa, memory_type::MemoryType, pte::Pte};

/// A linear address of the hypervisor.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
#[repr(transparent)]
pub struct Hva(pub u64);

/// The highest of the 48 bits, which all bits above must equal.
const SIGN: u64 = REACH >> 1;

impl Address for Hva {
    fn bits(self) -> Option<u64> {
        let bits = self.0 & (REACH - 1);
        (Self::from_bits(bits) == self).then_some(bits)
    }

    fn from_bits(bits: u64) -> Self {
        Self(if bits & SIGN == 0 {
            bits
        } else {
            bits | !(REACH - 1)
        })
    }

    fn value(self) -> u64 {
        self.0
    }
}

/// Supervisor pages of four-level paging, with IA32_EFER.NXE and CR0.WP set and the PAT as after reset.
///
/// Nothing is both writable and executable: such rights are refused.
#[derive(Clone, Copy, Debug)]
pub struct Long {
    /// The largest pages: [`Level::GIB_1`] if CPUID 0x80000001 EDX bit 26 is set, else [`Level::MIB_2`].
    pub largest: Level,
    /// Pages are global: they outlive loads of CR3 while CR4.PGE is set.
    pub global: bool,
}

impl Format for Long {
    type Address = Hva;

    fn largest(&self) -> Level {
        self.largest
    }

    fn table(&self, frame: Hpa) -> u64 {
        frame.0 | (Pte::PRESENT | Pte::WRITE).bits()
    }

    fn page(&self, level: Level, frame: Hpa, rights: Rights, cache: MemoryType) -> Option<u64> {
        if !rights.r || (rights.w && rights.x) {
            return None;
        }
        // The PAT after reset (SDM vol. 3, "Programming the PAT"): WB, WT, UC-, UC.
        let cache = match cache {
            MemoryType::WriteBack => Pte::empty(),
            MemoryType::WriteThrough => Pte::WRITE_THROUGH,
            MemoryType::Uncacheable => Pte::WRITE_THROUGH | Pte::CACHE_DISABLE,
            MemoryType::WriteCombining | MemoryType::WriteProtected => return None,
        };
        // Accessed and dirty from birth: the processor need not come back to set them.
        let mut entry = Pte::PRESENT | Pte::ACCESSED | Pte::DIRTY | cache;
        entry.set(Pte::WRITE, rights.w);
        entry.set(Pte::NO_EXECUTE, !rights.x);
        entry.set(Pte::GLOBAL, self.global);
        entry.set(Pte::PAGE, level > Level::KIB_4);
        Some(frame.0 | entry.bits())
    }

    fn decode(&self, level: Level, entry: u64) -> Entry {
        let bits = Pte::from_bits_retain(entry);
        let frame = Hpa((bits & Pte::FRAME).bits());
        if !bits.contains(Pte::PRESENT) {
            Entry::Absent
        } else if level > Level::KIB_4 && !bits.contains(Pte::PAGE) {
            Entry::Table(frame)
        } else {
            Entry::Page {
                frame,
                rights: Rights {
                    r: true,
                    w: bits.contains(Pte::WRITE),
                    x: !bits.contains(Pte::NO_EXECUTE),
                },
                cache: if bits.contains(Pte::CACHE_DISABLE) {
                    MemoryType::Uncacheable
                } else if bits.contains(Pte::WRITE_THROUGH) {
                    MemoryType::WriteThrough
                } else {
                    MemoryType::WriteBack
                },
            }
        }
    }
}
