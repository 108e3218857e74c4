//! The heap: memory that a guest sets aside, given out once and never taken back. One that sets none aside has none.
// UNSAFETY: the trait of allocators.
#![allow(unsafe_code)]

use core::alloc::{GlobalAlloc, Layout};
use core::ops::Range;
use core::sync::atomic::{AtomicU64, Ordering};

struct Heap {
    next: AtomicU64,
    end: AtomicU64,
}

/// Where the piece lies that is taken next, and where the one after it may begin.
fn piece(next: u64, end: u64, layout: Layout) -> Option<(u64, u64)> {
    let at = next.checked_next_multiple_of(layout.align() as u64)?;
    let behind = at.checked_add(layout.size() as u64)?;
    (next != 0 && behind <= end).then_some((at, behind))
}

// SAFETY: each piece is given out once, and lies in memory that is the heap's by the word of `open`'s caller.
unsafe impl GlobalAlloc for Heap {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        let end = self.end.load(Ordering::Relaxed);
        let taken = self
            .next
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |next| {
                Some(piece(next, end, layout)?.1)
            });
        let at = taken.ok().and_then(|next| piece(next, end, layout));
        at.map_or(core::ptr::null_mut(), |(at, _)| at as *mut u8)
    }

    unsafe fn dealloc(&self, _: *mut u8, _: Layout) {}
}

#[global_allocator]
static HEAP: Heap = Heap {
    next: AtomicU64::new(0),
    end: AtomicU64::new(0),
};

/// Sets memory aside.
///
/// # Safety
/// It is RAM that nothing else uses, mapped where it is.
pub unsafe fn open(memory: Range<u64>) {
    HEAP.end.store(memory.end, Ordering::Relaxed);
    HEAP.next.store(memory.start, Ordering::Relaxed);
}
