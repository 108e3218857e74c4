//! I/O ports. No device of the guest's machine reaches memory by itself, so no access can harm.
// UNSAFETY: IN and OUT.
#![allow(unsafe_code)]

use core::arch::asm;

/// OUT of a byte
pub fn out8(port: u16, value: u8) {
    // SAFETY: see the module's head.
    unsafe { asm!("out dx, al", in("dx") port, in("al") value, options(nomem, nostack)) };
}

/// OUT of two bytes
pub fn out16(port: u16, value: u16) {
    // SAFETY: see the module's head.
    unsafe { asm!("out dx, ax", in("dx") port, in("ax") value, options(nomem, nostack)) };
}

/// OUT of four bytes
pub fn out32(port: u16, value: u32) {
    // SAFETY: see the module's head.
    unsafe { asm!("out dx, eax", in("dx") port, in("eax") value, options(nomem, nostack)) };
}

/// IN of a byte
#[must_use]
pub fn in8(port: u16) -> u8 {
    let value;
    // SAFETY: see the module's head.
    unsafe { asm!("in al, dx", in("dx") port, out("al") value, options(nomem, nostack)) };
    value
}

/// IN of two bytes
#[must_use]
pub fn in16(port: u16) -> u16 {
    let value;
    // SAFETY: see the module's head.
    unsafe { asm!("in ax, dx", in("dx") port, out("ax") value, options(nomem, nostack)) };
    value
}

/// IN of four bytes
#[must_use]
pub fn in32(port: u16) -> u32 {
    let value;
    // SAFETY: see the module's head.
    unsafe { asm!("in eax, dx", in("dx") port, out("eax") value, options(nomem, nostack)) };
    value
}

macro_rules! in_rax {
    ($($name:ident $instruction:literal)*) => {
        $(
            #[doc = concat!("All of RAX after `", $instruction, "`, given what it was before")]
            #[must_use]
            pub fn $name(port: u16, before: u64) -> u64 {
                let after;
                // SAFETY: see the module's head.
                unsafe { asm!($instruction, in("dx") port, inout("rax") before => after, options(nomem, nostack)) };
                after
            }
        )*
    };
}

in_rax! { in8_rax "in al, dx" in16_rax "in ax, dx" in32_rax "in eax, dx" }
