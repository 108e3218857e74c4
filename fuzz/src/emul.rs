//! The instruction emulator beside this host's processor: the same bytes in the same state, in user mode.
//!
//! What the decoder takes is carried out by both; registers, flags, memory, the instruction's length and the fault, if there is one,
//! must come out the same. The emulator goes first, so that only what it understands is run. What is left out, because a process cannot be
//! brought into that state: segments with a base or a limit, real-address and 16-bit code, supervisor mode, alignment checks. Target
//! `step` has these, without an oracle.

mod guest;
mod native;

use emul::{Bitness, Error, Kind, Operation, Repeat, StringKind, decode};
use guest::{End, Guest};
use spec::cpu::{Gpr, Rflags};
use std::cell::RefCell;

/// Operands lie here: emulated memory for the emulator. All around it is nothing.
const DATA: u64 = 0x1000_0000;
/// Of its four pages this one cannot be written.
const READ_ONLY: usize = 2;
const DATA_LEN: usize = 4 * PAGE;
/// The stack, RAM for both.
const STACK: u64 = 0x1010_0000;
/// Code; it is RAM.
const CODE: u64 = 0x1020_0000;
/// Where the instruction begins.
const INSTRUCTION: u64 = CODE + 0x800;
const PAGE: usize = 4096;

/// Selectors that Linux gives user processes.
const CODE_64: u16 = 0x33;
const CODE_32: u16 = 0x23;
const DATA_32: u16 = 0x2b;

/// All that an instruction can read or change.
#[derive(Clone, PartialEq)]
struct State {
    is_32: bool,
    gprs: [u64; 16],
    rflags: u64,
    data: Box<[u8; DATA_LEN]>,
    stack: Box<[u8; PAGE]>,
}

/// The flags that are compared.
const FLAGS: u64 = Rflags::CF
    .union(Rflags::PF)
    .union(Rflags::AF)
    .union(Rflags::ZF)
    .union(Rflags::SF)
    .union(Rflags::DF)
    .union(Rflags::OF)
    .bits();

/// What the manual leaves undefined (SDM vol. 2, the instruction's "Flags Affected").
fn undefined(operation: &Operation) -> u64 {
    use emul::Arithmetic::{And, Or, Test, Xor};
    match operation.kind {
        Kind::Arithmetic(And | Or | Xor | Test) => Rflags::AF.bits(),
        Kind::Bit(_) => (Rflags::OF | Rflags::SF | Rflags::AF | Rflags::PF).bits(),
        _ => 0,
    }
}

thread_local! {
    static MACHINES: RefCell<(native::Native, Guest)> =
        RefCell::new((native::Native::new(), Guest::new()));
}

/// Tries one instruction.
///
/// # Panics
/// If the emulator does otherwise than the processor.
pub fn one(data: &[u8]) {
    let Some((head, bytes)) = data.split_first_chunk::<HEAD>() else {
        return;
    };
    let is_32 = head[0] & 1 != 0;
    let bitness = if is_32 {
        Bitness::Bits32
    } else {
        Bitness::Bits64
    };
    let bytes = &bytes[..bytes.len().min(15)];
    let Ok(operation) = decode(bytes, bitness) else {
        return;
    };
    // FS has the base of this thread's own storage; the other is null, which only 64-bit mode lets pass.
    if operation.memory.segment == 4 || is_32 && operation.memory.segment == 5 {
        return;
    }
    let bytes = &bytes[..operation.length.into()];
    let mut state = state(head, is_32);
    if operation.repeat != Repeat::Once {
        // Longer ones are only slower.
        state.gprs[Gpr::Rcx as usize] &= 0x1ff;
    }
    MACHINES.with_borrow_mut(|(native, guest)| {
        let mut emulated = state.clone();
        let end = guest.run(bytes, &mut emulated);
        let expected = match end {
            End::Length(length) => {
                assert_eq!(length, operation.length);
                None
            }
            End::Error(Error::Inject(fault)) if fault.cr2.is_some_and(is_foreign) => return,
            End::Error(Error::Inject(fault)) => Some(fault),
            // All of it is RAM, and the processor would have met none of us.
            End::Error(Error::Retry) => return,
            End::Error(error) => panic!("{bytes:02x?}: {error:?}"),
        };
        let is_repeated = operation.repeat != Repeat::Once;
        let (rip, fault) = native.run(bytes, is_repeated, &mut state);
        let [seen, wanted] = [expected.map(native::seen), fault.map(native::Fault::seen)];
        // Which of the two operands of CMPS is read first the manual leaves open.
        let is_open = operation.kind == Kind::String(StringKind::Cmps) && seen.is_some();
        assert!(
            seen == wanted || is_open && wanted.is_some(),
            "{bytes:02x?} faults with {seen:x?}, not {wanted:x?}"
        );
        let length = if fault.is_some() { 0 } else { bytes.len() };
        assert_eq!(rip, INSTRUCTION + length as u64, "RIP after {bytes:02x?}");
        same(bytes, &emulated, &state, FLAGS & !undefined(&operation));
    });
}

