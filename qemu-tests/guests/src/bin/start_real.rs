//! A flat binary in real mode: what it finds there, and its way to 64-bit mode through protected mode.
#![no_std]
#![no_main]
// UNSAFETY: code for the other modes.
#![allow(unsafe_code)]

use core::arch::global_asm;
use guests::start::Pages;
use guests::verdict::Verdict;
use guests::{claims, same};

claims!(
    it_started_as_after_reset,
    real_mode_addresses_have_20_bits,
    interrupts_went_through_the_real_mode_table,
    exits_came_back_in_each_mode
);

/// What real mode has left: CR0, EFLAGS, CS and IP, DS; a word read through a segment; what INT left; CPUID's in each mode.
#[repr(C)]
struct Notes {
    cr0: u32,
    eflags: u32,
    cs: u32,
    ip: u32,
    ds: u32,
    word: u32,
    interrupt: u32,
    cpuid16: u32,
    cpuid32: u32,
    port16: u32,
}

const PLACE: u64 = 0x6000;

fn notes() -> Notes {
    // SAFETY: written by the code below, before.
    unsafe { (PLACE as *const Notes).read_volatile() }
}

static TABLES: Pages<{ 6 * 4096 }> = Pages::new();

global_asm!(
    ".section .start, \"ax\"",
    ".code16",
    ".global _start",
    "_start:",
    "pushfd",
    "pop eax",
    "mov edi, {place}",
    // DS is 0, so addresses below 64 KiB are as they are.
    "mov [di + 4], eax",
    "mov eax, cr0",
    "mov [di], eax",
    "xor eax, eax",
    "mov ax, cs",
    "mov [di + 8], eax",
    "mov ax, ds",
    "mov [di + 16], eax",
    "call real_here",
    "real_here:",
    "pop ax",
    // SUB AX. (Differences of labels as constants are more than this syntax takes.)
    ".byte 0x2d",
    ".word real_here - _start",
    "mov [di + 12], eax",
    // A word by another segment: 0x5ff:0x12 is 0x6002.
    "mov ax, 0x5ff",
    "mov es, ax",
    "mov dword ptr [di + 20], 0",
    "mov word ptr es:[0x10 + 20], 0x1234",
    // An interrupt by the table at 0.
    "xor eax, eax",
    // MOV of a word to memory
    ".byte 0xc7, 0x06",
    ".word 0x42 * 4, real_handler - _start",
    "mov word ptr [0x42 * 4 + 2], cs",
    "int 0x42",
    "mov [di + 24], eax",
    "xor eax, eax",
    "xor ecx, ecx",
    "cpuid",
    "mov [di + 28], ebx",
    "mov eax, -1",
    "mov dx, 0x3fd",
    "in al, dx",
    "mov [di + 36], eax",
    // To protected mode; the segment is where the flat binary was loaded.
    // LGDT of a 32-bit base, from CS
    ".byte 0x2e, 0x66, 0x0f, 0x01, 0x16",
    ".word real_gdt - _start",
    "mov eax, cr0",
    "or al, 1",
    "mov cr0, eax",
    ".byte 0x66, 0xea",
    ".long 4f",
    ".word 8",
    "real_handler:",
    "mov eax, 0x4242",
    "iret",
    ".balign 8",
    "real_gdt:",
    ".word 31",
    ".long 6f",
    ".balign 8",
    "6:",
    ".quad 0, 0x00cf9b000000ffff, 0x00af9b000000ffff, 0x00cf93000000ffff",
    ".code32",
    "4:",
    "mov ax, 24",
    "mov ds, ax",
    "mov es, ax",
    "mov ss, ax",
    "xor eax, eax",
    "xor ecx, ecx",
    "cpuid",
    "mov [{place} + 32], ebx",
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
    "xor esi, esi",
    ".byte 0xea",
    ".long {long}",
    ".word 16",
    ".code64",
    ".text",
    place = const PLACE,
    tables = sym TABLES,
    long = sym start_long,
);

fn it_started_as_after_reset() -> Verdict {
    let notes = notes();
    // SDM vol. 3, "Processor State After Reset": caches off.
    same!(notes.cr0, 0x6000_0010);
    same!(notes.eflags, 2);
    same!((notes.cs << 4) + notes.ip, 0x8000, "where it was loaded");
    same!(notes.ds, 0);
    Ok(())
}

fn real_mode_addresses_have_20_bits() -> Verdict {
    same!(notes().word, 0x1234);
    Ok(())
}

fn interrupts_went_through_the_real_mode_table() -> Verdict {
    same!(notes().interrupt, 0x4242);
    Ok(())
}

fn exits_came_back_in_each_mode() -> Verdict {
    let notes = notes();
    let vendor = u32::from_le_bytes(*b"Genu");
    same!((notes.cpuid16, notes.cpuid32), (vendor, vendor));
    same!(
        notes.port16,
        0xffff_ff60,
        "LSR in AL, the rest of EAX as it was"
    );
    Ok(())
}
