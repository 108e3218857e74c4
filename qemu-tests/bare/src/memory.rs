//! The machine's memory: what the firmware leaves is the kernel's, but for a heap.
// UNSAFETY: the loader's words on where memory and the bundle are.
#![allow(unsafe_code)]

use alloc::vec::Vec;
use bootloader_api::BootInfo;
use bootloader_api::info::MemoryRegionKind;
use linked_list_allocator::LockedHeap;
use ram::guest::Slot;
use ram::{Extent, GuestRam, Window};
use spec::linux::{E820Kind, MemoryRange};
use spec::{Gpa, Hpa};

/// Bytes for the bundle's header and for the loader's maps: the end of the highest free memory below 4 GiB.
const HEAP: u64 = 1 << 20;
const LIMIT: u64 = 4 << 30;

#[global_allocator]
static ALLOCATOR: LockedHeap = LockedHeap::empty();

/// The machine's memory.
pub(crate) struct Memory {
    /// What is the kernel's
    pub(crate) map: Vec<MemoryRange>,
    /// The same as something to write to
    pub(crate) ram: GuestRam,
    /// Where it is mapped
    pub(crate) window: *mut u8,
}

impl Memory {
    /// Takes it over, and starts the heap.
    ///
    /// # Errors
    /// What is missing.
    ///
    /// # Safety
    /// Called once, with what the loader gave.
    pub(crate) unsafe fn take(info: &BootInfo) -> Result<Self, &'static str> {
        let window = info.physical_memory_offset.into_option();
        let window = window.ok_or("the loader did not map physical memory")? as *mut u8;
        let free = || {
            let regions = info.memory_regions.iter();
            regions.filter(|r| r.kind == MemoryRegionKind::Usable && r.end > r.start)
        };
        let heap = free()
            .filter(|r| r.end <= LIMIT && r.end - r.start >= 2 * HEAP)
            .map(|r| r.end - HEAP)
            .max()
            .ok_or("no memory is left for a heap")?;
        let end = free().map(|r| r.end).max().unwrap_or(0);
        // SAFETY: the loader maps all RAM at `window`; the heap's is nobody else's, and is cut off from the kernel's.
        let all = unsafe {
            let heap = window.wrapping_add(heap as usize);
            ALLOCATOR.lock().init(heap, HEAP as usize);
            Window::new(window, end)
        };
        let mut map = Vec::new();
        let mut ram = GuestRam::new(all);
        for r in free() {
            let has_heap = r.end == heap + HEAP;
            let len = r.end - r.start - if has_heap { HEAP } else { 0 };
            let slot = Slot {
                gpa: Gpa(r.start),
                host: Extent {
                    start: Hpa(r.start),
                    len,
                },
            };
            // Memory that comes in more pieces than a guest's may is left unused.
            if ram.add(slot) {
                map.push(MemoryRange {
                    start: Gpa(r.start),
                    len,
                    kind: E820Kind::Ram,
                });
            }
        }
        Ok(Self { map, ram, window })
    }
}

/// The bundle.
///
/// # Errors
/// There is none.
pub(crate) fn bundle(info: &'static BootInfo) -> Result<&'static [u8], &'static str> {
    let address = info.ramdisk_addr.into_option();
    let address = address.ok_or("the loader gave no bundle")? as *const u8;
    let len = usize::try_from(info.ramdisk_len).map_err(|_| "the bundle is too large")?;
    // SAFETY: the loader put it into memory of its own kind, which is nobody's, and mapped it.
    Ok(unsafe { core::slice::from_raw_parts(address, len) })
}
