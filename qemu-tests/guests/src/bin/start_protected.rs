//! A flat binary in protected mode without paging, and its way to 64-bit mode.
#![no_std]
#![no_main]
// UNSAFETY: code for the other mode.
#![allow(unsafe_code)]

use core::arch::global_asm;
use guests::start::{Pages, zero_page};
use guests::verdict::Verdict;
use guests::{claims, same};

claims!(
    it_started_in_protected_mode_without_paging,
    the_zero_page_is_passed,
    exits_came_back
);

/// CR0, EFLAGS, CS, DS, SS, CR4, CPUID, a port.
static NOTES: Pages<4096> = Pages::new();
static TABLES: Pages<{ 6 * 4096 }> = Pages::new();

fn note(at: u64) -> u32 {
    // SAFETY: written by the code below, before.
    unsafe { ((NOTES.address() + 4 * at) as *const u32).read_volatile() }
}

global_asm!(
    ".section .start, \"ax\"",
    ".code32",
    ".global _start",
    "_start:",
    "mov esp, offset {notes} + 4096",
    "mov edi, offset {notes}",
    "pushfd",
    "pop [edi + 4]",
    "mov eax, cr0",
    "mov [edi], eax",
    "xor eax, eax",
    "mov ax, cs",
    "mov [edi + 8], eax",
    "mov ax, ds",
    "mov [edi + 12], eax",
    "mov ax, ss",
    "mov [edi + 16], eax",
    "mov eax, cr4",
    "mov [edi + 20], eax",
    "xor eax, eax",
    "xor ecx, ecx",
    "cpuid",
    "mov [edi + 24], ebx",
    "mov eax, -1",
    "mov dx, 0x80",
    "in ax, dx",
    "mov [edi + 28], eax",
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
    "mov eax, cr4",
    "or eax, 0x20",
    "mov cr4, eax",
    "mov ecx, 0xc0000080",
    "rdmsr",
    "or eax, 0x100",
    "wrmsr",
    "mov eax, cr0",
    "or eax, 0x80000000",
    "mov cr0, eax",
    // The descriptor of 64-bit code in the loader's table.
    ".byte 0xea",
    ".long {long}",
    ".word 16",
    ".code64",
    ".text",
    notes = sym NOTES,
    tables = sym TABLES,
    long = sym start_long,
);

fn it_started_in_protected_mode_without_paging() -> Verdict {
    same!(note(0), 0x31, "CR0: PE, ET, NE");
    same!(note(1), 2, "EFLAGS");
    same!((note(2), note(3), note(4)), (8, 0x18, 0x18), "CS, DS, SS");
    same!(note(5), 0, "CR4");
    Ok(())
}

fn the_zero_page_is_passed() -> Verdict {
    let magic = zero_page().hdr.header;
    same!(magic, *b"HdrS");
    Ok(())
}

fn exits_came_back() -> Verdict {
    same!(note(6), u32::from_le_bytes(*b"Genu"));
    same!(note(7), 0xffff_ffff);
    Ok(())
}
