//! A piece of code run in any segments, ring and registers, up to the exception or the call by which it ends.
// UNSAFETY: loads all registers, and leaves by an exception.
#![allow(unsafe_code)]

use crate::segments::{CODE, DATA};
use crate::slot::Slot;
use crate::start::Pages;
use crate::trap::{Frame, Raised};
use crate::{cpu, user};
use core::arch::naked_asm;
use core::mem::offset_of;
use core::sync::atomic::{AtomicU64, Ordering};
use spec::cpu::Rflags;

/// Where a register is among [`State::gprs`].
pub mod gpr {
    /// R8
    pub const R8: usize = 7;
    /// RDI
    pub const RDI: usize = 8;
    /// RSI
    pub const RSI: usize = 9;
    /// RBP
    pub const RBP: usize = 10;
    /// RBX
    pub const RBX: usize = 11;
    /// RDX
    pub const RDX: usize = 12;
    /// RCX
    pub const RCX: usize = 13;
    /// RAX
    pub const RAX: usize = 14;
}

/// What code starts with.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct State {
    /// R15 to RAX
    pub gprs: [u64; 15],
    /// What IRETQ takes
    pub rip: u64,
    /// Code segment, and with it ring and size of code
    pub cs: u64,
    /// Flags
    pub rflags: u64,
    /// Stack pointer
    pub rsp: u64,
    /// Stack segment
    pub ss: u64,
    /// DS and ES
    pub data: [u64; 2],
    /// FS and GS, left alone if zero
    pub fs_gs: [u64; 2],
}

/// How it ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Found {
    /// R15 to RAX
    pub gprs: [u64; 15],
    /// The exception, or [`user::LEAVE`]
    pub vector: u8,
    /// Its error code
    pub error_code: u64,
    /// CR2
    pub cr2: u64,
    /// What came next
    pub rip: u64,
    /// Code segment
    pub cs: u64,
    /// Flags
    pub rflags: u64,
    /// Stack pointer
    pub rsp: u64,
}

impl Found {
    /// The exception, if it did not come to its end.
    #[must_use]
    pub fn raised(&self) -> Raised {
        (self.vector != user::LEAVE).then_some((self.vector, self.error_code))
    }
}

/// By which code says that it is done, in any ring and size of code.
pub const LEAVE: [u8; 2] = [0xcd, user::LEAVE];

/// A page for code and one for its stack, both below 4 GiB and open to ring 3.
pub static PLACE: Pages<4096> = Pages::new();
/// The stack grows down from its middle.
pub static OWN_STACK: Pages<4096> = Pages::new();

static ACTIVE: AtomicU64 = AtomicU64::new(0);
static STACK_POINTER: AtomicU64 = AtomicU64::new(0);
static FOUND: Slot<Option<Found>> = Slot::new(None);

impl State {
    /// Ring 0, 64 bits, all registers zero, at the beginning of [`PLACE`].
    #[must_use]
    pub fn new() -> Self {
        Self {
            gprs: [0; 15],
            rip: PLACE.address(),
            cs: CODE.into(),
            rflags: 2,
            rsp: OWN_STACK.address() + 2048,
            ss: DATA.into(),
            data: [DATA.into(); 2],
            fs_gs: [0; 2],
        }
    }

    /// In these segments.
    #[must_use]
    pub fn within(self, cs: u16, data: u16) -> Self {
        Self {
            cs: cs.into(),
            ss: data.into(),
            data: [data.into(); 2],
            ..self
        }
    }

    /// With a register.
    #[must_use]
    pub fn with(mut self, gpr: usize, value: u64) -> Self {
        self.gprs[gpr] = value;
        self
    }

    /// Puts code at a place within a segment that begins at `base`, [`LEAVE`] behind it, and runs it.
    ///
    /// # Panics
    /// If it is too long.
    #[must_use]
    pub fn run_at(mut self, base: u64, at: u64, code: &[u8]) -> Found {
        assert!(code.len() < 64);
        put(base + at, code);
        put(base + at + code.len() as u64, &LEAVE);
        self.rip = at;
        self.go()
    }

