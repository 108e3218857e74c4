//! Sleep until an interrupt.
// UNSAFETY: STI, HLT, CLI.
#![allow(unsafe_code)]

use crate::core_local::CoreLocal;
use core::arch::{asm, global_asm};

// STI holds interrupts back until HLT has begun (SDM vol. 2, "STI"), but an NMI between the two ends that: its IRET
// opens interrupts before the HLT. So handlers that return to the HLT skip it (`trap`), and no wake-up is lost.
global_asm!(
    ".global bulkhead_idle",
    "bulkhead_idle:",
    "sti",
    ".global bulkhead_idle_hlt",
    "bulkhead_idle_hlt:",
    "hlt",
    "cli",
    "ret",
);

unsafe extern "C" {
    fn bulkhead_idle();
    static bulkhead_idle_hlt: u8;
}

/// Address of the HLT, one byte long, that no handler may return to.
pub(crate) fn hlt_address() -> u64 {
    &raw const bulkhead_idle_hlt as u64
}

/// Sleeps until an interrupt or NMI has arrived; returns at once if an interrupt was noted before. Interrupts are open only
/// in this file, and handlers only note the vector: the loop that called serves it.
pub fn wait(core: &CoreLocal) {
    if !core.has_noted() {
        // SAFETY: IDT and stacks are in place, handlers note and return; the code above follows the C convention.
        unsafe { bulkhead_idle() };
    }
}

/// Opens interrupts for one instruction, so that handlers note what is pending.
pub fn breathe() {
    // SAFETY: as in `wait`. STI takes effect after the NOP.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
}
