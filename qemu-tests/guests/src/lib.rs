//! What the tiny guests share: a guest is a handful of claims about its machine, each a function with a name that
//! states it. It prints a line for each, and switches its machine off.
//!
//! ```text
//! guest: claims 2
//! guest: pass absent_port_reads_ones
//! guest: fail absent_port_swallows_writes qemu-tests/guests/src/bin/ports.rs:20 read 0x5a
//! guest: done passed=1 failed=1
//! ```
//!
//! A guest has all of its machine. It runs on one processor, but for what [`second`] and [`smp`] start.
#![no_std]

pub mod bytes;
pub mod cmdline;
pub mod code;
pub mod cpu;
pub mod descriptors;
pub mod heap;
pub mod interrupt;
pub mod ioapic;
pub mod judge;
pub mod lapic;
pub mod legacy;
pub mod mmio;
pub mod modes;
pub mod msr;
pub mod multiboot;
pub mod paging;
pub mod port;
pub mod power;
pub mod probe;
pub mod protected;
pub mod random;
pub mod second;
pub mod segments;
pub mod serial;
pub mod slot;
pub mod smp;
pub mod start;
pub mod steps;
pub mod trap;
pub mod uart;
pub mod user;
pub mod vectors;
pub mod verdict;
pub mod watchdog;

pub use spec;

/// The claims of a guest that starts in 64-bit mode, in the order in which they are tried; with `stay` on the command line it halts
/// behind them, for someone to look at it.
#[macro_export]
macro_rules! guest {
    ($($claim:path),+ $(,)?) => {
        extern "C" fn guest_main() {
            $crate::verdict::try_all(&[$((stringify!($claim), $claim)),+]);
            $crate::power::stay_if_told();
        }
        $crate::from_start!();
        $crate::at_start!();
    };
}

/// The claims of an attacker, which are tried unless a word of the command line has it go one of its ways, from most of which nobody
/// comes back.
#[macro_export]
macro_rules! attacker {
    ($ways:expr; $($claim:path),+ $(,)?) => {
        extern "C" fn guest_main() {
            for (word, way) in $ways {
                if $crate::cmdline::has(word) {
                    $crate::say!("guest: goes {word}");
                    way();
                    return;
                }
            }
            $crate::verdict::try_all(&[$((stringify!($claim), $claim)),+]);
        }
        $crate::from_start!();
        $crate::at_start!();
    };
}

/// A guest that makes no claims: it starts in 64-bit mode, does what this function does, and switches its machine off.
#[macro_export]
macro_rules! program {
    ($main:path) => {
        extern "C" fn guest_main() {
            $main();
        }
        $crate::from_start!();
        $crate::at_start!();
    };
}

/// The claims of a guest whose start is its own; it goes on at `start_long` in 64-bit mode, RSI as at its start.
#[macro_export]
macro_rules! claims {
    ($($claim:path),+ $(,)?) => {
        extern "C" fn guest_main() {
            $crate::verdict::try_all(&[$((stringify!($claim), $claim)),+]);
        }
        $crate::from_start!();
    };
}

/// The first instruction of a file that starts in 64-bit mode.
#[doc(hidden)]
#[macro_export]
macro_rules! at_start {
    () => {
        core::arch::global_asm!(
            ".section .start, \"ax\"",
            ".global _start",
            "_start:",
            "jmp {start}",
            ".text",
            start = sym start_long,
        );
    };
}

/// From 64-bit mode to `guest_main`.
#[doc(hidden)]
#[macro_export]
macro_rules! from_start {
    () => {
        // UNSAFETY: the first instructions, which make a stack.
        #[allow(unsafe_code)]
        #[unsafe(naked)]
        extern "C" fn start_long() -> ! {
            core::arch::naked_asm!(
                "lea rsp, [rip + {stack}]",
                "add rsp, {size}",
                "mov rdi, rsi",
                "lea rsi, [rip + {main}]",
                "xor ebp, ebp",
                "call {begin}",
                "ud2",
                stack = sym $crate::start::STACK,
                size = const $crate::start::STACK_SIZE,
                main = sym guest_main,
                begin = sym $crate::start::begin,
            )
        }
    };
}
