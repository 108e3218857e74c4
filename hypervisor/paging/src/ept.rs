//! The format of Intel's extended page tables.

use crate::format::{Entry, Format, Level, Rights};
use spec::{Gpa, Hpa, ept::EptEntry, memory_type::MemoryType};

/// EPT entries, as far as the processor supports them (IA32_VMX_EPT_VPID_CAP).
#[derive(Clone, Copy, Debug)]
pub struct Ept {
    /// The largest pages: [`Level::GIB_1`] if bit 17 is set, [`Level::MIB_2`] if bit 16 is, else
    /// [`Level::KIB_4`].
    pub largest: Level,
    /// Pages may be executable and not readable: bit 0.
    pub execute_only: bool,
}

impl Format for Ept {
    type Address = Gpa;

    fn largest(&self) -> Level {
        self.largest
    }

    fn table(&self, frame: Hpa) -> u64 {
        frame.0 | EptEntry::PRESENT.bits()
    }

    fn page(&self, level: Level, frame: Hpa, rights: Rights, cache: MemoryType) -> Option<u64> {
        // SDM vol. 3, "EPT Misconfigurations": writable and not readable; execute-only where that is not
        // supported. Without any right the entry would be absent.
        if !rights.r && (rights.w || !rights.x || !self.execute_only) {
            return None;
        }
        let mut entry = EptEntry::empty();
        entry.set(EptEntry::READ, rights.r);
        entry.set(EptEntry::WRITE, rights.w);
        entry.set(EptEntry::EXECUTE, rights.x);
        entry.set(EptEntry::PAGE, level > Level::KIB_4);
        Some(frame.0 | entry.bits() | ((cache as u64) << EptEntry::MEMORY_TYPE_SHIFT))
    }

    fn decode(&self, level: Level, entry: u64) -> Entry {
        let bits = EptEntry::from_bits_retain(entry);
        let frame = Hpa((bits & EptEntry::FRAME).bits());
        let kind = (bits & EptEntry::MEMORY_TYPE).bits() >> EptEntry::MEMORY_TYPE_SHIFT;
        if !bits.intersects(EptEntry::PRESENT) {
            Entry::Absent
        } else if level > Level::KIB_4 && !bits.contains(EptEntry::PAGE) {
            Entry::Table(frame)
        } else {
            Entry::Page {
                frame,
                rights: Rights {
                    r: bits.contains(EptEntry::READ),
                    w: bits.contains(EptEntry::WRITE),
                    x: bits.contains(EptEntry::EXECUTE),
                },
                // Entries are made by `page` alone, from a `MemoryType`; a reserved number cannot occur.
                cache: MemoryType::from_number(kind).unwrap_or(MemoryType::Uncacheable),
            }
        }
    }
}
