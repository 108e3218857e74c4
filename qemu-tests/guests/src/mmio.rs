//! Device registers in memory.
// UNSAFETY: reads and writes addresses that are no Rust object's.
#![allow(unsafe_code)]

use core::arch::asm;

/// Where devices are, and nothing else: from the end of low RAM's range on (the guests have little memory) to 4 GiB.
const DEVICES: core::ops::Range<u64> = 0xc000_0000..0x1_0000_0000;

/// Reads four bytes.
#[must_use]
pub fn read32(address: u64) -> u32 {
    assert!(DEVICES.contains(&address));
    let value;
    // SAFETY: no memory of Rust's is there.
    unsafe { asm!("mov {:e}, [{}]", out(reg) value, in(reg) address, options(nostack)) };
    value
}

/// Writes four bytes.
pub fn write32(address: u64, value: u32) {
    assert!(DEVICES.contains(&address));
    // SAFETY: as above.
    unsafe { asm!("mov [{}], {:e}", in(reg) address, in(reg) value, options(nostack)) };
}
