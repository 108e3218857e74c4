//! Stacks in the hypervisor's address space.

use crate::{Error, Hva, Long, Rights, Tables};
use seam::TableMem;
use spec::memory_type::MemoryType;
use spec::{Hpa, PAGE_SIZE};

/// A part of the address space in which stacks lie one above the other, each above a page that is not mapped. What runs over a stack's
/// end meets that page: code is compiled so that it touches each page that it takes of a stack.
#[derive(Debug)]
pub struct Stacks {
    /// One past the last stack
    end: Hva,
}

impl Stacks {
    /// No stacks yet; they are put from `start` on, where nothing else is.
    #[must_use]
    pub const fn from(start: Hva) -> Self {
        Self { end: start }
    }

    /// Makes a stack of `pages` pages out of `frames`, and gives its top.
    ///
    /// # Errors
    /// Frames ran out, or addresses; what was mapped stays so, and is never a stack.
    pub fn add<M: TableMem>(
        &mut self,
        tables: &mut Tables<Long, M>,
        pages: u64,
        mut frames: impl FnMut() -> Option<Hpa>,
    ) -> Result<u64, Error<Hva>> {
        let next = |at: Hva| at.0.checked_add(PAGE_SIZE).map(Hva).ok_or(Error::Range);
        self.end = next(self.end)?;
        for _ in 0..pages {
            let frame = frames().ok_or(Error::Frames)?;
            let memory = MemoryType::WriteBack;
            tables.map(self.end, frame, PAGE_SIZE, Rights::RW, memory)?;
            self.end = next(self.end)?;
        }
        Ok(self.end.0)
    }
}
