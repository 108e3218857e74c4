//! Runs an instruction on the processor that runs the tests.
//!
//! Linux gives every 64-bit process the selectors of flat 32-bit code and data as well, so compatibility mode is
//! within reach, too.

// UNSAFETY: maps memory at fixed addresses and calls machine code in it.
#![allow(unsafe_code)]

use super::instruction::State;
use core::ffi::c_void;
use std::sync::{Mutex, OnceLock};
use std::vec::Vec;

/// Operands lie here: emulated memory for the emulator.
pub(super) const DATA: u64 = 0x1000_0000;
pub(super) const DATA_LEN: usize = 4 * 4096;
/// The stack, RAM for both.
pub(super) const STACK: u64 = 0x1010_0000;
pub(super) const STACK_LEN: usize = 4096;
/// The instruction under test begins here.
pub(super) const INSTRUCTION: u64 = 0x1020_0800;
const CODE: u64 = 0x1020_0000;
/// Registers in and out, the flags, and what the caller wants back.
const CONTEXT: u64 = 0x1030_0000;
const OUT: u64 = CONTEXT + 0x80;
const FLAGS: u64 = CONTEXT + 0x100;
const FLAGS_OUT: u64 = CONTEXT + 0x108;
const CALLER: u64 = CONTEXT + 0x110;
const SEGMENTS: u64 = CONTEXT + 0x118;
const FAR: u64 = CONTEXT + 0x120;

/// Selectors that Linux gives user processes.
const CODE_64: u16 = 0x33;
const CODE_32: u16 = 0x23;
const DATA_32: u32 = 0x2b;

const PAGE: usize = 4096;

/// Machine code in the making.
#[derive(Default)]
struct Assembly(Vec<u8>);

impl Assembly {
    fn put(&mut self, bytes: &[u8]) -> &mut Self {
        self.0.extend_from_slice(bytes);
        self
    }

    /// An instruction's bytes and then a 32-bit address or constant.
    fn with(&mut self, bytes: &[u8], value: u64) -> &mut Self {
        self.put(bytes)
            .put(&u32::try_from(value).unwrap().to_le_bytes())
    }

    /// MOV between a 64-bit register and memory at an absolute address.
    fn mov(&mut self, opcode: u8, register: u8, at: u64) -> &mut Self {
        let rex = 0x48 | (register >> 3) << 2;
        self.with(&[rex, opcode, 4 | (register & 7) << 3, 0x25], at)
    }

    /// MOV between a 32-bit register and memory at an absolute address, in 32-bit code.
    fn mov_32(&mut self, opcode: u8, register: u8, at: u64) -> &mut Self {
        self.with(&[opcode, 5 | register << 3], at)
    }
}

const LOAD: u8 = 0x8b;
const STORE: u8 = 0x89;

/// What comes before the instruction: the caller's registers saved, flags and registers loaded.
fn prologue(is_32: bool) -> Vec<u8> {
    let mut a = Assembly::default();
    // push rbx, rbp, r12 to r15, flags; rsp and the data segments kept.
    a.put(&[
        0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57, 0x9c,
    ]);
    a.mov(STORE, 4, CALLER);
    if is_32 {
        // mov eax, ds; its word and that of es stored; both loaded with flat data.
        a.put(&[0x8c, 0xd8])
            .mov(STORE, 0, SEGMENTS)
            .put(&[0x8c, 0xc0]);
        a.with(&[0x89, 0x04, 0x25], SEGMENTS + 4);
        a.with(&[0xb8], u64::from(DATA_32))
            .put(&[0x8e, 0xd8, 0x8e, 0xc0]);
        // jmp far [FAR]
        a.with(&[0xff, 0x2c, 0x25], FAR);
        a.with(&[0xbc], FLAGS).put(&[0x9d]);
        for register in 0..8 {
            a.mov_32(LOAD, register, CONTEXT + 8 * u64::from(register));
        }
    } else {
        // mov rsp, FLAGS; popfq
        a.with(&[0x48, 0xc7, 0xc4], FLAGS).put(&[0x9d]);
        for register in 0..16 {
            a.mov(LOAD, register, CONTEXT + 8 * u64::from(register));
        }
    }
    a.0
}

/// Where the 32-bit part of the prologue begins, from its end back.
fn length_32() -> u64 {
    5 + 1 + 8 * 6
}

