//! Code run outside IA-32e mode: in protected mode, virtual-8086 mode and real-address mode, all without paging, up to the exception or
//! the call by which it ends.
// UNSAFETY: leaves long mode and comes back.
#![allow(unsafe_code)]

use crate::probe::{LEAVE, put};
use crate::segments::{self, descriptor};
use crate::trap::{self, Raised};
use crate::user;
use core::arch::global_asm;
use spec::cpu::vector;

/// A mode of the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum Mode {
    /// Protected mode, ring 0, 32 bits
    Protected = 0,
    /// The same in ring 3
    ProtectedUser = 1,
    /// Virtual-8086 mode, I/O privilege level 0
    Virtual8086 = 2,
    /// Real-address mode
    Real = 3,
}

/// Registers that code starts with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// EAX
    pub eax: u32,
    /// ECX
    pub ecx: u32,
    /// EDX
    pub edx: u32,
    /// ESI and EDI
    pub index: u32,
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ended {
    /// The exception, if it did not come to its end; real-address mode has no error codes
    pub raised: Raised,
    /// How far the instruction pointer was from the first byte
    pub at: u32,
    /// EAX
    pub eax: u32,
}

// Pages below 640 KiB, where code of 16 bits is, away from what the loader has put there.
const STUBS: u64 = 0x7_0000;
/// Where code runs
pub const CODE: u64 = 0x7_1000;
const DATA: u64 = 0x7_2000;
/// A page of data: DS has its segment in 16-bit code, ES has one that begins at 640 KiB.
pub const SCRATCH: u64 = 0x7_3000;

// Places in the page of data.
const VECTOR: u64 = 0x04;
const ERROR: u64 = 0x08;
const IP: u64 = 0x0c;
const EAX: u64 = 0x10;
const INPUT: u64 = 0x48;
const GDT: u64 = 0x80;
const TSS: u64 = 0x100;
const GDTR: u64 = 0x180;
const IDTR: u64 = 0x190;
const IVTR: u64 = 0x1a0;
const IDT: u64 = 0x200;
const GATES: u64 = user::LEAVE as u64 + 1;

fn set(at: u64, value: u64) {
    put(DATA + at, &value.to_le_bytes());
}

fn get(at: u64) -> u32 {
    crate::bytes::number(DATA + at, 4) as u32
}

/// Runs code, [`LEAVE`] behind it, interrupts off.
///
/// # Panics
/// If it is too long.
#[must_use]
pub fn run(mode: Mode, registers: Registers, code: &[u8]) -> Ended {
    run_with(mode, registers, code, &[])
}

/// The same with other gates of protected mode: a vector, and its descriptor.
///
/// # Panics
/// As above.
#[must_use]
pub fn run_with(mode: Mode, registers: Registers, code: &[u8], gates: &[(u8, u64)]) -> Ended {
    assert!(code.len() < 64);
    tables();
    for (number, gate) in gates {
        set(IDT + 8 * u64::from(*number), *gate);
    }
    put(CODE, code);
    put(CODE + code.len() as u64, &LEAVE);
    set(0, u64::from(mode as u32));
    let Registers {
        eax,
        ecx,
        edx,
        index,
    } = registers;
    for (n, value) in (0..).zip([eax, ecx, edx, index]) {
        put(DATA + INPUT + 4 * n, &value.to_le_bytes());
    }
    // SAFETY: the tables are made, what it uses in low memory is nobody's, and it comes back with all that Rust relies on.
    unsafe { legacy_enter() };
    segments::load();
    trap::load();
    let wide = matches!(mode, Mode::Protected | Mode::ProtectedUser);
    let at = get(IP).wrapping_sub(if wide { CODE as u32 } else { 0 });
    let (number, error) = (get(VECTOR) as u8, u64::from(get(ERROR)));
    // Without I/O privilege the call is not allowed in virtual-8086 mode, which tells as much.
    let is_end = number == user::LEAVE
        || mode == Mode::Virtual8086 && (number, at as usize) == (vector::GP.0, code.len());
    Ended {
        raised: (!is_end).then_some((number, error)),
        at,
        eax: get(EAX),
    }
}

