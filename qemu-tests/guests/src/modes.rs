//! Instructions in every mode of the processor: each is put into low memory, tried there, and what it raised is told.
//!
//! Modes without IA-32e paging are entered and left again for each attempt: paging off, IA32_EFER.LME clear, another interrupt
//! descriptor table or the vectors of real-address mode, and back from the handler. The first processor only, interrupts off.
// UNSAFETY: changes of mode, and the instructions in question.
#![allow(unsafe_code)]

use crate::bytes::number;
use crate::descriptors::{self, CODE_16, CODE_32, DATA_16, LOW, TSS_32, USER_CODE_32};
use crate::segments::{self, CODE, DATA, Pointer, USER_CODE, USER_DATA};
use crate::start::Pages;
use crate::trap::{self, Raised};
use crate::user::STACK_POINTER;
use crate::{paging, smp};
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use spec::cpu::vector;

/// A mode and a privilege level.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[allow(missing_docs, reason = "the manual's names")]
pub enum Mode {
    Long,
    LongUser,
    Compatibility,
    CompatibilityUser,
    /// 32-bit code without paging
    Protected,
    ProtectedUser,
    /// 16-bit code without paging
    Protected16,
    Virtual8086,
    Real,
}

use Mode::{
    Compatibility, CompatibilityUser, Long, LongUser, Protected, Protected16, ProtectedUser, Real,
    Virtual8086,
};

impl Mode {
    /// All.
    pub const ALL: [Mode; 9] = [
        Long,
        LongUser,
        Compatibility,
        CompatibilityUser,
        Protected,
        ProtectedUser,
        Protected16,
        Virtual8086,
        Real,
    ];

    /// Whether ring 0 has privileges here.
    #[must_use]
    pub const fn is_ring_0(self) -> bool {
        !matches!(
            self,
            LongUser | CompatibilityUser | ProtectedUser | Virtual8086
        )
    }
}

/// What an attempt finds in its registers.
#[derive(Clone, Copy, Debug, Default)]
pub struct Registers {
    /// EAX
    pub eax: u32,
    /// ECX
    pub ecx: u32,
    /// EDX
    pub edx: u32,
    /// More flags than bit 1; in modes without IA-32e paging
    pub eflags: u32,
    /// Another code segment than the mode's; in protected mode
    pub cs: Option<u16>,
}

/// Where the code is that is tried, and in 16-bit modes its offset in the segment.
pub const PLACE: u64 = LOW + 0x1000;
const OFFSET: u32 = (PLACE - LOW) as u32;
/// What POPAD and IRETD take, with stack below.
const FRAME: u64 = LOW + 0x2800;
/// Stack of other rings and of virtual-8086 mode.
const STACK: u64 = LOW + 0x3800;
/// Real-address mode's interrupt vectors.
const VECTORS: u64 = LOW + 0x4000;
/// The selector of [`LOW`] in real-address mode.
const SEGMENT: u16 = (LOW >> 4) as u16;
/// Gates in the tables of other modes.
const GATES: usize = 64;
/// INT3: the end of what is tried.
const END: u8 = 0xcc;

static GATES_32: Pages<{ GATES * 8 }> = Pages::new();
/// What the handler has found: POPAD's registers, and its frame.
static REPORT: Pages<80> = Pages::new();
static SAVED: [AtomicU64; 3] = [const { AtomicU64::new(0) }; 3];
/// Data segments at the start.
static DATA_SELECTOR: AtomicU32 = AtomicU32::new(0);

