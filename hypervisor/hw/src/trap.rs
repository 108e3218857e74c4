//! Host exceptions and interrupts: 256 stubs, one handler.
// UNSAFETY: the entry code of exceptions, and the hook that it calls.
#![allow(unsafe_code)]

use crate::apic::SPURIOUS;
use crate::core_local::CoreLocal;
use crate::{cpuid, msr};
use core::arch::naked_asm;
use core::fmt;
use core::sync::atomic::{AtomicPtr, Ordering};
use spec::Vector;
use spec::apic::FIRST_VECTOR;
use spec::cpu::{Gprs, Rflags, vector};
use spec::cpuid::Leaf1Edx;
use spec::msr::{MCG_STATUS, McgStatus};

/// What was pushed when the host trapped: by our stub first, then by the processor (SDM vol. 3, "64-Bit Mode Stack
/// Frame").
#[derive(Debug)]
#[repr(C)]
pub struct Frame {
    /// General registers; RSP's slot is not used
    pub gprs: Gprs,
    /// Vector
    pub vector: u64,
    /// Error code, zero where the vector has none
    pub error_code: u64,
    /// Where
    pub rip: u64,
    /// Code selector
    pub cs: u64,
    /// Flags
    pub rflags: u64,
    /// Stack pointer
    pub rsp: u64,
    /// Stack selector
    pub ss: u64,
}

const _: () = assert!(core::mem::offset_of!(Frame, vector) == 128);

impl fmt::Display for Frame {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "host exception vector={} error={:#x} rip={:#x} rsp={:#x} rflags={:#x} cr2={:#x} {}",
            self.vector,
            self.error_code,
            self.rip,
            self.rsp,
            self.rflags,
            crate::control::cr2(),
            self.gprs
        )
    }
}

/// Who is told of an exception of the host, which never returns to where it was.
pub type Fatal = fn(&Frame) -> !;

static FATAL: AtomicPtr<()> = AtomicPtr::new(core::ptr::null_mut());

/// Names who is told of host exceptions. Without one the core is parked silently.
pub fn on_fatal(f: Fatal) {
    FATAL.store(f as *mut (), Ordering::Release);
}

/// What a vector other than an NMI's stands for.
#[derive(PartialEq, Eq, Debug)]
enum Kind {
    Interrupt,
    Spurious,
    Exception,
}

/// Tells the local APIC's interrupts from exceptions. It may raise any vector from 16 up, and guests may send any to the core of
/// another guest (SDM vol. 3, "Valid Interrupt Vectors"). Interrupts are open only around the instructions of `idle`, none of which
/// raises an exception; only a machine check can strike there too, and says so in a register.
fn kind(v: Vector, rflags: u64, machine_check: impl FnOnce() -> bool) -> Kind {
    let open = Rflags::from_bits_retain(rflags).contains(Rflags::IF);
    match v {
        SPURIOUS if open => Kind::Spurious,
        vector::MC if open && !machine_check() => Kind::Interrupt,
        vector::MC => Kind::Exception,
        Vector(32..) => Kind::Interrupt,
        Vector(FIRST_VECTOR..) if open => Kind::Interrupt,
        _ => Kind::Exception,
    }
}

fn machine_check_in_progress() -> bool {
    Leaf1Edx::from_bits_retain(cpuid::leaf(1, 0)[3]).contains(Leaf1Edx::MCA)
        // SAFETY: the register exists where there is a machine-check architecture.
        && McgStatus::from_bits_retain(unsafe { msr::read(MCG_STATUS) }).contains(McgStatus::MCIP)
}

/// Exceptions with an error code whose vectors interrupts may have too, without one.
fn may_bring_error_code(v: u64) -> bool {
    matches!(v, 17 | 21 | 29 | 30)
}

impl Frame {
    /// Puts an exception's words where they belong, if its stub took it for an interrupt and its error code for RIP. SS is not known
    /// then.
    fn find_error_code(&mut self) {
        if may_bring_error_code(self.vector) {
            self.error_code = self.rip;
            self.rip = self.cs;
            self.cs = self.rflags;
            self.rflags = self.rsp;
            self.rsp = self.ss;
            self.ss = 0;
        }
    }
}

