//! Where a core came from that has died: the words on its stack that point into our code.
//!
//! Frame pointers are not kept, so some of these words are return addresses and some are left over. `cargo xtask resolve` can tell
//! them apart, since it has the code.
// UNSAFETY: reads stacks, which are found by the page tables.
#![allow(unsafe_code)]

use crate::memory;
use core::fmt;
use spec::PAGE_SIZE;

/// A report shows no more.
const MOST: usize = 64;
/// No stack has more pages.
const PAGES: u64 = 64;

/// What is on the stack from an address on, as offsets from the start of our image.
pub(crate) struct Callers {
    /// Where the stack's part begins that is in use
    pub(crate) from: u64,
}

impl fmt::Display for Callers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (base, end) = memory::image();
        let word = size_of::<u64>() as u64;
        // A stack that has run over ends in the hole below it.
        let start = match memory::rights(self.from) {
            Some(_) => self.from.checked_next_multiple_of(word),
            None => self.from.checked_next_multiple_of(PAGE_SIZE),
        };
        // A stack pointer that is none leads nowhere.
        let start = start.unwrap_or(0);
        let mut shown = 0;
        let words = (start..start.saturating_add(PAGES * PAGE_SIZE)).step_by(size_of::<u64>());
        for at in words {
            // The hole above it.
            if (at == start || at % PAGE_SIZE == 0) && memory::rights(at).is_none() {
                break;
            }
            // SAFETY: the page is mapped, as was just looked up, and nobody takes mappings out.
            let value = unsafe { (at as *const u64).read_volatile() };
            if (base..end).contains(&value) && memory::rights(value).is_some_and(|r| r.x) {
                write!(f, " {:#x}", value.wrapping_sub(base))?;
                shown += 1;
            }
            if shown == MOST {
                break;
            }
        }
        Ok(())
    }
}