global_asm!(
    // In 64-bit and compatibility mode: by the handlers that all claims have.
    "{try_it}:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "lea rax, [rip + 2f]",
    "mov [rip + {resume}], rax",
    "mov rax, rsp",
    "mov [rip + {stack}], rax",
    "push qword ptr [rdi + 24]; push rax; push qword ptr [rdi + 16]; push qword ptr [rdi + 8]; push qword ptr [rdi]",
    "mov eax, [rsi]; mov ecx, [rsi + 4]; mov edx, [rsi + 8]",
    "iretq",
    "2: mov rsp, [rip + {stack}]",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "ret",
    "{leave}:",
    "push rbx; push rbp; push r12; push r13; push r14; push r15",
    "mov [rip + {saved}], rsp",
    "mov rax, cr0; mov [rip + {saved} + 8], rax",
    "mov rax, cr4; mov [rip + {saved} + 16], rax",
    "mov ebp, edi",
    "lidt [rsi]",
    "push {code_32}",
    "lea rax, [rip + 2f]",
    "push rax",
    "retfq",
    ".code32",
    "2: mov eax, {data}; mov ds, eax; mov es, eax; mov ss, eax; mov fs, eax; mov gs, eax",
    "mov eax, cr0; and eax, 0x7fffffff; mov cr0, eax",
    "mov ecx, 0xc0000080; rdmsr; and eax, 0xfffffeff; wrmsr",
    "mov eax, {tss}; ltr ax",
    "test ebp, ebp; jnz 3f",
    "mov eax, dword ptr [{selector}]; mov ds, eax; mov es, eax; mov fs, eax; mov gs, eax",
    "mov esp, {frame}; popad; iretd",
    "3: .byte 0xea; .long modes_16 - {glue}; .word {code_16}",
    // The way back, from a stack whose address is in ESI, with what POPAD takes and then the frame.
    "modes_back: mov eax, {data}; mov ds, eax; mov es, eax; mov ss, eax; mov esi, ebp; jmp 5f",
    ".balign 16",
    "{stubs}:",
    ".set n, 0",
    ".rept {gates}",
    ".balign 16",
    "push n",
    "jmp 4f",
    ".set n, n + 1",
    ".endr",
    "4: pushad; cld; mov eax, {data}; mov ds, eax; mov es, eax; mov esi, esp",
    "5: mov edi, offset {report}; mov ecx, 20; rep movsd",
    // IA-32e mode refuses a task state segment of 16 bits, and what was loaded before is busy.
    "and byte ptr [{table} + {tss} + 5], 0xfd; mov eax, {tss}; ltr ax",
    "mov eax, dword ptr [{saved} + 16]; mov cr4, eax",
    "mov eax, offset {tables}; mov cr3, eax",
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x100; wrmsr",
    "mov eax, dword ptr [{saved} + 8]; mov cr0, eax",
    ".byte 0xea; .long modes_64; .word {code}",
    ".code64",
    "modes_64: mov eax, {data}; mov ds, eax; mov es, eax; mov ss, eax; mov fs, eax; mov gs, eax",
    "mov rsp, [rip + {saved}]",
    "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
    "ret",
    // What real-address mode runs, at the start of low memory.
    "{glue}:",
    ".code16",
    "modes_16: mov ax, {data_16}; mov ds, ax; mov es, ax; mov ss, ax; mov fs, ax; mov gs, ax",
    "mov eax, cr0; and al, 0xfe; mov cr0, eax",
    ".byte 0xea; .word modes_real - {glue}; .word {segment}",
    "modes_real: mov ax, cs; mov ds, ax; mov es, ax; mov ss, ax; mov fs, ax; mov gs, ax",
    // LIDT of a 32-bit base, from CS
    ".byte 0x2e, 0x66, 0x0f, 0x01, 0x1e; .word modes_vectors - {glue}",
    "mov sp, {frame} - {low}; popad; iretd",
    ".balign 8",
    "{stubs_16}:",
    ".set n, 0",
    ".rept {gates}",
    ".balign 8",
    "push n",
    "jmp 6f",
    ".set n, n + 1",
    ".endr",
    "6: pushad; cli; cld",
    "xor ebp, ebp; mov bp, sp; xor eax, eax; mov ax, ss; shl eax, 4; add ebp, eax",
    ".byte 0x2e, 0x66, 0x0f, 0x01, 0x16; .word {pointer} - {glue}",
    "mov eax, cr0; or al, 1; mov cr0, eax",
    ".byte 0x66, 0xea; .long modes_back; .word {code_32}",
    ".balign 8",
    "modes_vectors: .word {gates} * 4 - 1; .long {vectors}",
    "{pointer}: .word 0; .quad 0",
    "{end}:",
    ".code64",
    try_it = sym modes_try, resume = sym trap::RESUME, stack = sym STACK_POINTER, leave = sym modes_leave, saved = sym SAVED, selector = sym DATA_SELECTOR, report = sym REPORT, stubs = sym modes_stubs,
    stubs_16 = sym modes_stubs_16,
    glue = sym modes_glue, end = sym modes_end, pointer = sym modes_pointer, tables = sym paging::PML4, table = sym descriptors::TABLE,
    code = const CODE, data = const DATA, code_32 = const CODE_32, code_16 = const CODE_16, data_16 = const DATA_16,
    tss = const TSS_32, frame = const FRAME, low = const LOW, segment = const SEGMENT, gates = const GATES, vectors = const VECTORS,
);

