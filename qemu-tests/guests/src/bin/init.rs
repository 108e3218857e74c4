//! Not a guest but a guest's first process: it says what the TSC was when Linux started it. Linux runs static
//! executables of the System V ABI, which this is.
#![no_std]
#![no_main]
// UNSAFETY: the first instruction, and system calls.
#![allow(unsafe_code)]

use core::arch::{asm, naked_asm};
use core::fmt::{self, Write};
// For the panic handler and the allocator.
use guests as _;

/// System calls and a file descriptor (Linux, `arch/x86/entry/syscalls/syscall_64.tbl`).
const WRITE: u64 = 1;
const PAUSE: u64 = 34;
const STDOUT: u64 = 1;

#[unsafe(naked)]
#[unsafe(no_mangle)]
#[unsafe(link_section = ".start")]
extern "C" fn _start() -> ! {
    naked_asm!(
        "rdtsc",
        "shl rdx, 32",
        "lea rdi, [rax + rdx]",
        "and rsp, -16",
        "call {main}",
        main = sym main,
    )
}

extern "C" fn main(tsc: u64) -> ! {
    let _ = writeln!(Stdout, "init: tsc={tsc}");
    loop {
        // A kernel whose first process ends panics.
        call(PAUSE, [0; 3]);
    }
}

struct Stdout;

impl Write for Stdout {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        call(WRITE, [STDOUT, text.as_ptr() as u64, text.len() as u64]);
        Ok(())
    }
}

fn call(number: u64, arguments: [u64; 3]) {
    // SAFETY: the two calls that are made read a string and wait.
    unsafe {
        asm!("syscall", inout("rax") number => _, in("rdi") arguments[0], in("rsi") arguments[1],
            in("rdx") arguments[2], out("rcx") _, out("r11") _, options(nostack));
    }
}
