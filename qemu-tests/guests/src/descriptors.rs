//! A global descriptor table with room: the segments of every guest, those of other modes, and what a claim puts beside them.
// UNSAFETY: loads the descriptor table.
#![allow(unsafe_code)]

use crate::segments::{self, Pointer};
use crate::start::Pages;
use core::arch::asm;

/// 32-bit code of ring 0
pub const CODE_32: u16 = 0x38;
/// 32-bit code of ring 3, with its privilege level
pub const USER_CODE_32: u16 = 0x40 | 3;
/// 16-bit code of ring 0: the 64 KiB from [`LOW`] on
pub const CODE_16: u16 = 0x48;
/// Data of the same 64 KiB
pub const DATA_16: u16 = 0x50;
/// A 32-bit task state segment, for what protected mode leaves ring 3 by
pub const TSS_32: u16 = 0x58;
/// The first of those that claims fill.
pub const FREE: u16 = 0x60;

/// Low memory for what real-address mode has to reach.
pub const LOW: u64 = 0x7_0000;

/// The most descriptors.
const MOST: u16 = 64;
pub(crate) static TABLE: Pages<{ MOST as usize * 8 }> = Pages::new();
static TASK_32: Pages<104> = Pages::new();
/// What protected mode leaves ring 3 for.
static RING_0: Pages<4096> = Pages::new();

/// Writes a descriptor, or half of one of 16 bytes.
pub fn set(selector: u16, descriptor: u64) {
    assert!(selector < MOST * 8);
    let entry = TABLE.address() + u64::from(selector & !7);
    // SAFETY: within the table, which is not Rust's but the processor's.
    unsafe { (entry as *mut u64).write_volatile(descriptor) };
}

/// A descriptor as the processor has left it.
#[must_use]
pub fn get(selector: u16) -> u64 {
    assert!(selector < MOST * 8);
    // SAFETY: as above.
    unsafe { ((TABLE.address() + u64::from(selector & !7)) as *const u64).read_volatile() }
}

/// A descriptor of bytes from `base` on: `rights` are its bits 55:40.
#[must_use]
pub const fn segment(base: u32, limit: u32, rights: u16) -> u64 {
    let (base, limit) = (base as u64, limit as u64);
    let limit = limit & 0xffff | (limit >> 16 & 0xf) << 48;
    limit | (base & 0xff_ffff) << 16 | (base >> 24) << 56 | (rights as u64) << 40
}

/// A gate of 8 bytes, or the first half of one of 16: `rights` are its bits 47:32.
#[must_use]
pub const fn gate(selector: u16, offset: u32, rights: u16) -> u64 {
    let offset = offset as u64;
    offset & 0xffff | (selector as u64) << 16 | (rights as u64) << 32 | (offset >> 16) << 48
}

/// The pointer that LGDT takes.
pub(crate) fn pointer() -> Pointer {
    Pointer::new(TABLE.address(), usize::from(MOST) * 8)
}

/// Makes the table, and goes over to it. Also back to it from where another task register was loaded.
pub fn load() {
    segments::load();
    let tss = TASK_32.address();
    let word = |at: u64, value: u32| {
        // SAFETY: within the task state segment, which the processor alone reads.
        unsafe { ((tss + at) as *mut u32).write_volatile(value) };
    };
    // SDM vol. 3, "32-Bit Task-State Segment (TSS)": ESP0, SS0, and the permission bitmap behind the limit.
    word(4, (RING_0.address() + 4096) as u32);
    word(8, segments::DATA.into());
    word(100, 104 << 16);
    for (n, descriptor) in (0u16..).zip(segments::descriptors()) {
        set(n * 8, descriptor);
    }
    set(CODE_32, 0x00cf_9b00_0000_ffff);
    set(USER_CODE_32, 0x00cf_fb00_0000_ffff);
    set(CODE_16, segment(LOW as u32, 0xffff, 0x9b));
    set(DATA_16, segment(LOW as u32, 0xffff, 0x93));
    set(TSS_32, segment(tss as u32, 103, 0x89));
    let pointer = pointer();
    // SAFETY: what is loaded is at its place in this table too.
    unsafe { asm!("lgdt [{}]", in(reg) &raw const pointer) };
}
