//! Runs one instruction on the processor that runs this.
//!
//! A breakpoint brings us into a signal handler, which changes the registers that it returns to: those of the instruction, with the flag
//! for a trap after it. That trap, or the instruction's own fault, brings the handler again, which keeps what it finds and puts the
//! registers of the first time back. So no state of the instruction can harm ours, as long as it writes nothing of ours: the addresses of
//! its data lie where Linux puts nothing by itself.

// UNSAFETY: maps memory at fixed addresses, and has signal handlers that run machine code in it.
#![allow(unsafe_code)]

use super::{
    CODE, CODE_32, CODE_64, DATA, DATA_32, DATA_LEN, FLAGS, INSTRUCTION, PAGE, READ_ONLY, STACK,
    State,
};
use core::cell::UnsafeCell;
use core::ffi::{c_int, c_void};
use libc::{siginfo_t, ucontext_t};
use spec::cpu::{Rflags, vector};

/// What the page holds that cannot be written.
pub(super) const READ_ONLY_WORD: [u8; 8] = 0x0123_4567_89ab_cdefu64.to_le_bytes();

/// Linux keeps what is from here on to itself: the upper half, and the last page of the lower.
pub(super) const END_OF_USER: u64 = 0x7fff_ffff_f000;

/// A breakpoint in one byte
const INT3: u8 = 0xcc;

/// The instruction and what stands behind it, which it may read: breakpoints, as far as the longest of another input could reach.
pub(super) fn code(bytes: &[u8]) -> [u8; 32] {
    let mut code = [INT3; 32];
    code[..bytes.len()].copy_from_slice(bytes);
    code
}

/// A fault, as Linux tells it.
#[derive(Clone, Copy)]
pub(super) struct Fault {
    vector: i64,
    error_code: i64,
    address: i64,
}

/// Vector, error code and, of a page fault, the address.
pub(super) type Seen = (u8, u32, Option<u64>);

impl Fault {
    pub(super) fn seen(self) -> Seen {
        let address = (self.vector == vector::PF.0.into()).then_some(self.address as u64);
        seen_of(self.vector as u8, self.error_code as u32, address)
    }
}

/// The same of the emulator's.
pub(super) fn seen(fault: emul::Fault) -> Seen {
    seen_of(fault.vector.0, fault.error_code.unwrap_or(0), fault.cr2)
}

fn seen_of(vector: u8, error_code: u32, address: Option<u64>) -> Seen {
    // Linux tells nobody whether something of its own is there.
    let of_linux = address.is_some_and(|address| address >= END_OF_USER);
    (vector, error_code | u32::from(of_linux), address)
}

/// How the general-purpose registers stand in a signal's frame, by their numbers.
const GPRS: [c_int; 16] = [
    libc::REG_RAX,
    libc::REG_RCX,
    libc::REG_RDX,
    libc::REG_RBX,
    libc::REG_RSP,
    libc::REG_RBP,
    libc::REG_RSI,
    libc::REG_RDI,
    libc::REG_R8,
    libc::REG_R9,
    libc::REG_R10,
    libc::REG_R11,
    libc::REG_R12,
    libc::REG_R13,
    libc::REG_R14,
    libc::REG_R15,
];

const SIGNALS: [c_int; 5] = [
    libc::SIGSEGV,
    libc::SIGBUS,
    libc::SIGILL,
    libc::SIGFPE,
    libc::SIGTRAP,
];

/// What the handler does at the next signal.
#[derive(Clone, Copy, PartialEq)]
enum Stage {
    /// It is none of ours.
    Foreign,
    /// Start the instruction.
    Start,
    /// The instruction has ended.
    End,
}

type Registers = [i64; 23];

struct Shared {
    stage: Stage,
    /// Those of the instruction, before and after
    registers: Registers,
    /// Ours meanwhile
    ours: Registers,
    mask: libc::sigset_t,
    /// Who had the signals before
    before: [libc::sigaction; SIGNALS.len()],
}

struct Cell(UnsafeCell<core::mem::MaybeUninit<Shared>>);

// SAFETY: only the one thread that fuzzes, and the handler of its own signals meanwhile, ever look into it.
unsafe impl Sync for Cell {}

static SHARED: Cell = Cell(UnsafeCell::new(core::mem::MaybeUninit::zeroed()));

fn shared() -> *mut Shared {
    SHARED.0.get().cast()
}

/// The memory at the fixed addresses, and the handlers.
pub(super) struct Native(());

impl Native {
    pub(super) fn new() -> Self {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        map(DATA, DATA_LEN, rw);
        map(STACK, PAGE, rw);
        map(CODE, PAGE, rw | libc::PROT_EXEC);
        let page = READ_ONLY_WORD.repeat(PAGE / 8);
        let read_only = DATA + (READ_ONLY * PAGE) as u64;
        write(read_only, &page);
        // SAFETY: it is of the mapping just made.
        let protected = unsafe { libc::mprotect(read_only as *mut c_void, PAGE, libc::PROT_READ) };
        assert_eq!(protected, 0);
        handle_signals();
        // SAFETY: 64-bit code uses neither of them, and Linux keeps them for us.
        unsafe {
            core::arch::asm!("mov ds, {0:x}", "mov es, {0:x}", in(reg) u64::from(DATA_32), options(nomem, nostack));
        }
        Self(())
    }

