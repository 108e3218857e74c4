//! Exceptions: an instruction that is expected to fault goes on behind itself, and one can look at what it raised.
// UNSAFETY: the interrupt descriptor table and its stubs.
#![allow(unsafe_code)]

use crate::segments::{self, Pointer};
use crate::slot::Slot;
use crate::start::Pages;
use crate::{cpu, interrupt, power, probe, say, smp, steps, user};
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU64, Ordering};
use spec::Vector;
use spec::cpu::{Rflags, vector};

/// An exception as its handler found it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Trap {
    /// Which
    pub vector: Vector,
    /// Its error code, 0 for those that have none
    pub error_code: u64,
    /// The instruction that was to be executed next
    pub rip: u64,
    /// The code segment, with the privilege level
    pub cs: u64,
    /// Flags
    pub rflags: u64,
    /// CR2, which only page faults set
    pub cr2: u64,
}

/// What an attempt raised: vector and error code.
pub type Raised = Option<(u8, u64)>;
/// #UD
pub const UD: Raised = Some((vector::UD.0, 0));
/// #GP(0)
pub const GP0: Raised = Some((vector::GP.0, 0));

/// What came of an attempt: nothing, if it came through.
pub fn raised<T>(attempt: Result<T, Trap>) -> Raised {
    attempt.err().map(|trap| (trap.vector.0, trap.error_code))
}

/// What the stubs leave on the stack.
#[repr(C)]
pub struct Frame {
    /// R15 to RAX
    pub gprs: [u64; 15],
    /// Which of the 256
    pub vector: u64,
    /// Error code, or 0
    pub error_code: u64,
    /// What IRETQ takes, from here on
    pub rip: u64,
    /// Code segment
    pub cs: u64,
    /// Flags
    pub rflags: u64,
    /// Stack pointer
    pub rsp: u64,
    /// Stack segment
    pub ss: u64,
}

/// Where an exception goes on, by processor; 0 if none is expected. [`attempt!`] sets the first's.
pub static RESUME: [AtomicU64; smp::MOST] = [const { AtomicU64::new(0) }; smp::MOST];
static LAST: [Slot<Option<Trap>>; smp::MOST] = [const { Slot::new(None) }; smp::MOST];

/// The exception on this processor since the last call, if there was one.
pub fn take() -> Option<Trap> {
    let here = smp::here();
    RESUME[here].store(0, Ordering::Relaxed);
    let last = LAST[here].get();
    LAST[here].set(None);
    last
}

/// Reads a byte, on any processor.
///
/// # Errors
/// The exception.
pub fn read8(address: u64) -> Result<u8, Trap> {
    let byte: u64;
    // SAFETY: reads, or faults; nothing of Rust's is changed.
    unsafe {
        asm!("lea {scratch}, [rip + 77f]", "mov [{resume}], {scratch}", "movzx {byte:e}, byte ptr [{address}]", "77:",
            scratch = out(reg) _, resume = in(reg) RESUME[smp::here()].as_ptr(), address = in(reg) address,
            byte = inout(reg) 0u64 => byte, options(nostack));
    }
    take().map_or(Ok(byte as u8), Err)
}

/// Executes an instruction that may fault, with operands as `asm!` has them: `Err` is the exception. It must leave R11
/// and the stack pointer alone; `options` cannot be given. On the first processor only.
///
/// # Safety
/// As for the instruction.
#[macro_export]
macro_rules! attempt {
    ($($instruction:literal)+ $(, $($operand:tt)*)?) => {{
        core::arch::asm!(
            "lea r11, [rip + 77f]",
            "mov [rip + {resume}], r11",
            $($instruction,)+
            "77:",
            resume = sym $crate::trap::RESUME,
            out("r11") _,
            $($($operand)*)?
        );
        match $crate::trap::take() {
            None => Ok(()),
            Some(trap) => Err(trap),
        }
    }};
}

