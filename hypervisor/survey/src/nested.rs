//! Extended page tables (SDM vol. 3, "EPT Translation Mechanism").

use crate::walk::{ADDRESS, Entry, Format, Half, Reached, Rights, span, walk};
use crate::{Error, Memory};
use proto::certificate::Cache;

/// Where guest-physical addresses lead under this EPT pointer.
///
/// # Errors
/// The processor would not take the tables, or there is no end to them.
pub fn nested(memory: &impl Memory, eptp: u64) -> Result<Reached, Error> {
    // SDM vol. 3, "Extended-Page-Table Pointer (EPTP)": how the tables are cached in bits 2:0, the walk's length less one in 5:3, accessed
    // and dirty flags in 6; what is between these and the address is shadow stacks' or reserved.
    let cached = matches!(eptp & 7, 0 | 6);
    if !cached || (eptp >> 3) & 7 != 3 || eptp & !ADDRESS & !0x7f != 0 {
        return Err(Error::Pointer { eptp });
    }
    walk(memory, &Ept, eptp & ADDRESS, Half::Both)
}

struct Ept;

const READ: u64 = 1 << 0;
const WRITE: u64 = 1 << 1;
const EXECUTE: u64 = 1 << 2;
/// An entry maps a page
const PAGE: u64 = 1 << 7;

impl Format for Ept {
    fn entry(&self, level: u32, entry: u64) -> Option<Entry> {
        // Mode-based execute control would have bit 10 count as well: it shows in the secondary controls.
        if entry & (READ | WRITE | EXECUTE) == 0 {
            return Some(Entry::Nothing);
        }
        // SDM vol. 3, "EPT Misconfigurations".
        if entry & READ == 0 && entry & WRITE != 0 {
            return None;
        }
        let rights = Rights {
            read: entry & READ != 0,
            write: entry & WRITE != 0,
            execute: entry & EXECUTE != 0,
        };
        let address = entry & ADDRESS;
        if level > 1 && entry & PAGE == 0 {
            // Bits 6:3 are reserved where a table follows.
            return (entry & 0x78 == 0).then_some(Entry::Table(address, rights));
        }
        if level == 4 || !address.is_multiple_of(span(level)) {
            return None;
        }
        Some(Entry::Page(address, rights, cache(entry >> 3 & 7)?))
    }

    fn address(&self, bits: u64) -> u64 {
        bits
    }
}

/// The memory type of this number, 7 being reserved here.
fn cache(number: u64) -> Option<Cache> {
    crate::linear::cache(number).filter(|_| number != 7)
}