    /// Runs one instruction; gives RIP afterwards and its fault. The state is that afterwards.
    pub(super) fn run(
        &mut self,
        bytes: &[u8],
        is_repeated: bool,
        state: &mut State,
    ) -> (u64, Option<Fault>) {
        for (n, page) in state.data.chunks_exact(PAGE).enumerate() {
            if n != READ_ONLY {
                write(DATA + (n * PAGE) as u64, page);
            }
        }
        write(STACK, &*state.stack);
        write(INSTRUCTION, &code(bytes));
        let mut registers = [0; 23];
        for (at, value) in GPRS.iter().zip(state.gprs) {
            registers[*at as usize] = value as i64;
        }
        registers[libc::REG_RIP as usize] = INSTRUCTION as i64;
        // A repeated instruction would trap after each element; it meets the breakpoint behind it.
        let step = if is_repeated { 0 } else { Rflags::TF.bits() };
        registers[libc::REG_EFL as usize] = (state.rflags | step) as i64;
        let code = if state.is_32 { CODE_32 } else { CODE_64 };
        // CS, GS, FS, SS: 16 bits each.
        registers[libc::REG_CSGSFS as usize] = i64::from(code) | i64::from(DATA_32) << 48;
        // SAFETY: the handler looks into it only at a signal, which the breakpoint below is the first to raise.
        unsafe {
            (*shared()).registers = registers;
            (*shared()).stage = Stage::Start;
        }
        // SAFETY: the handler brings all registers and flags back as they are here. Of our memory, the instruction writes only what
        // nothing here has a reference to.
        unsafe { core::arch::asm!("int3") };
        // SAFETY: as above; it is done.
        let registers = unsafe { (*shared()).registers };
        for (at, value) in GPRS.iter().zip(&mut state.gprs) {
            *value = registers[*at as usize] as u64;
        }
        state.rflags = registers[libc::REG_EFL as usize] as u64 & FLAGS;
        read(DATA, &mut *state.data);
        read(STACK, &mut *state.stack);
        let rip = registers[libc::REG_RIP as usize] as u64;
        let fault = Fault {
            vector: registers[libc::REG_TRAPNO as usize],
            error_code: registers[libc::REG_ERR as usize],
            address: registers[libc::REG_CR2 as usize],
        };
        match fault.vector {
            // The breakpoint lies behind the instruction.
            n if n == vector::BP.0.into() && is_repeated => (rip - 1, None),
            n if n == vector::DB.0.into() => (rip, None),
            _ => (rip, Some(fault)),
        }
    }
}

fn map(at: u64, len: usize, protection: c_int) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: NOREPLACE takes nothing that is in use.
    let got = unsafe { libc::mmap(at as *mut c_void, len, protection, flags, -1, 0) };
    assert_eq!(got as u64, at, "{}", std::io::Error::last_os_error());
}

fn write(at: u64, bytes: &[u8]) {
    // SAFETY: callers write within the mappings of `Native::new`, which nothing else refers to.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) }
}

fn read(at: u64, into: &mut [u8]) {
    // SAFETY: as for `write`.
    unsafe { core::ptr::copy_nonoverlapping(at as *const u8, into.as_mut_ptr(), into.len()) }
}

fn handle_signals() {
    const STACK_LEN: usize = 64 << 10;
    let stack = Box::leak(vec![0u8; STACK_LEN].into_boxed_slice());
    let stack = libc::stack_t {
        ss_sp: stack.as_mut_ptr().cast(),
        ss_flags: 0,
        ss_size: STACK_LEN,
    };
    // SAFETY: the stack lasts for ever; the handler is of the kind that SA_SIGINFO wants, and passes on what it does not know.
    unsafe {
        assert_eq!(
            libc::sigaltstack(&raw const stack, core::ptr::null_mut()),
            0
        );
        for (n, signal) in SIGNALS.into_iter().enumerate() {
            let mut action: libc::sigaction = core::mem::zeroed();
            action.sa_sigaction = on_signal as *const () as usize;
            action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
            let before = &raw mut (*shared()).before[n];
            assert_eq!(libc::sigaction(signal, &raw const action, before), 0);
        }
    }
}

extern "C" fn on_signal(signal: c_int, info: *mut siginfo_t, context: *mut c_void) {
    let context: *mut ucontext_t = context.cast();
    // SAFETY: Linux gives a frame that is ours until we return. What is shared nobody else looks into meanwhile: the signal came from
    // this thread's own instruction.
    let (shared, context) = unsafe { (&mut *shared(), &mut *context) };
    let registers = &mut context.uc_mcontext.gregs;
    match shared.stage {
        Stage::Start => {
            shared.ours = *registers;
            shared.mask = context.uc_sigmask;
            *registers = shared.registers;
            // The instruction's stack is none: nothing else may come meanwhile.
            // SAFETY: it is a set of signals.
            unsafe {
                libc::sigfillset(&raw mut context.uc_sigmask);
                for signal in SIGNALS {
                    libc::sigdelset(&raw mut context.uc_sigmask, signal);
                }
            }
            shared.stage = Stage::End;
        }
        Stage::End => {
            shared.registers = *registers;
            *registers = shared.ours;
            context.uc_sigmask = shared.mask;
            shared.stage = Stage::Foreign;
        }
        Stage::Foreign => {
            // Whoever had it before: the fuzzer, which keeps the input.
            let n = SIGNALS.iter().position(|&n| n == signal).unwrap_or(0);
            // SAFETY: it is what `sigaction` gave; the instruction that raised the signal raises it again.
            unsafe {
                libc::sigaction(signal, &raw const shared.before[n], core::ptr::null_mut());
                let _ = info;
            }
        }
    }
}
