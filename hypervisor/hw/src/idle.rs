//! Sleep until an interrupt or a kick.
// UNSAFETY: STI, HLT, CLI, MONITOR, MWAIT.
#![allow(unsafe_code)]

use crate::core_local::{CoreLocal, KICKED};
use crate::gap::Gap;
use core::arch::{asm, global_asm};

// Both routines look at the kick flag last thing. What NMIs that strike later mean for them, `gap` says.
//
// STI holds interrupts back until HLT has begun (SDM vol. 2, "STI"), but an NMI between the two ends that: its IRET opens
// interrupts before the HLT. It never returns to the HLT, though, so no interrupt is taken right before it.
//
// MWAIT, asked by ECX bit 0, ends at an interrupt although interrupts are masked (SDM vol. 2, "MWAIT"); which one, shows when
// they are opened. Hint 0 is C1, in which the local APIC's timer runs on.
global_asm!(
    ".pushsection .text.bulkhead_idle, \"ax\", @progbits",
    ".global bulkhead_hlt, bulkhead_hlt_look, bulkhead_hlt_end",
    "bulkhead_hlt:",
    "bulkhead_hlt_look:",
    "cmp byte ptr [rdi + {kicked}], 0",
    "jne bulkhead_hlt_end",
    "sti",
    "hlt",
    "bulkhead_hlt_end:",
    "cli",
    "ret",
    ".global bulkhead_mwait, bulkhead_mwait_look, bulkhead_mwait_end",
    "bulkhead_mwait:",
    "mov rax, rdi",
    "xor ecx, ecx",
    "xor edx, edx",
    "monitor",
    "mov ecx, 1",
    "bulkhead_mwait_look:",
    "cmp byte ptr [rdi + {kicked}], 0",
    "jne bulkhead_mwait_end",
    "xor eax, eax",
    "mwait",
    "bulkhead_mwait_end:",
    "sti",
    "nop",
    "cli",
    "ret",
    ".popsection",
    kicked = const KICKED,
);

unsafe extern "C" {
    fn bulkhead_hlt(core: *const CoreLocal);
    static bulkhead_hlt_look: u8;
    static bulkhead_hlt_end: u8;
    fn bulkhead_mwait(core: *const CoreLocal);
    static bulkhead_mwait_look: u8;
    static bulkhead_mwait_end: u8;
}

/// Between the last look at the kick flag and the sleep: by HLT, by MWAIT.
pub(crate) fn gaps() -> [Gap; 2] {
    let gap = |look: *const u8, end: *const u8| Gap {
        from: look as u64,
        to: end as u64,
        out: end as u64,
    };
    [
        gap(&raw const bulkhead_hlt_look, &raw const bulkhead_hlt_end),
        gap(
            &raw const bulkhead_mwait_look,
            &raw const bulkhead_mwait_end,
        ),
    ]
}

/// Sleeps until an interrupt or NMI has arrived; returns at once if an interrupt or a kick was noted before. Interrupts are open
/// only in this file, and handlers only note: the loop that called serves. `core` is this core's own.
pub fn wait(core: &CoreLocal) {
    // Interrupts are masked, so what was noted does not change from here on.
    if core.has_noted() {
        return;
    }
    // SAFETY: IDT and stacks are in place, handlers note and return; the code above follows the C convention, and the
    // processor has MWAIT where `has_mwait` says so.
    unsafe {
        if core.has_mwait {
            bulkhead_mwait(core);
        } else {
            bulkhead_hlt(core);
        }
    }
}

/// "mwait" or "hlt", for the boot log.
#[must_use]
pub fn describe(core: &CoreLocal) -> &'static str {
    if core.has_mwait { "mwait" } else { "hlt" }
}

/// Opens interrupts for one instruction, so that handlers note what is pending.
pub fn breathe() {
    // SAFETY: as in `wait`. STI takes effect after the NOP.
    unsafe { asm!("sti", "nop", "cli", options(nostack)) };
}
