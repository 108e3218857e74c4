//! The start of a guest whose protocol enters it in protected mode without paging: what it found there, and its way to
//! 64-bit mode.
// UNSAFETY: reads what the first instructions have noted.
#![allow(unsafe_code)]

use crate::bytes::number;
use crate::start::Pages;
use crate::verdict::Verdict;
use crate::{claim, same};

/// What the first instructions found.
#[repr(C)]
#[derive(Clone, Copy, Debug)]
pub struct Notes {
    /// EAX
    pub eax: u32,
    /// EBX
    pub ebx: u32,
    /// EFLAGS
    pub eflags: u32,
    /// CR0
    pub cr0: u32,
    /// CR4
    pub cr4: u32,
    /// CS, SS, DS, ES, FS, GS, TR
    pub selectors: [u16; 7],
    /// Limit of the GDT
    gdt_limit: u16,
    /// Its address
    gdt: u32,
    /// Limits of the segments in CS, SS, DS, ES, FS, GS
    pub limits: [u32; 6],
}

/// Where the first instructions write [`Notes`], and their stack above it.
pub static NOTES: Pages<4096> = Pages::new();
/// Their page tables.
pub static TABLES: Pages<{ 6 * 4096 }> = Pages::new();

/// What the first instructions found.
#[must_use]
pub fn notes() -> Notes {
    // SAFETY: they have written it, and nobody writes it now.
    unsafe { (NOTES.address() as *const Notes).read_volatile() }
}

/// Flat segments, interrupts, paging and everything else off: what Multiboot and PVH want, and the table that our loader
/// has for both.
///
/// # Errors
/// What is not so.
pub fn registers_are_as_promised() -> Verdict {
    let notes = notes();
    same!(notes.eflags, 2);
    // PE, and ET, which cannot be cleared.
    same!((notes.cr0, notes.cr4), (0x11, 0));
    let [cs, data @ .., tr] = notes.selectors;
    same!((cs, data, tr), (8, [0x18; 5], 0));
    same!(notes.limits, [u32::MAX; 6]);
    same!(notes.gdt_limit, 31);
    let gdt = u64::from(notes.gdt);
    same!(number(gdt, 8), 0);
    same!(number(gdt + 8, 8), 0x00cf_9b00_0000_ffff);
    same!(number(gdt + 0x18, 8), 0x00cf_9300_0000_ffff);
    Ok(())
}

/// What the first instructions wrote has not gone where address bit 20 is the other way.
///
/// # Errors
/// When it has.
pub fn address_line_20_is_on() -> Verdict {
    let (here, there) = (NOTES.address(), NOTES.address() ^ 1 << 20);
    let ebx = number(here + 4, 4);
    claim!(ebx != 0, "EBX is zero");
    claim!(number(there + 4, 4) != ebx, "{there:#x} holds {ebx:#x} too");
    Ok(())
}

/// The claims of a guest that starts in protected mode; it notes what it finds and goes on at `start_long`. `$before` is
/// assembled in front of its first instruction.
#[macro_export]
macro_rules! protected_guest {
    ($before:literal; $($claim:path),+ $(,)?) => {
        $crate::claims!($($claim),+);
        core::arch::global_asm!(
            ".section .start, \"ax\"",
            ".code32",
            ".global _start",
            $before,
            "_start:",
            "mov edi, offset {notes}",
            "mov [edi], eax",
            "mov [edi + 4], ebx",
            "mov esp, offset {notes} + 4096",
            "pushfd",
            "pop [edi + 8]",
            "mov eax, cr0",
            "mov [edi + 12], eax",
            "mov eax, cr4",
            "mov [edi + 16], eax",
            "mov word ptr [edi + 20], cs",
            "mov word ptr [edi + 22], ss",
            "mov word ptr [edi + 24], ds",
            "mov word ptr [edi + 26], es",
            "mov word ptr [edi + 28], fs",
            "mov word ptr [edi + 30], gs",
            "str word ptr [edi + 32]",
            "sgdt [edi + 34]",
            "xor ecx, ecx",
            "5:",
            "movzx eax, word ptr [edi + 20 + ecx * 2]",
            "lsl edx, eax",
            "mov [edi + 40 + ecx * 4], edx",
            "inc ecx",
            "cmp ecx, 6",
            "jne 5b",
            // The first 4 GiB one to one in pages of 2 MiB.
            "mov edi, offset {tables}",
            "lea eax, [edi + 0x1003]",
            "mov [edi], eax",
            "lea eax, [edi + 0x2003]",
            "xor ecx, ecx",
            "7:",
            "mov [edi + 0x1000 + ecx * 8], eax",
            "add eax, 0x1000",
            "inc ecx",
            "cmp ecx, 4",
            "jne 7b",
            "mov eax, 0x83",
            "xor ecx, ecx",
            "8:",
            "mov [edi + 0x2000 + ecx * 8], eax",
            "add eax, 0x200000",
            "inc ecx",
            "cmp ecx, 2048",
            "jne 8b",
            "mov cr3, edi",
            "mov eax, 0x20",
            "mov cr4, eax",
            "mov ecx, 0xc0000080",
            "rdmsr",
            "or eax, 0x100",
            "wrmsr",
            "mov eax, cr0",
            "or eax, 0x80000000",
            "mov cr0, eax",
            // Protocols have guests bring a table of their own.
            "lgdt [protected_gdtr]",
            "xor esi, esi",
            ".byte 0xea",
            ".long {long}",
            ".word 16",
            ".balign 8",
            "protected_gdt:",
            ".quad 0, 0, 0x00af9b000000ffff",
            "protected_gdtr:",
            ".word 23",
            ".long protected_gdt",
            ".code64",
            ".text",
            notes = sym $crate::protected::NOTES,
            tables = sym $crate::protected::TABLES,
            long = sym start_long,
        );
    };
}

const _: () = {
    assert!(core::mem::offset_of!(Notes, selectors) == 20);
    assert!(core::mem::offset_of!(Notes, gdt_limit) == 34);
    assert!(core::mem::offset_of!(Notes, limits) == 40);
};