/// Whether there may be something of this process here that is not ours: above 4 GiB, up to where Linux lets nothing be. The fuzzer, which sees
/// what is compared, has guessed such addresses.
fn is_foreign(address: u64) -> bool {
    (1 << 32..native::END_OF_USER).contains(&address)
}

fn same(bytes: &[u8], emulated: &State, native: &State, flags: u64) {
    let (count, mask) = if native.is_32 {
        (8, 0xffff_ffff)
    } else {
        (16, u64::MAX)
    };
    for n in 0..count {
        let [got, want] = [emulated, native].map(|state| state.gprs[n] & mask);
        assert!(
            got == want,
            "{bytes:02x?}: register {n} is {got:#x}, not {want:#x}"
        );
    }
    let [got, want] = [emulated, native].map(|state| state.rflags & flags);
    assert!(
        got == want,
        "{bytes:02x?}: flags are {got:#x}, not {want:#x}"
    );
    assert!(emulated.stack == native.stack, "{bytes:02x?}: stack");
    if emulated.data != native.data {
        let at = emulated.data.iter().zip(native.data.iter());
        let differ = at.enumerate().find(|(_, (got, want))| got != want);
        panic!("{bytes:02x?}: data {differ:x?}");
    }
}

/// Mode, flags, a word that fills memory, and four bytes for each register
const HEAD: usize = 1 + 2 + 8 + 16 * 4;

fn state(head: &[u8; HEAD], is_32: bool) -> State {
    let mut word = [0; 8];
    word.copy_from_slice(&head[3..11]);
    let flags = u64::from(u16::from_le_bytes([head[1], head[2]]));
    let mut data = Box::new([0; DATA_LEN]);
    for (n, page) in data.chunks_exact_mut(PAGE).enumerate() {
        let word = if n == READ_ONLY {
            native::READ_ONLY_WORD
        } else {
            u64::from_le_bytes(word)
                .rotate_left(8 * n as u32)
                .to_le_bytes()
        };
        page.as_chunks_mut::<8>().0.fill(word);
    }
    let mut stack = Box::new([0; PAGE]);
    stack.as_chunks_mut::<8>().0.fill(word);
    let gprs = core::array::from_fn(|n| {
        let at = 11 + 4 * n;
        let value = [head[at], head[at + 1], head[at + 2], head[at + 3]];
        let value = register(u32::from_le_bytes(value), u64::from_le_bytes(word));
        if is_32 { value & 0xffff_ffff } else { value }
    });
    State {
        is_32,
        gprs,
        rflags: flags & FLAGS | (Rflags::FIXED | Rflags::IF).bits(),
        data,
        stack,
    }
}

/// A register's value: mostly one that leads somewhere.
fn register(value: u32, word: u64) -> u64 {
    let wide = u64::from(value >> 3);
    match value & 7 {
        0 | 1 => DATA + wide % DATA_LEN as u64,
        2 => STACK + wide % PAGE as u64,
        3 => wide & 0xff,
        4 => (wide & 0xffff).wrapping_sub(0x8000),
        5 => word,
        // About the borders between pages
        6 => DATA + (wide & 7) * PAGE as u64 + (wide >> 3 & 0x1f) - 16,
        // About the border of what is canonical
        _ => ((wide & 0xff) << 40).wrapping_add((wide >> 8 & 0xff).wrapping_sub(128)),
    }
}
