//! A value that claims and exception handlers share.
// UNSAFETY: a cell that is Sync though nothing locks it.
#![allow(unsafe_code)]

use core::cell::UnsafeCell;

/// A value that is copied in and out. The one processor either runs a claim or a handler; a claim writes only what no
/// handler reads at the time.
#[derive(Debug)]
pub struct Slot<T>(UnsafeCell<T>);

// SAFETY: one processor.
unsafe impl<T: Copy> Sync for Slot<T> {}

impl<T: Copy> Slot<T> {
    /// A slot that holds `value`.
    #[must_use]
    pub const fn new(value: T) -> Self {
        Self(UnsafeCell::new(value))
    }

    /// What it holds; a handler may have changed it behind the compiler's back.
    #[must_use]
    pub fn get(&self) -> T {
        // SAFETY: nobody holds a reference; see the type.
        unsafe { self.0.get().read_volatile() }
    }

    /// Puts a value into it.
    pub fn set(&self, value: T) {
        // SAFETY: nobody holds a reference; see the type.
        unsafe { self.0.get().write_volatile(value) };
    }
}
