//! Memory that boot takes from the firmware and leaves to the hypervisor.
// UNSAFETY: turns pages that the firmware hands out into slices; page tables are written through them.
#![allow(unsafe_code)]

use crate::failure::Failure;
use core::slice;
use seam::TableMem;
use spec::{Hpa, PAGE_SIZE};
use uefi::boot::{self, AllocateType, MemoryType};

/// Zeroed pages for at least `len` bytes, never given back: the hypervisor is told that they are taken.
///
/// # Errors
/// [`Failure::Memory`].
#[expect(
    clippy::mut_from_ref,
    reason = "the memory does not come from the name"
)]
pub fn pages(what: &'static str, len: u64) -> Result<&'static mut [u8], Failure> {
    let failed = |status| Failure::Memory { what, len, status };
    let pages = usize::try_from(len.div_ceil(PAGE_SIZE)).unwrap_or(usize::MAX);
    let bytes = pages
        .checked_mul(PAGE_SIZE as usize)
        .ok_or(failed(uefi::Status::OUT_OF_RESOURCES))?;
    let start = boot::allocate_pages(AllocateType::AnyPages, MemoryType::LOADER_DATA, pages)
        .map_err(|e| failed(e.status()))?;
    // SAFETY: the firmware gave us these pages alone, mapped one to one (UEFI 2.10, section 2.3.4), and we never
    // free them; they are zeroed before they become a slice.
    unsafe {
        start.as_ptr().write_bytes(0, bytes);
        Ok(slice::from_raw_parts_mut(start.as_ptr(), bytes))
    }
}

/// The physical address of memory that [`pages`] gave.
#[must_use]
pub fn address<T: ?Sized>(memory: &T) -> Hpa {
    Hpa(core::ptr::from_ref(memory).cast::<u8>() as u64)
}

/// Frames for page tables.
#[derive(Clone, Copy)]
pub struct Frames;

impl TableMem for Frames {
    fn alloc(&mut self) -> Option<Hpa> {
        pages("page tables", PAGE_SIZE)
            .ok()
            .map(|page| address(page))
    }

    fn free(&mut self, _: Hpa) {
        // A page lost until the next reset: the tables are made once, and given back only when that fails.
    }

    fn read(&self, frame: Hpa, index: usize) -> u64 {
        // SAFETY: as for `entry`; nobody writes meanwhile.
        unsafe { entry(frame, index).read() }
    }

    fn write(&mut self, frame: Hpa, index: usize, value: u64) {
        // SAFETY: as for `entry`; `&mut self` keeps readers away.
        unsafe { entry(frame, index).write(value) }
    }
}

/// Where an entry is. Valid for reads and writes: `TableMem`'s callers pass only frames that `alloc` gave, and the
/// firmware maps them one to one.
fn entry(frame: Hpa, index: usize) -> *mut u64 {
    assert!(index < 512, "page tables have 512 entries");
    (frame.0 as *mut u64).wrapping_add(index)
}
