//! Functions of one instruction in memory, which attackers put there and change: one that reads a device, and what may take its place.
// UNSAFETY: calls what is in memory.
#![allow(unsafe_code)]

use crate::trap::{self, RESUME, Raised, Trap, UD, raised};
use core::arch::asm;

/// What a call gives in EAX, or raises.
pub type Given = Result<u32, Raised>;

/// In EAX at a call
pub const SEED: u32 = 0x33;
/// In ESI, and where RDX points to
pub const CONSTANT: u32 = 0x1234_5678;

/// MOV EAX, [RDI]: what is read
pub const READS: [u8; 2] = [0x8b, 0x07];

/// What may stand in its place, and what it gives. All have two bytes, so that a mix of two of them is one of them.
pub const OTHERS: [([u8; 2], Given); 10] = [
    // NOP of two bytes
    ([0x66, 0x90], Ok(SEED)),
    // MOV EAX, ESI
    ([0x89, 0xf0], Ok(CONSTANT)),
    // MOV EAX, [RDX]
    ([0x8b, 0x02], Ok(CONSTANT)),
    // MOV [RDI], EAX
    ([0x89, 0x07], Ok(SEED)),
    // UD2
    ([0x0f, 0x0b], Err(UD)),
    // FNSTSW [RDX], which the hypervisor does not emulate
    ([0xdd, 0x3a], Ok(SEED)),
    // BSWAP EAX
    ([0x0f, 0xc8], Ok(SEED.swap_bytes())),
    // JMP to what follows
    ([0xeb, 0x00], Ok(SEED)),
    // IN AL, 0x80, where nothing is
    ([0xe4, 0x80], Ok(0xff)),
    // RET
    ([0xc3, 0x90], Ok(SEED)),
];

/// The instruction and RET, as they are put into memory.
#[must_use]
pub const fn function(code: [u8; 2]) -> u64 {
    let [a, b] = code;
    u64::from_le_bytes([a, b, 0xc3, 0x90, 0x90, 0x90, 0x90, 0x90])
}

/// Calls such a function with a device's address in RDI, on the first processor.
///
/// # Safety
/// What is there is one of those above, or faults.
pub unsafe fn call(at: u64, device: u64) -> Given {
    // SAFETY: per contract.
    let called = unsafe { try_call(at, device) };
    called.map_err(|trap| raised::<()>(Err(trap)))
}

/// The same; the exception in full.
///
/// # Errors
/// The exception. The stack pointer is what it was before the call, which [`attempt!`](crate::attempt) does not see to.
///
/// # Safety
/// As for [`call`].
pub unsafe fn try_call(at: u64, device: u64) -> Result<u32, Trap> {
    let mut word = u64::from(CONSTANT);
    let value: u64;
    // SAFETY: per contract it changes EAX and the word alone.
    unsafe {
        asm!("lea r11, [rip + 77f]", "mov [rip + {resume}], r11", "mov r10, rsp", "call {at}", "77:", "mov rsp, r10",
            resume = sym RESUME, at = in(reg) at, inout("rax") u64::from(SEED) => value, in("rdi") device,
            in("rsi") u64::from(CONSTANT), in("rdx") &raw mut word, out("r10") _, out("r11") _);
    }
    trap::take().map_or(Ok(value as u32), Err)
}