unsafe extern "C" {
    fn modes_try(frame: *const [u64; 4], registers: *const [u32; 3]);
    fn modes_leave(real: u64, gates: *const Pointer);
    fn modes_stubs();
    fn modes_stubs_16();
    fn modes_glue();
    fn modes_pointer();
    fn modes_end();
}

/// Prepares all modes. Segments that a claim has added to [`descriptors`] are gone.
pub fn prepare() {
    descriptors::load();
    smp::place(LOW, modes_glue, modes_end);
    let within = |symbol: unsafe extern "C" fn()| {
        symbol as *const () as u64 - modes_glue as *const () as u64
    };
    let pointer = descriptors::pointer();
    // SAFETY: low memory that no one else uses; the pointer is the glue's.
    unsafe { ((LOW + within(modes_pointer)) as *mut Pointer).write_unaligned(pointer) };
    for n in 0..GATES as u64 {
        let stub = u32::from(SEGMENT) << 16 | (within(modes_stubs_16) + 8 * n) as u32;
        // SAFETY: as above.
        unsafe { ((VECTORS + 4 * n) as *mut u32).write_volatile(stub) };
        let open = n == u64::from(vector::BP.0);
        let rights = if open { 0xee00 } else { 0x8e00 };
        let stub = modes_stubs as *const () as u64 + 16 * n;
        set_gate(n as u8, descriptors::gate(CODE_32, stub as u32, rights));
    }
}

/// Sets a gate of the table that protected and virtual-8086 mode have.
pub fn set_gate(vector: u8, gate: u64) {
    assert!(usize::from(vector) < GATES);
    // SAFETY: within the table, which the processor alone reads.
    unsafe {
        (GATES_32.address() as *mut u64)
            .add(vector.into())
            .write_volatile(gate)
    };
}

/// Puts code where it is tried.
fn put(bytes: &[u8]) {
    assert!(bytes.len() < 0x800);
    for (at, byte) in (PLACE..).zip(bytes.iter().chain(&[END; 4])) {
        // SAFETY: low memory that no one else uses.
        unsafe { (at as *mut u8).write_volatile(*byte) };
    }
}

/// What came of it: the exception, and EAX after it in modes without IA-32e paging.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// What it raised: nothing, if it came through
    pub raised: Raised,
    /// Where, from its first byte on
    pub at: u64,
    /// Its code segment
    pub cs: u16,
    /// Flags
    pub flags: u64,
    /// EAX, ECX, EDX and EBX, where IA-32e paging is off
    pub registers: [u32; 4],
}

/// Tries an instruction, or several, with these registers.
#[must_use]
pub fn attempt_with(mode: Mode, bytes: &[u8], registers: Registers) -> Found {
    put(bytes);
    match mode {
        Long => in_ia32e(CODE, DATA, registers),
        LongUser => in_ia32e(USER_CODE, USER_DATA, registers),
        Compatibility => in_ia32e(CODE_32, DATA, registers),
        CompatibilityUser => in_ia32e(USER_CODE_32, USER_DATA, registers),
        _ => outside_ia32e(mode, registers),
    }
}

/// What an instruction raises.
#[must_use]
pub fn attempt(mode: Mode, bytes: &[u8]) -> Raised {
    attempt_with(mode, bytes, Registers::default()).raised
}