    /// The same in [`PLACE`], in a segment that begins at zero.
    #[must_use]
    pub fn run(self, code: &[u8]) -> Found {
        self.run_at(0, PLACE.address() + 0x100, code)
    }

    /// Runs what lies at RIP.
    ///
    /// # Panics
    /// If it does not come back in good order.
    #[must_use]
    pub fn go(self) -> Found {
        FOUND.set(None);
        ACTIVE.store(1, Ordering::Relaxed);
        // SAFETY: `take` brings back here from wherever it ends, with this stack; code that is probed keeps to memory of its own.
        unsafe { enter(&raw const self, STACK_POINTER.as_ptr()) };
        let found = FOUND.get();
        assert!(found.is_some(), "it came back by itself");
        found.unwrap_or(Found {
            gprs: [0; 15],
            vector: 0,
            error_code: 0,
            cr2: 0,
            rip: 0,
            cs: 0,
            rflags: 0,
            rsp: 0,
        })
    }
}

impl Default for State {
    fn default() -> Self {
        Self::new()
    }
}

/// Writes bytes that are code, or data, of probes.
pub fn put(at: u64, bytes: &[u8]) {
    for (n, byte) in bytes.iter().enumerate() {
        // SAFETY: memory of probes, which holds nothing that the compiler knows of.
        unsafe { ((at + n as u64) as *mut u8).write_volatile(*byte) };
    }
}

/// Ends the probe that is active, if one is.
pub(crate) fn take(frame: &mut Frame) -> bool {
    if ACTIVE.swap(0, Ordering::Relaxed) == 0 {
        return false;
    }
    FOUND.set(Some(Found {
        gprs: frame.gprs,
        vector: frame.vector as u8,
        error_code: frame.error_code,
        cr2: cpu::cr2(),
        rip: frame.rip,
        cs: frame.cs,
        rflags: frame.rflags,
        rsp: frame.rsp,
    }));
    frame.rip = leave as *const () as u64;
    frame.cs = CODE.into();
    frame.ss = DATA.into();
    frame.rsp = STACK_POINTER.load(Ordering::Relaxed);
    frame.rflags = Rflags::FIXED.bits();
    true
}

#[unsafe(naked)]
unsafe extern "C" fn enter(state: *const State, stack_pointer: *mut u64) {
    naked_asm!(
        "push rbx; push rbp; push r12; push r13; push r14; push r15",
        "mov [rsi], rsp",
        "mov ds, word ptr [rdi + {data}]",
        "mov es, word ptr [rdi + {data} + 8]",
        "mov rax, [rdi + {fs_gs}]",
        "test eax, eax",
        "jz 2f",
        "mov fs, eax",
        "2:",
        "mov rax, [rdi + {fs_gs} + 8]",
        "test eax, eax",
        "jz 3f",
        "mov gs, eax",
        "3:",
        "push [rdi + {rip} + 32]; push [rdi + {rip} + 24]; push [rdi + {rip} + 16]; push [rdi + {rip} + 8]; push [rdi + {rip}]",
        "mov r15, [rdi]; mov r14, [rdi + 8]; mov r13, [rdi + 16]; mov r12, [rdi + 24]; mov r11, [rdi + 32]",
        "mov r10, [rdi + 40]; mov r9, [rdi + 48]; mov r8, [rdi + 56]; mov rsi, [rdi + 72]; mov rbp, [rdi + 80]",
        "mov rbx, [rdi + 88]; mov rdx, [rdi + 96]; mov rcx, [rdi + 104]; mov rax, [rdi + 112]; mov rdi, [rdi + 64]",
        "iretq",
        data = const offset_of!(State, data),
        fs_gs = const offset_of!(State, fs_gs),
        rip = const offset_of!(State, rip),
    )
}

/// Goes on behind the call of [`enter`].
#[unsafe(naked)]
extern "C" fn leave() {
    naked_asm!(
        "mov eax, {data}",
        "mov ds, eax; mov es, eax; mov fs, eax; mov gs, eax",
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
        "ret",
        data = const DATA,
    )
}