extern "C" fn on_trap(frame: &mut Frame) {
    let vector = Vector(frame.vector as u8);
    if vector != vector::NMI && probe::take(frame) {
        return;
    }
    if vector.0 == user::LEAVE && frame.cs & 3 == 3 {
        resume(frame);
        return;
    }
    if vector.0 >= 32 || vector == vector::NMI {
        interrupt::on_interrupt(vector, frame);
        return;
    }
    if vector == vector::DB && steps::take(frame.rip, cpu::dr6()) {
        cpu::clear_dr6();
        return;
    }
    let trap = Trap {
        vector,
        error_code: frame.error_code,
        rip: frame.rip,
        cs: frame.cs,
        rflags: frame.rflags,
        cr2: cpu::cr2(),
    };
    let here = smp::here();
    if RESUME[here].load(Ordering::Relaxed) == 0 || LAST[here].get().is_some() {
        let _ = crate::verdict::broken(file!(), line!(), format_args!("{trap:x?}"));
        say!("guest: done early");
        power::off();
    }
    LAST[here].set(Some(trap));
    resume(frame);
}

/// Goes on where [`RESUME`] says, in ring 0.
fn resume(frame: &mut Frame) {
    frame.rip = RESUME[smp::here()].load(Ordering::Relaxed);
    frame.rflags &= !(Rflags::TF | Rflags::NT).bits();
    if frame.cs & 3 == 3 || frame.vector == u64::from(vector::DF.0) {
        frame.rsp = user::STACK_POINTER.load(Ordering::Relaxed);
    }
    frame.cs = segments::CODE.into();
    frame.ss = segments::DATA.into();
}

// A stub has 16 bytes. Those of vectors for which the processor pushes no error code push a zero.
global_asm!(
    // What uses it may be in another object file.
    ".global {stubs}",
    ".balign 16",
    "{stubs}:",
    ".set n, 0",
    ".rept 256",
    ".balign 16",
    ".if !(n == 8 || (n >= 10 && n <= 14) || n == 17 || n == 21 || n == 29 || n == 30)",
    "push 0",
    ".endif",
    "push n",
    "jmp {common}",
    ".set n, n + 1",
    ".endr",
    "{common}:",
    "push rax; push rcx; push rdx; push rbx; push rbp; push rsi; push rdi; push r8",
    "push r9; push r10; push r11; push r12; push r13; push r14; push r15",
    "cld",
    "mov rdi, rsp",
    "call {on_trap}",
    "pop r15; pop r14; pop r13; pop r12; pop r11; pop r10; pop r9; pop r8",
    "pop rdi; pop rsi; pop rbp; pop rbx; pop rdx; pop rcx; pop rax",
    "add rsp, 16",
    "iretq",
    stubs = sym stubs,
    common = sym common,
    on_trap = sym on_trap,
);

unsafe extern "C" {
    fn stubs();
    fn common();
}

static IDT: Pages<4096> = Pages::new();

/// Fills the interrupt descriptor table and loads it.
pub fn install() {
    let first = stubs as *const () as u64;
    let table = IDT.address() as *mut [u64; 2];
    for n in 0..256u64 {
        let stub = first + 16 * n;
        let open = matches!(n as u8, 3 | 4 | user::LEAVE);
        let rights = 0x8e00 | if open { 0x6000 } else { 0 };
        let ist = if n == u64::from(vector::DF.0) {
            segments::IST_DOUBLE_FAULT
        } else {
            0
        };
        // SDM vol. 3, "64-Bit Mode IDT": an interrupt gate.
        let low = stub & 0xffff
            | u64::from(segments::CODE) << 16
            | u64::from(ist) << 32
            | rights << 32
            | (stub >> 16 & 0xffff) << 48;
        // SAFETY: 256 entries of 16 bytes fill the page.
        unsafe { table.add(n as usize).write_volatile([low, stub >> 32]) };
    }
    load();
}

/// The two halves of a gate.
#[must_use]
pub fn gate(vector: u8) -> [u64; 2] {
    // SAFETY: 256 entries fill the table, which the processor alone reads.
    unsafe {
        (IDT.address() as *const [u64; 2])
            .add(vector.into())
            .read_volatile()
    }
}

/// Puts another gate in its place.
pub fn set_gate(vector: u8, gate: [u64; 2]) {
    // SAFETY: as above.
    unsafe {
        (IDT.address() as *mut [u64; 2])
            .add(vector.into())
            .write_volatile(gate)
    };
}

/// Loads the table that [`install`] has filled.
pub(crate) fn load() {
    let pointer = Pointer::new(IDT.address(), 4096);
    // SAFETY: the table was just filled, and stays.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer) };
}

/// Takes the interrupt descriptor table away: the next exception is a triple fault.
pub fn uninstall() {
    let pointer = Pointer::new(IDT.address(), 1);
    // SAFETY: ends the machine, at worst.
    unsafe { asm!("lidt [{}]", in(reg) &raw const pointer) };
}
