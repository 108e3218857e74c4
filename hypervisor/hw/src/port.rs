//! I/O ports.
// UNSAFETY: IN and OUT.
#![allow(unsafe_code)]

use core::arch::asm;
use spec::Port;

/// Reads a byte.
///
/// # Safety
/// Reading the port has no effect that breaks what other code relies on.
#[inline]
#[must_use]
pub unsafe fn read_u8(port: Port) -> u8 {
    let value: u8;
    // SAFETY: the caller vouches for the port.
    unsafe {
        asm!("in al, dx", in("dx") port.0, out("al") value, options(nostack, preserves_flags));
    }
    value
}

/// Writes a byte.
///
/// # Safety
/// What the device does with the byte breaks nothing that other code relies on.
#[inline]
pub unsafe fn write_u8(port: Port, value: u8) {
    // SAFETY: the caller vouches for the port.
    unsafe {
        asm!("out dx, al", in("dx") port.0, in("al") value, options(nostack, preserves_flags));
    }
}
