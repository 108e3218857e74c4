//! From the first instruction to the first claim.
// UNSAFETY: the loader's word on where the zero page is.
#![allow(unsafe_code)]

use crate::{interrupt, paging, power, segments, serial, trap};
use core::cell::UnsafeCell;
use core::sync::atomic::{AtomicU64, Ordering};
use spec::linux::BootParams;

/// Bytes of the stack.
pub const STACK_SIZE: usize = 64 << 10;

/// Memory for a stack or a table, which the processor reads and writes by itself.
#[repr(C, align(4096))]
pub struct Pages<const SIZE: usize>(UnsafeCell<[u8; SIZE]>);

// SAFETY: only its address is taken; one processor uses it.
unsafe impl<const SIZE: usize> Sync for Pages<SIZE> {}

impl<const SIZE: usize> Pages<SIZE> {
    /// All zero.
    #[must_use]
    pub const fn new() -> Self {
        Self(UnsafeCell::new([0; SIZE]))
    }

    /// Where it is, linear and physical alike.
    #[must_use]
    pub fn address(&self) -> u64 {
        self.0.get() as u64
    }
}

impl<const SIZE: usize> Default for Pages<SIZE> {
    fn default() -> Self {
        Self::new()
    }
}

/// The stack of the claims.
pub static STACK: Pages<STACK_SIZE> = Pages::new();

static ZERO_PAGE: AtomicU64 = AtomicU64::new(0);

/// Sets the machine up and tries the claims.
pub extern "C" fn begin(zero_page: u64, main: extern "C" fn()) -> ! {
    ZERO_PAGE.store(zero_page, Ordering::Relaxed);
    serial::open();
    segments::load();
    trap::install();
    paging::enter();
    interrupt::forget();
    main();
    power::off()
}

/// Where the loader put the zero page.
#[must_use]
pub fn zero_page_address() -> u64 {
    ZERO_PAGE.load(Ordering::Relaxed)
}

/// A copy of what the loader says.
#[must_use]
pub fn zero_page() -> BootParams {
    // SAFETY: the loader put it into RAM and passed its address; all values of its bytes are valid.
    unsafe { core::ptr::read_unaligned(zero_page_address() as *const BootParams) }
}
