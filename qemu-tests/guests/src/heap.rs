//! The heap that there is not: `spec` brings a crate that links `alloc`, though no guest allocates.
// UNSAFETY: the trait of allocators.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};

struct None;

// SAFETY: there is never any memory, which an allocator may say.
unsafe impl GlobalAlloc for None {
    unsafe fn alloc(&self, _: Layout) -> *mut u8 {
        core::ptr::null_mut()
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: None = None;