/// Copies the code of 16 bits to where it runs, and makes all tables anew.
fn tables() {
    let (begin, end) = (
        legacy_stubs as *const () as u64,
        legacy_stubs_end as *const () as u64,
    );
    for (n, byte) in (0..).zip(crate::bytes::bytes(begin, (end - begin) as usize)) {
        put(STUBS + n, &[byte]);
    }
    let gdt = [
        0,
        0x00cf_9b00_0000_ffff,
        0x00cf_9300_0000_ffff,
        0x00af_9b00_0000_ffff,
        0x00cf_fb00_0000_ffff,
        0x00cf_f300_0000_ffff,
        descriptor((DATA + TSS) as u32, 103, 0x0089),
        descriptor(STUBS as u32, 0xffff, 0x009b),
        descriptor(DATA as u32, 0xffff, 0x0093),
    ];
    for (n, entry) in (0..).zip(gdt) {
        set(GDT + 8 * n, entry);
    }
    for n in 0..13 {
        set(TSS + 8 * n, 0);
    }
    // Stack of ring 0; the permissions for ports lie beyond the limit.
    put(DATA + TSS + 4, &(DATA as u32 + 0xc00).to_le_bytes());
    put(DATA + TSS + 8, &[0x10]);
    put(DATA + TSS + 102, &[104]);
    let pointer = |at, limit: u16, base: u64| {
        put(DATA + at, &limit.to_le_bytes());
        set(at + 2, base);
    };
    pointer(GDTR, 8 * 9 - 1, DATA + GDT);
    pointer(IDTR, 8 * GATES as u16 - 1, DATA + IDT);
    pointer(IVTR, 4 * GATES as u16 - 1, STUBS + 0x800);
    let stub = legacy_stubs_32 as *const () as u64;
    for n in 0..GATES {
        let at = stub + 16 * n;
        let rights = if n == GATES - 1 { 0xee00 } else { 0x8e00 };
        set(
            IDT + 8 * n,
            at & 0xffff | 8 << 16 | rights << 32 | (at >> 16) << 48,
        );
        let (offset, segment) = (8 * n as u16, (STUBS >> 4) as u16);
        put(STUBS + 0x800 + 4 * n, &offset.to_le_bytes());
        put(STUBS + 0x802 + 4 * n, &segment.to_le_bytes());
    }
}

unsafe extern "C" {
    fn legacy_enter();
    fn legacy_stubs();
    fn legacy_stubs_end();
    fn legacy_stubs_32();
}

