//! The processor's own tables, four levels of them (SDM vol. 3, "4-Level Paging").

use crate::walk::{ADDRESS, Entry, Format, Half, Reached, Rights, span, walk};
use crate::{Error, Memory};
use proto::certificate::Cache;

/// Where linear addresses lead under this CR3 and this `IA32_PAT`, for a supervisor with `CR0.WP` and `IA32_EFER.NXE` set.
///
/// # Errors
/// The processor would not take the tables, or there is no end to them.
pub fn linear(memory: &impl Memory, cr3: u64, pat: u64, half: Half) -> Result<Reached, Error> {
    walk(memory, &Linear { pat }, cr3 & ADDRESS, half)
}

struct Linear {
    pat: u64,
}

const PRESENT: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
/// An entry maps a page; in those of the lowest level, which always do, the bit is the highest of the index into the PAT.
const PAGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

impl Format for Linear {
    fn entry(&self, level: u32, entry: u64) -> Option<Entry> {
        if entry & PRESENT == 0 {
            return Some(Entry::Nothing);
        }
        let rights = Rights {
            read: true,
            write: entry & WRITE != 0,
            execute: entry & NO_EXECUTE == 0,
        };
        if level > 1 && entry & PAGE == 0 {
            return Some(Entry::Table(entry & ADDRESS, rights));
        }
        // The highest bit of the index is bit 12 where a large page leaves room for it.
        let (high, address) = match level {
            1 => (entry >> 7 & 1, entry & ADDRESS),
            _ => (entry >> 12 & 1, entry & ADDRESS & !(1 << 12)),
        };
        if level == 4 || !address.is_multiple_of(span(level)) {
            return None;
        }
        let index = entry >> 3 & 3 | high << 2;
        Some(Entry::Page(
            address,
            rights,
            cache(self.pat >> (index << 3) & 0xff)?,
        ))
    }

    fn address(&self, bits: u64) -> u64 {
        // Bits 63:48 equal bit 47.
        (bits << 16).cast_signed().wrapping_shr(16).cast_unsigned()
    }
}

/// The memory type of a number in the PAT (SDM vol. 3, "IA32_PAT MSR").
pub(crate) const fn cache(number: u64) -> Option<Cache> {
    Some(match number {
        0 | 7 => Cache::Uncacheable,
        1 => Cache::WriteCombining,
        4 => Cache::WriteThrough,
        5 => Cache::WriteProtected,
        6 => Cache::WriteBack,
        _ => return None,
    })
}