extern "C" fn trap(frame: &mut Frame) {
    let v = Vector(frame.vector as u8);
    if v == vector::NMI {
        // A kick. It may strike anywhere, also where a lock is held or the registers are a guest's: it only sets its flag, and
        // leads the core out of where that would be seen too late.
        if let Some(core) = CoreLocal::current() {
            core.note_kick();
        }
        let [hlt, mwait] = crate::idle::gaps();
        let ways = [crate::entry::gap(), hlt, mwait].map(|gap| gap.way_out(frame.rip));
        if let Some(rip) = ways.into_iter().flatten().next() {
            frame.rip = rip;
        }
        return;
    }
    match kind(v, frame.rflags, machine_check_in_progress) {
        Kind::Interrupt => {
            if let Some(core) = CoreLocal::current() {
                core.note(v);
            }
            return;
        }
        Kind::Spurious => return,
        Kind::Exception => frame.find_error_code(),
    }
    let f = FATAL.load(Ordering::Acquire);
    if !f.is_null() {
        // SAFETY: only `on_fatal` stores here, and it stores a `Fatal`.
        let f: Fatal = unsafe { core::mem::transmute(f) };
        f(frame);
    }
    crate::core_local::park()
}

/// Ends the blocking of NMIs that an exit for an NMI has left behind: only IRET does (SDM vol. 3, "Handling Multiple NMIs").
/// One that came since then is taken right here, and notes its kick.
pub fn unblock_nmis() {
    // SAFETY: returns to the next instruction with the same stack, flags and selectors.
    unsafe {
        core::arch::asm!(
            "mov {t}, ss",
            "push {t}",
            "lea {t}, [rsp + 8]",
            "push {t}",
            "pushfq",
            "mov {t}, cs",
            "push {t}",
            "lea {t}, [rip + 2f]",
            "push {t}",
            "iretq",
            "2:",
            t = out(reg) _,
        );
    }
}

/// Address of the stub for a vector. Stubs are 16 bytes each.
#[must_use]
pub fn stub_address(v: u8) -> u64 {
    stubs as *const () as u64 + 16 * u64::from(v)
}

/// 256 stubs, each of which leaves an error code and the vector on the stack and goes on to [`common`]. Vectors 8 and 10 to 14
/// bring their error code (SDM vol. 3, "Exception and Interrupt Reference"); from 16 up, none is expected: an exception there ends
/// in [`on_fatal`]'s function, an interrupt returns.
#[unsafe(naked)]
unsafe extern "C" fn stubs() {
    naked_asm!(
        ".set n, 0",
        ".rept 256",
        ".balign 16",
        ".if n == 8 || (n >= 10 && n <= 14)",
        ".else",
        "push 0",
        ".endif",
        ".byte 0x68", // push imm32, spelt out so that every stub has the same shape
        ".long n",
        "jmp {common}",
        ".set n, n + 1",
        ".endr",
        common = sym common,
    )
}

#[unsafe(naked)]
unsafe extern "C" fn common() {
    naked_asm!(
        "sub rsp, 128",
        "mov [rsp + 0], rax",
        "mov [rsp + 8], rcx",
        "mov [rsp + 16], rdx",
        "mov [rsp + 24], rbx",
        "mov [rsp + 40], rbp",
        "mov [rsp + 48], rsi",
        "mov [rsp + 56], rdi",
        "mov [rsp + 64], r8",
        "mov [rsp + 72], r9",
        "mov [rsp + 80], r10",
        "mov [rsp + 88], r11",
        "mov [rsp + 96], r12",
        "mov [rsp + 104], r13",
        "mov [rsp + 112], r14",
        "mov [rsp + 120], r15",
        "cld",
        "mov rdi, rsp",
        // The C convention wants RSP aligned to 16 at a call; what was pushed is an odd number of words.
        "mov rbp, rsp",
        "and rsp, -16",
        "call {trap}",
        "mov rsp, rbp",
        "mov rax, [rsp + 0]",
        "mov rcx, [rsp + 8]",
        "mov rdx, [rsp + 16]",
        "mov rbx, [rsp + 24]",
        "mov rbp, [rsp + 40]",
        "mov rsi, [rsp + 48]",
        "mov rdi, [rsp + 56]",
        "mov r8, [rsp + 64]",
        "mov r9, [rsp + 72]",
        "mov r10, [rsp + 80]",
        "mov r11, [rsp + 88]",
        "mov r12, [rsp + 96]",
        "mov r13, [rsp + 104]",
        "mov r14, [rsp + 112]",
        "mov r15, [rsp + 120]",
        "add rsp, 128 + 16",
        "iretq",
        trap = sym trap,
    )
}

#[cfg(test)]
mod tests;
