//! Sleep until an interrupt.
// UNSAFETY: STI, HLT, CLI.
#![allow(unsafe_code)]

use crate::core_local::CoreLocal;
use core::arch::asm;
use spec::Vector;

/// Sleeps until a host interrupt has arrived, or returns at once if one was noted before. Interrupts are open only in
/// here, and its handlers only note the vector: the loop that called serves it.
///
/// No wake-up is lost: STI holds interrupts back until HLT has begun (SDM vol. 2, "STI").
pub fn wait(core: &CoreLocal) -> Vector {
    loop {
        if let Some(vector) = core.take() {
            return vector;
        }
        // SAFETY: IDT and stacks are in place, handlers note and return.
        unsafe { asm!("sti", "hlt", "cli", options(nostack)) };
    }
}