fn in_ia32e(cs: u16, ss: u16, registers: Registers) -> Found {
    let frame = [PLACE, cs.into(), u64::from(registers.eflags | 2), ss.into()];
    let start = [registers.eax, registers.ecx, registers.edx];
    // SAFETY: what is tried changes no memory of Rust's; it ends in an exception, behind which we go on with the stack as it was.
    unsafe { modes_try(&raw const frame, &raw const start) };
    let Some(trap) = trap::take() else {
        return Found {
            raised: None,
            at: u64::MAX,
            cs: 0,
            flags: 0,
            registers: [0; 4],
        };
    };
    Found {
        raised: came(trap.vector.0, trap.error_code),
        at: trap.rip.wrapping_sub(PLACE),
        cs: trap.cs as u16,
        flags: trap.rflags,
        registers: [0; 4],
    }
}

/// The end is none that counts.
fn came(vector: u8, error_code: u64) -> Raised {
    (vector != vector::BP.0).then_some((vector, error_code))
}

fn outside_ia32e(mode: Mode, registers: Registers) -> Found {
    let is_16 = matches!(mode, Protected16 | Virtual8086 | Real);
    let eip = if is_16 { OFFSET } else { PLACE as u32 };
    let (cs, data, eflags) = match mode {
        ProtectedUser => (USER_CODE_32, USER_DATA, 2),
        Protected16 => (CODE_16, DATA, 2),
        // RFLAGS.VM, and the privilege to raise interrupts
        Virtual8086 => (SEGMENT, DATA, 0x2_3002),
        Real => (SEGMENT, DATA, 2),
        _ => (CODE_32, DATA, 2),
    };
    let cs = registers.cs.unwrap_or(cs);
    let (esp, ss) = match mode {
        Virtual8086 => ((STACK - LOW) as u32, SEGMENT),
        _ => (STACK as u32, USER_DATA),
    };
    let eflags = eflags | registers.eflags;
    let data_16 = u32::from(SEGMENT);
    let frame = [
        0,
        0,
        0,
        0,
        0,
        registers.edx,
        registers.ecx,
        registers.eax,
        eip,
        u32::from(cs),
        eflags,
        esp,
        u32::from(ss),
        data_16,
        data_16,
        data_16,
        data_16,
    ];
    for (at, value) in (FRAME..).step_by(4).zip(frame) {
        // SAFETY: low memory that no one else uses.
        unsafe { (at as *mut u32).write_volatile(value) };
    }
    DATA_SELECTOR.store(data.into(), Ordering::Relaxed);
    let gates = Pointer::new(GATES_32.address(), GATES * 8);
    let busy = 2 << 40;
    descriptors::set(TSS_32, descriptors::get(TSS_32) & !busy);
    // SAFETY: all is prepared; it comes back with the stack as it was.
    unsafe { modes_leave(u64::from(mode == Real), &raw const gates) };
    trap::load();
    descriptors::set(TSS, descriptors::get(TSS) & !busy);
    // SAFETY: the task register as it was; its descriptor is free again.
    unsafe { asm!("ltr {:x}", in(reg) u32::from(TSS)) };
    let word = |n: u64| number(REPORT.address() + 4 * n, 4) as u32;
    let registers = [word(7), word(6), word(5), word(4)];
    let half = |n: u64| number(REPORT.address() + 32 + 2 * n, 2);
    if mode == Real {
        return Found {
            raised: came(half(0) as u8, 0),
            at: half(1).wrapping_sub(OFFSET.into()),
            cs: half(2) as u16,
            flags: half(3),
            registers,
        };
    }
    let vector = word(8) as u8;
    let coded = matches!(vector, 8 | 10..=14 | 17);
    let rest = 9 + u64::from(coded);
    Found {
        raised: came(vector, if coded { word(9).into() } else { 0 }),
        at: u64::from(word(rest).wrapping_sub(eip)),
        cs: word(rest + 1) as u16,
        flags: word(rest + 2).into(),
        registers,
    }
}

/// The 64-bit task state segment.
const TSS: u16 = segments::TSS;