/// What comes after: registers and flags stored, the caller's restored, return.
fn epilogue(is_32: bool, at: u64) -> Vec<u8> {
    let mut a = Assembly::default();
    if is_32 {
        for register in 0..8 {
            a.mov_32(STORE, register, OUT + 8 * u64::from(register));
        }
        // mov esp, end of FLAGS_OUT; pushfd; jmp far back
        a.with(&[0xbc], FLAGS_OUT + 4).put(&[0x9c]);
        let next = at + a.0.len() as u64 + 7;
        a.with(&[0xea], next).put(&CODE_64.to_le_bytes());
        // mov eax, [SEGMENTS]; mov ds, eax; the same for es
        a.with(&[0x8b, 0x04, 0x25], SEGMENTS).put(&[0x8e, 0xd8]);
        a.with(&[0x8b, 0x04, 0x25], SEGMENTS + 4).put(&[0x8e, 0xc0]);
    } else {
        for register in 0..16 {
            a.mov(STORE, register, OUT + 8 * u64::from(register));
        }
        a.with(&[0x48, 0xc7, 0xc4], FLAGS_OUT + 8).put(&[0x9c]);
    }
    a.mov(LOAD, 4, CALLER);
    a.put(&[
        0x9d, 0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3,
    ]);
    a.0
}

/// The memory at the fixed addresses, one user at a time.
struct Native(());

fn map(at: u64, len: usize, protection: i32) {
    let flags = libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE;
    // SAFETY: NOREPLACE takes nothing that is in use, and the addresses are below where Linux puts a process's own
    // mappings.
    let got = unsafe { libc::mmap(at as *mut c_void, len, protection, flags, -1, 0) };
    assert_eq!(got as u64, at, "{}", std::io::Error::last_os_error());
}

fn native() -> &'static Mutex<Native> {
    static NATIVE: OnceLock<Mutex<Native>> = OnceLock::new();
    NATIVE.get_or_init(|| {
        let rw = libc::PROT_READ | libc::PROT_WRITE;
        map(DATA, DATA_LEN, rw);
        map(STACK, STACK_LEN, rw);
        map(CODE, PAGE, rw | libc::PROT_EXEC);
        map(CONTEXT, PAGE, rw);
        Mutex::new(Native(()))
    })
}

fn write(at: u64, bytes: &[u8]) {
    // SAFETY: callers write within the four mappings, which `native` made and which nothing else refers to.
    unsafe { core::ptr::copy_nonoverlapping(bytes.as_ptr(), at as *mut u8, bytes.len()) }
}

fn read(at: u64, len: usize) -> Vec<u8> {
    // SAFETY: as for `write`.
    unsafe { core::slice::from_raw_parts(at as *const u8, len) }.to_vec()
}

/// Runs one instruction, which must not fault and must access nothing but data and stack.
pub(super) fn run(bytes: &[u8], is_32: bool, state: &State) -> State {
    let guard = native().lock().unwrap();
    let before = prologue(is_32);
    write(INSTRUCTION - before.len() as u64, &before);
    write(INSTRUCTION, bytes);
    let end = INSTRUCTION + bytes.len() as u64;
    write(end, &epilogue(is_32, end));
    for (n, value) in (0..).zip(state.gprs) {
        write(CONTEXT + 8 * n, &value.to_le_bytes());
    }
    write(FLAGS, &state.rflags.to_le_bytes());
    write(FLAGS_OUT, &[0; 8]);
    let far = (INSTRUCTION - length_32()) as u32;
    write(
        FAR,
        &[&far.to_le_bytes()[..], &CODE_32.to_le_bytes()].concat(),
    );
    write(DATA, &state.data);
    write(STACK, &state.stack);
    // SAFETY: the code is complete, keeps what the C calling convention wants kept, and returns, if the
    // instruction does as promised above. It touches nothing of ours but through the pointers just written.
    unsafe {
        let entry = (INSTRUCTION - before.len() as u64) as *const ();
        core::mem::transmute::<*const (), extern "C" fn()>(entry)();
    }
    let word = |at| u64::from_le_bytes(read(at, 8).try_into().unwrap());
    let after = State {
        gprs: core::array::from_fn(|n| word(OUT + 8 * n as u64)),
        rflags: word(FLAGS_OUT),
        data: read(DATA, DATA_LEN),
        stack: read(STACK, STACK_LEN),
    };
    drop(guard);
    after
}
