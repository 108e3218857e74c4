//! Segments of both rings and the task state segment.
// UNSAFETY: loads the descriptor tables.
#![allow(unsafe_code)]

use crate::start::Pages;
use core::arch::asm;
use core::cell::UnsafeCell;

/// Ring 0 code
pub const CODE: u16 = 0x08;
/// Ring 0 data
pub const DATA: u16 = 0x10;
/// Ring 3 data, with its privilege level
pub const USER_DATA: u16 = 0x18 | 3;
/// Ring 3 code, with its privilege level
pub const USER_CODE: u16 = 0x20 | 3;
/// The 64-bit task state segment
pub(crate) const TSS: u16 = 0x28;
/// Ring 0 code of 32 bits
pub const CODE_32: u16 = 0x38;
/// Ring 3 code of 32 bits, with its privilege level
pub const USER_CODE_32: u16 = 0x40 | 3;

const ENTRIES: usize = 16;
/// The first entry that a claim may set, of seven.
const FREE: usize = 9;

#[repr(C, align(16))]
struct Tables {
    gdt: [u64; ENTRIES],
    tss: [u32; 26],
}

struct Cell(UnsafeCell<Tables>);

// SAFETY: written by `load` alone, before anything else runs; after that only the processor looks at it.
unsafe impl Sync for Cell {}

static TABLES: Cell = Cell(UnsafeCell::new(Tables {
    gdt: [
        0,
        0x00af_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00cf_f300_0000_ffff,
        0x00af_fb00_0000_ffff,
        0,
        0,
        0x00cf_9b00_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0,
        0,
        0,
        0,
        0,
        0,
        0,
    ],
    tss: [0; 26],
}));

const STACK_SIZE: usize = 16 << 10;
/// What ring 3 is left for, by interrupt or exception.
static RING_0: Pages<STACK_SIZE> = Pages::new();
/// Stack of the double fault, which may come for want of a stack.
static DOUBLE_FAULT: Pages<STACK_SIZE> = Pages::new();

/// The interrupt stack table's entry for double faults.
pub const IST_DOUBLE_FAULT: u8 = 1;

/// Loads them.
pub fn load() {
    let tables = TABLES.0.get();
    let top = |stack: &Pages<STACK_SIZE>| stack.address() + STACK_SIZE as u64;
    let halves = |value: u64| (value as u32, (value >> 32) as u32);
    // SAFETY: the descriptors are flat and the tables are static (SDM vol. 3, "64-Bit Mode Task State Segment", "TSS
    // Descriptor in 64-bit Mode").
    unsafe {
        let tss = &raw mut (*tables).tss;
        ((*tss)[1], (*tss)[2]) = halves(top(&RING_0));
        ((*tss)[9], (*tss)[10]) = halves(top(&DOUBLE_FAULT));
        // The permission bitmap lies beyond the limit: ring 3 has no ports.
        (*tss)[25] = (size_of_val(&*tss) as u32) << 16;
        let base = tss as u64;
        let limit = size_of_val(&*tss) as u64 - 1;
        (*tables).gdt[5] =
            limit | (base & 0xff_ffff) << 16 | 0x89 << 40 | (base >> 24 & 0xff) << 56;
        (*tables).gdt[6] = base >> 32;
        let pointer = Pointer::new(&raw const (*tables).gdt as u64, size_of_val(&(*tables).gdt));
        asm!(
            "lgdt [{pointer}]",
            "push {code}",
            "lea {scratch}, [rip + 2f]",
            "push {scratch}",
            "retfq",
            "2:",
            "mov ds, {data:x}",
            "mov es, {data:x}",
            "mov ss, {data:x}",
            "mov fs, {data:x}",
            "mov gs, {data:x}",
            "ltr {tss:x}",
            pointer = in(reg) &raw const pointer,
            code = const CODE,
            scratch = out(reg) _,
            data = in(reg) u32::from(DATA),
            tss = in(reg) u32::from(TSS),
        );
    }
}

/// The table's descriptors.
pub(crate) fn descriptors() -> [u64; 7] {
    // SAFETY: only `load` writes them, and it is not running.
    unsafe { *(*TABLES.0.get()).gdt.first_chunk().unwrap_or(&[0; 7]) }
}

/// Sets one of the entries that are free, by its number among them, and says its selector, with the descriptor's privilege level.
///
/// # Panics
/// If there is no such entry.
#[must_use]
pub fn set(number: usize, descriptor: u64) -> u16 {
    assert!(FREE + number < ENTRIES);
    // SAFETY: the processor looks at entries when their selectors are loaded, and at no other time.
    unsafe { (&raw mut (*TABLES.0.get()).gdt[FREE + number]).write_volatile(descriptor) };
    ((FREE + number) << 3) as u16 | (descriptor >> 45 & 3) as u16
}

/// A descriptor: base, limit, and the bits 55:52 and 47:40, as rights of 16 bits have them.
#[must_use]
pub const fn descriptor(base: u32, limit: u32, rights: u16) -> u64 {
    let (base, limit, rights) = (base as u64, limit as u64, rights as u64);
    limit & 0xffff
        | (base & 0xff_ffff) << 16
        | (rights & 0xff) << 40
        | (limit >> 16 & 0xf) << 48
        | (rights >> 12 & 0xf) << 52
        | (base >> 24) << 56
}

/// What LGDT and LIDT take.
#[repr(C, packed)]
#[derive(Clone, Copy, Debug)]
pub struct Pointer {
    limit: u16,
    base: u64,
}

impl Pointer {
    /// A table of `size` bytes.
    #[must_use]
    pub fn new(base: u64, size: usize) -> Self {
        Self {
            limit: (size - 1) as u16,
            base,
        }
    }
}
