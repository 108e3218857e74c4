//! Memory that the firmware has written for us to read.
// UNSAFETY: reads physical memory by its address.
#![allow(unsafe_code)]

use crate::memory_map;
use alloc::vec::Vec;
use spec::Hpa;
use uefi::mem::memory_map::MemoryMap;

/// Where memory is, by the firmware's own map: an address in one of its tables may be wrong.
pub struct Memory(Vec<(u64, u64)>);

impl Memory {
    /// What a memory map calls memory.
    #[must_use]
    pub fn new(map: &impl MemoryMap) -> Self {
        Self(memory_map::ram(map.entries()))
    }

    /// A copy of `len` bytes; `None` if they are not all memory.
    #[must_use]
    pub fn copy(&self, at: Hpa, len: usize) -> Option<Vec<u8>> {
        let end = at.0.checked_add(len as u64)?;
        let inside = |(start, stop): &(u64, u64)| *start <= at.0 && end <= *stop;
        if at.0 == 0 || !self.0.iter().any(inside) {
            return None;
        }
        let start = core::ptr::with_exposed_provenance::<u8>(at.0 as usize);
        let mut copy = Vec::with_capacity(len);
        // SAFETY: while boot services run, which `boot` leaves last, all memory of the map is mapped one to one
        // (UEFI 2.10, section 2.3.4), and `len` bytes from `start` were just found in it; the copy has room for as
        // many, which are initialised when its length is set.
        unsafe {
            start.copy_to_nonoverlapping(copy.as_mut_ptr(), len);
            copy.set_len(len);
        }
        Some(copy)
    }
}
