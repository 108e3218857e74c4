//! Clears branch predictors and buffers where the policy of `processor` says so.
// UNSAFETY: WRMSR, VERW, and calls that do not return.
#![allow(unsafe_code)]

use crate::msr;
use core::arch::asm;
use processor::hygiene::Actions;
use spec::msr::{FLUSH_CMD, PRED_CMD};

/// IA32_PRED_CMD and IA32_FLUSH_CMD: do it (SDM vol. 4, table of architectural MSRs).
const DO: u64 = 1;

/// Does all that `actions` names. VERW comes last: the nearer to the guest's entry, the less is behind it in the buffers.
///
/// # Safety
/// The processor has what is named; IBPB and L1D flush are MSRs that not every one has.
#[inline]
pub unsafe fn carry_out(actions: Actions) {
    if actions.is_empty() {
        return;
    }
    if actions.contains(Actions::IBPB) {
        // SAFETY: it is there per contract; a barrier changes no result.
        unsafe { msr::write(PRED_CMD, DO) };
    }
    if actions.contains(Actions::RSB_FILL) {
        fill_return_stack();
    } else if actions.contains(Actions::RETURN_GUARD) {
        guard_return();
    }
    if actions.contains(Actions::L1D_FLUSH) {
        // SAFETY: it is there per contract; a flush changes no result.
        unsafe { msr::write(FLUSH_CMD, DO) };
    }
    if actions.contains(Actions::VERW) {
        overwrite_buffers();
    }
}

/// 32 calls, none of which returns (Intel, "Retpoline: A Branch Target Injection Mitigation", "RSB Stuffing"). What is
/// predicted from them ends in LFENCE.
fn fill_return_stack() {
    // SAFETY: the calls use 256 bytes of stack, which are given back.
    unsafe {
        asm!(
            "mov {n:e}, 16",
            "2:",
            "call 4f",
            "3:",
            "pause",
            "lfence",
            "jmp 3b",
            "4:",
            "call 6f",
            "5:",
            "pause",
            "lfence",
            "jmp 5b",
            "6:",
            "dec {n:e}",
            "jnz 2b",
            "add rsp, 32 * 8",
            "lfence",
            n = out(reg) _,
        );
    }
}

/// One call that does not return (Intel, "Post-barrier Return Stack Buffer Predictions").
fn guard_return() {
    // SAFETY: the call uses one word of stack, which is given back.
    unsafe { asm!("call 2f", "int3", "2:", "add rsp, 8", "lfence") };
}

/// VERW overwrites buffers only in its memory form, and for a segment that is writable (Intel, "Microarchitectural Data Sampling",
/// "MD_CLEAR").
fn overwrite_buffers() {
    let mut selector = 0_u16;
    // SAFETY: SS is a writable data segment wherever code of ours runs; what VERW says of it goes to ZF only.
    unsafe {
        asm!("mov word ptr [{s}], ss", "verw word ptr [{s}]", s = in(reg) &raw mut selector, options(nostack));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_needs_no_privilege_gives_the_stack_back_and_returns() {
        // A stack off by a word, or a call that does return, would crash the test.
        for actions in [
            Actions::RSB_FILL,
            Actions::RETURN_GUARD,
            Actions::VERW,
            Actions::RSB_FILL | Actions::RETURN_GUARD | Actions::VERW,
        ] {
            // SAFETY: none of these needs anything.
            unsafe { carry_out(actions) };
        }
    }
}
