//! The code in which a core begins, and the block of values that it finds behind it in its page.

use core::arch::global_asm;
use core::mem::offset_of;
use core::sync::atomic::AtomicU32;
use spec::cpu::{Cr0, Cr4, Efer};

/// Where the block lies in the page.
pub(super) const BLOCK: usize = 0x800;

/// Selectors of [`GDT`].
pub(super) mod selector {
    pub(in super::super) const CODE_32: u16 = 0x08;
    pub(in super::super) const DATA: u16 = 0x10;
    pub(in super::super) const CODE_64: u16 = 0x18;
}

/// Flat segments (SDM vol. 3, "Segment Descriptors"). Marked as accessed, since the page is read-only to the core once it pages.
pub(super) const GDT: [u64; 4] = [
    0,
    0x00cf_9b00_0000_ffff,
    0x00cf_9300_0000_ffff,
    0x00af_9b00_0000_ffff,
];

/// A far pointer, as JMP takes it from memory.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
pub(super) struct Far {
    pub(super) offset: u32,
    pub(super) selector: u16,
}

/// What LGDT takes outside 64-bit mode.
#[derive(Clone, Copy, Debug)]
#[repr(C, packed(2))]
pub(super) struct Gdtr {
    pub(super) limit: u16,
    pub(super) base: u32,
}

/// What the code finds in its page at [`BLOCK`].
#[derive(Debug)]
#[repr(C)]
pub(super) struct Block {
    pub(super) gdt: [u64; 4],
    /// The page where the upper half maps it, writable
    pub(super) page: u64,
    pub(super) stack: u64,
    pub(super) entry: u64,
    pub(super) argument: u64,
    /// Not zero while what is above and the id below are valid; the core that takes it puts zero here
    pub(super) ticket: AtomicU32,
    /// Whose they are
    pub(super) apic_id: u32,
    /// For CR3
    pub(super) tables: u32,
    pub(super) to_32: Far,
    pub(super) to_64: Far,
    pub(super) gdtr: Gdtr,
}

const _: () =
    assert!(BLOCK.is_multiple_of(align_of::<Block>()) && BLOCK + size_of::<Block>() <= 4096);

unsafe extern "C" {
    static bulkhead_start_up: u8;
    static bulkhead_start_up_32: u8;
    static bulkhead_start_up_64: u8;
    static bulkhead_start_up_end: u8;
}

fn offset(of: *const u8) -> u32 {
    (of as usize - &raw const bulkhead_start_up as usize) as u32
}

/// Where the code of 32 bits begins.
pub(super) fn offset_32() -> u32 {
    offset(&raw const bulkhead_start_up_32)
}

/// Where the code of 64 bits begins.
pub(super) fn offset_64() -> u32 {
    offset(&raw const bulkhead_start_up_64)
}

/// The code, which runs at the beginning of any page below 1 MiB.
pub(super) fn bytes() -> &'static [u8] {
    let len = offset(&raw const bulkhead_start_up_end) as usize;
    // SAFETY: the two symbols are the ends of the section's bytes below, which nobody writes.
    unsafe { core::slice::from_raw_parts(&raw const bulkhead_start_up, len) }
}

// A start-up message with vector V begins in real mode at V000:0000 (SDM vol. 3, "MP Initialization Protocol Algorithm for
// MP Systems"). From there by the steps of "Switching to Protected Mode" and "Initializing IA-32e Mode". EBX is the page.
//
// In 64-bit mode the core reads what it is to do, and then takes the ticket if it still stands as it did before: what it has read is
// then for one launch and whole. It does so only if the launch means it. Else it halts for ever: it comes after its launch was
// given up.
global_asm!(
    ".pushsection .rodata.bulkhead_start_up, \"a\", @progbits",
    ".global bulkhead_start_up, bulkhead_start_up_32, bulkhead_start_up_64, bulkhead_start_up_end",
    ".balign 16",
    ".code16",
    "bulkhead_start_up:",
    "cli",
    "cld",
    "xorl %ebx, %ebx",
    "movw %cs, %bx",
    "movw %bx, %ds",
    "shll $4, %ebx",
    "lgdtl {gdtr}",
    "movl %cr0, %eax",
    // INIT leaves the caches as they were, and a reset leaves them off.
    "andl ${cached}, %eax",
    "orl ${pe}, %eax",
    "movl %eax, %cr0",
    "ljmpl *{to_32}",
    ".code32",
    "bulkhead_start_up_32:",
    "movw ${data}, %ax",
    "movw %ax, %ds",
    "movw %ax, %es",
    "movw %ax, %ss",
    "movl ${pae}, %eax",
    "movl %eax, %cr4",
    "movl {tables}(%ebx), %eax",
    "movl %eax, %cr3",
    "movl ${efer}, %ecx",
    "rdmsr",
    "orl ${lme_nxe}, %eax",
    "wrmsr",
    "movl %cr0, %eax",
    "orl ${pg_wp}, %eax",
    "movl %eax, %cr0",
    "ljmpl *{to_64}(%ebx)",
    ".code64",
    "bulkhead_start_up_64:",
    "movl %ebx, %ebx",
    "movq {page}(%rbx), %rsi",
    "movl {ticket}(%rsi), %r12d",
    "movl {apic_id}(%rsi), %r13d",
    "movq {stack}(%rsi), %rsp",
    "movq {entry}(%rsi), %r14",
    "movq {argument}(%rsi), %rdi",
    // Its id as `cpuid::apic_id` has it: CPUID clobbers EAX to EDX.
    "xorl %eax, %eax",
    "cpuid",
    "cmpl $0xb, %eax",
    "jb 2f",
    "movl $0xb, %eax",
    "xorl %ecx, %ecx",
    "cpuid",
    "testl %ebx, %ebx",
    "jnz 3f",
    "2:",
    "movl $1, %eax",
    "cpuid",
    "movl %ebx, %edx",
    "shrl $24, %edx",
    "3:",
    "cmpl %r13d, %edx",
    "jne 4f",
    "movl %r12d, %eax",
    "testl %eax, %eax",
    "jz 4f",
    "xorl %ecx, %ecx",
    "lock cmpxchgl %ecx, {ticket}(%rsi)",
    "jne 4f",
    // As by a CALL from nowhere.
    "xorl %ebp, %ebp",
    "pushq $0",
    "jmpq *%r14",
    "4:",
    "cli",
    "hlt",
    "jmp 4b",
    "bulkhead_start_up_end:",
    ".popsection",
    gdtr = const BLOCK + offset_of!(Block, gdtr),
    to_32 = const BLOCK + offset_of!(Block, to_32),
    to_64 = const BLOCK + offset_of!(Block, to_64),
    tables = const BLOCK + offset_of!(Block, tables),
    page = const BLOCK + offset_of!(Block, page),
    ticket = const BLOCK + offset_of!(Block, ticket),
    apic_id = const BLOCK + offset_of!(Block, apic_id),
    stack = const BLOCK + offset_of!(Block, stack),
    entry = const BLOCK + offset_of!(Block, entry),
    argument = const BLOCK + offset_of!(Block, argument),
    data = const selector::DATA,
    efer = const spec::msr::EFER.0,
    cached = const !(Cr0::CD.union(Cr0::NW).bits() as u32) as i32,
    pe = const Cr0::PE.bits(),
    pae = const Cr4::PAE.bits(),
    lme_nxe = const Efer::LME.union(Efer::NXE).bits(),
    pg_wp = const Cr0::PG.union(Cr0::WP).bits(),
    options(att_syntax)
);
