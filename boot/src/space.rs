//! The address space that the hypervisor starts in.
//!
//! ```text
//! 0x0000_…                 the few instructions that jump, one to one
//! 0xffff_8000_0000_0000    physical memory, to 4 GiB or to the end of RAM
//! 0xffff_fe00_0000_0000    the screen
//! 0xffff_ff00_0000_1000    the stack; the page below it is not mapped
//! 0xffff_ffff_8000_0000    the hypervisor
//! ```

use alloc::vec::Vec;
use paging::{Error, Hva, Level, Long, Rights, Tables};
use seam::TableMem;
use spec::memory_type::MemoryType;
use spec::pte::Pte;
use spec::{Hpa, PAGE_SIZE};

/// Physical memory is mapped from here on.
pub const PHYSICAL: u64 = 0xffff_8000_0000_0000;
/// The most of it: what lies between it and the screen, less than half of that to have room to move.
const PHYSICAL_MAX: u64 = 1 << 46;
/// Addresses below this are mapped whether or not there is RAM: the chips are there.
const PHYSICAL_MIN: u64 = 4 << 30;
/// The screen's memory is mapped from here on.
pub const SCREEN: u64 = 0xffff_fe00_0000_0000;
/// The lowest byte of the stack; its guard page is below.
pub const STACK: u64 = 0xffff_ff00_0000_1000;
/// The hypervisor is loaded here: the top 2 GiB, which its code model could not leave if it wanted to.
pub const IMAGE: u64 = 0xffff_ffff_8000_0000;

/// Memory below this has a memory type each 4 KiB to 64 KiB, by the fixed-range MTRRs and around them.
const FIXED_MTRRS: u64 = 2 << 20;

/// What to map, and where to; all of it whole pages.
pub struct Map<'a> {
    /// RAM, sorted and disjoint
    pub ram: &'a [(u64, u64)],
    /// First byte of the loaded hypervisor
    pub image: Hpa,
    /// Its pages, from its start on, with their rights
    pub pages: &'a [(core::ops::Range<u64>, Rights)],
    /// The stack
    pub stack: (Hpa, u64),
    /// The screen's memory, if there is one
    pub screen: Option<(Hpa, u64)>,
    /// The instructions that jump
    pub jump: (Hpa, u64),
}

/// What the processor can and does.
#[derive(Clone, Copy)]
pub struct Paging {
    /// Pages of 1 GiB
    pub gib_pages: bool,
    /// The firmware runs with five levels of tables (CR4.LA57)
    pub five_levels: bool,
}

/// Builds the tables; gives the physical address of the root.
///
/// # Errors
/// What `paging` says: no frames, or a bug of ours.
pub fn build<M: TableMem + Copy>(
    map: &Map<'_>,
    paging: Paging,
    mut mem: M,
) -> Result<Hpa, Error<Hva>> {
    let format = Long {
        largest: if paging.gib_pages {
            Level::GIB_1
        } else {
            Level::MIB_2
        },
        global: false,
    };
    let mut tables = Tables::new(format, mem)?;
    for (start, end) in pieces(map.ram) {
        let at = Hva(PHYSICAL + start);
        tables.map(
            at,
            Hpa(start),
            end - start,
            Rights::RW,
            MemoryType::WriteBack,
        )?;
    }
    for (range, rights) in map.pages {
        let from = map.image.checked_add(range.start).ok_or(Error::Range)?;
        let at = Hva(IMAGE + range.start);
        tables.map(
            at,
            from,
            range.end - range.start,
            *rights,
            MemoryType::WriteBack,
        )?;
    }
    let (stack, len) = map.stack;
    tables.map(Hva(STACK), stack, len, Rights::RW, MemoryType::WriteBack)?;
    if let Some((screen, len)) = map.screen {
        tables.map(Hva(SCREEN), screen, len, Rights::RW, MemoryType::WriteBack)?;
    }
    let (jump, len) = map.jump;
    tables.map(Hva(jump.0), jump, len, Rights::RX, MemoryType::WriteBack)?;
    if !paging.five_levels {
        return Ok(tables.root());
    }
    // Addresses of 48 bits, sign-extended, have all zeroes or all ones in the nine bits that a fifth level indexes
    // (SDM vol. 3, "4-Level Paging and 5-Level Paging"), so the same four levels serve both halves.
    let root = mem.alloc().ok_or(Error::Frames)?;
    let entry = tables.root().0 | (Pte::PRESENT | Pte::WRITE).bits();
    mem.write(root, 0, entry);
    mem.write(root, 511, entry);
    Ok(root)
}

/// The whole pages that hold `len` bytes at `at`.
#[must_use]
pub fn whole_pages(at: Hpa, len: u64) -> (Hpa, u64) {
    let start = at.align_down(PAGE_SIZE);
    let len = (at.0 - start.0).saturating_add(len);
    (
        start,
        len.checked_next_multiple_of(PAGE_SIZE).unwrap_or(len),
    )
}

/// Physical memory in pieces that are each RAM or not, so that no large page spans two memory types, which SDM
/// vol. 3, "Large Page Size Considerations", forbids: RAM is cached by the MTRRs, the rest is not.
fn pieces(ram: &[(u64, u64)]) -> Vec<(u64, u64)> {
    let end = ram
        .last()
        .map_or(0, |r| r.1)
        .clamp(PHYSICAL_MIN, PHYSICAL_MAX);
    let mut edges: Vec<u64> = ram
        .iter()
        .flat_map(|r| [r.0, r.1])
        .filter(|at| *at < end)
        .collect();
    // Within the first 2 MiB each page is a piece: too small for a large one.
    edges.extend((0..FIXED_MTRRS).step_by(PAGE_SIZE as usize));
    edges.extend([FIXED_MTRRS, end]);
    edges.sort_unstable();
    edges.dedup();
    let ends = edges.iter().copied().skip(1);
    edges.iter().copied().zip(ends).collect()
}

#[cfg(test)]
mod tests;