global_asm!(
    ".globl legacy_enter",
    "legacy_enter:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "mov edi, {data}",
    "mov [rdi + 0x20], rsp",
    "mov rax, cr0; mov [rdi + 0x28], rax",
    "mov rax, cr4; mov [rdi + 0x30], rax",
    "mov rax, cr3; mov [rdi + 0x38], rax",
    "mov ecx, 0xc0000080; rdmsr; and eax, ~0x400; mov [rdi + 0x40], eax",
    "lgdt [rdi + 0x180]",
    "push 8",
    "lea rax, [rip + legacy_32]",
    "push rax",
    "retfq",
    ".code32",
    "legacy_32:",
    "mov eax, 0x10; mov ds, eax; mov es, eax; mov ss, eax; mov fs, eax; mov gs, eax",
    "mov esp, {data} + 0x800",
    "mov eax, cr0; and eax, 0x7fffffff; mov cr0, eax",
    "mov ecx, 0xc0000080; rdmsr; and eax, ~0x100; wrmsr",
    "lidt [{data} + 0x190]",
    "mov eax, 0x30; ltr ax",
    "mov eax, [{data}]",
    "cmp eax, 1; je 1f; cmp eax, 2; je 2f; cmp eax, 3; je 3f",
    "push 2; push 8; push {code}",
    "jmp 4f",
    "1: push 0x2b; push {scratch} + 0xff0; push 2; push 0x23; push {code}",
    "mov eax, 0x2b; mov ds, eax; mov es, eax",
    "jmp 4f",
    // GS, FS, DS, ES, then SS:ESP, EFLAGS.VM, CS:EIP
    "2: push {scratch} >> 4; push {scratch} >> 4; push {scratch} >> 4; push 0xa000",
    "push {scratch} >> 4; push 0xff0; push 0x20002; push {code} >> 4; push 0",
    "4: mov eax, [{data} + 0x48]; mov ecx, [{data} + 0x4c]; mov edx, [{data} + 0x50]",
    "mov esi, [{data} + 0x54]; mov edi, esi; mov ebx, esi; xor ebp, ebp",
    "iretd",
    "3: .byte 0xea",
    ".long legacy_real - legacy_stubs",
    ".word 0x38",
    ".balign 16",
    ".globl legacy_stubs_32",
    "legacy_stubs_32:",
    ".set n, 0",
    ".rept {gates}",
    ".balign 16",
    ".if !(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21 || n == 29 || n == 30)",
    "push 0",
    ".endif",
    "push n",
    "jmp 5f",
    ".set n, n + 1",
    ".endr",
    "5: push eax",
    "mov eax, 0x10; mov ds, eax",
    "pop [{data} + 0x10]; pop [{data} + 0x04]; pop [{data} + 0x08]; pop [{data} + 0x0c]",
    "legacy_back:",
    "mov eax, 0x10; mov ds, eax; mov es, eax; mov ss, eax; mov fs, eax; mov gs, eax",
    "mov esp, {data} + 0x800",
    "mov eax, [{data} + 0x30]; mov cr4, eax",
    "mov eax, [{data} + 0x38]; mov cr3, eax",
    "mov ecx, 0xc0000080; mov eax, [{data} + 0x40]; xor edx, edx; wrmsr",
    "mov eax, [{data} + 0x28]; mov cr0, eax",
    ".byte 0xea",
    ".long legacy_64",
    ".word 0x18",
    ".code64",
    "legacy_64:",
    "mov edi, {data}",
    "mov rsp, [rdi + 0x20]",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "ret",
    // From here on copied to where 16-bit code reaches it.
    ".code16",
    ".balign 16",
    ".globl legacy_stubs",
    "legacy_stubs:",
    ".set n, 0",
    ".rept {gates}",
    ".balign 8",
    ".byte 0x6a, n",
    // JMP with 16 bits
    ".byte 0xe9",
    ".word legacy_common - legacy_stubs - (n * 8 + 5)",
    ".set n, n + 1",
    ".endr",
    "legacy_common:",
    "push eax",
    "push ds",
    "mov ax, {data} >> 4",
    "mov ds, ax",
    "mov bp, sp",
    "mov eax, [bp + 2]; mov [0x10], eax",
    "movzx eax, word ptr [bp + 6]; mov [0x04], eax",
    "movzx eax, word ptr [bp + 8]; mov [0x0c], eax",
    "xor eax, eax; mov [0x08], eax",
    "mov eax, cr0; or al, 1; mov cr0, eax",
    ".byte 0x66, 0xea",
    ".long legacy_back",
    ".word 8",
    "legacy_real:",
    "mov ax, 0x40; mov ds, ax; mov es, ax; mov ss, ax; mov fs, ax; mov gs, ax",
    "mov eax, cr0; and al, 0xfe; mov cr0, eax",
    ".byte 0xea",
    ".word legacy_real_2 - legacy_stubs",
    ".word {stubs} >> 4",
    "legacy_real_2:",
    "mov ax, {data} >> 4; mov ds, ax",
    // LIDT of [0x1a0]
    ".byte 0x0f, 0x01, 0x1e",
    ".word 0x1a0",
    "mov ax, {scratch} >> 4; mov ss, ax; mov sp, 0xff0; mov fs, ax; mov gs, ax",
    "mov ax, 0xa000; mov es, ax",
    // Where RETF goes: CS:IP, 16 bits each
    ".byte 0x68",
    ".word {code} >> 4",
    ".byte 0x6a, 0",
    "mov ecx, [0x4c]; mov edx, [0x50]; mov esi, [0x54]; mov edi, esi; mov ebx, esi; xor ebp, ebp",
    "mov eax, [0x48]",
    "push ss; pop ds",
    ".byte 0xcb",
    ".globl legacy_stubs_end",
    "legacy_stubs_end:",
    ".code64",
    data = const DATA,
    code = const CODE,
    scratch = const SCRATCH,
    stubs = const STUBS,
    gates = const GATES,
);
