//! Clears branch predictors and buffers where the policy of `processor` says so.
// UNSAFETY: WRMSR, VERW, and calls that do not return.
#![allow(unsafe_code)]

use crate::core_local::CoreLocal;
use crate::msr;
use core::arch::asm;
use core::sync::atomic::Ordering::Relaxed;
use processor::hygiene::{Actions, Hygiene};
use spec::msr::{FLUSH_CMD, PRED_CMD, SPEC_CTRL};

/// What the stubs of [`crate::entry`] do besides, as they find it in [`CoreLocal`].
pub(crate) mod stub {
    /// VERW before each entry
    pub(crate) const VERW: u8 = 1 << 0;
    /// A call that does not return after each exit
    pub(crate) const RETURN_GUARD: u8 = 1 << 1;
    /// IA32_SPEC_CTRL has one value in root, another one in each guest
    pub(crate) const SPEC_CTRL: u8 = 1 << 2;
    /// Root's value is written after each exit even if the guest left the same
    pub(crate) const REWRITE: u8 = 1 << 3;
}

/// Has VM entries and exits on this core do what the policy asks of each: [`Hygiene::at_entry`], [`Hygiene::at_exit`] and
/// [`Hygiene::root_spec_ctrl`]. The actions that they do not know are given back: the caller does them around
/// [`crate::entry::run`]. `core` is this core's own.
///
/// # Safety
/// The processor has what the policy names; no vCPU has been entered on this core, nor its registers loaded.
#[must_use]
pub unsafe fn adopt(core: &CoreLocal, policy: &Hygiene) -> Actions {
    let mut at = 0;
    if policy.at_entry.contains(Actions::VERW) {
        at |= stub::VERW;
    }
    if policy.at_exit.contains(Actions::RETURN_GUARD) {
        at |= stub::RETURN_GUARD;
    }
    if let Some(root) = policy.root_spec_ctrl {
        at |= stub::SPEC_CTRL;
        if policy.rewrite_spec_ctrl {
            at |= stub::REWRITE;
        }
        // The upper half is reserved.
        core.spec_ctrl.store(root as u32, Relaxed);
        // SAFETY: the register and its bits are there per contract; it only slows down what is predicted.
        unsafe { msr::write(SPEC_CTRL, root) };
    }
    core.selector.store(data_selector(), Relaxed);
    core.hygiene.store(at, Relaxed);
    (policy.at_entry - Actions::VERW) | (policy.at_exit - Actions::RETURN_GUARD)
}

/// Whether entries and exits on this core switch IA32_SPEC_CTRL.
pub(crate) fn switches_spec_ctrl() -> bool {
    CoreLocal::current().is_some_and(|core| core.hygiene.load(Relaxed) & stub::SPEC_CTRL != 0)
}

/// SS: a writable data segment wherever code of ours runs.
fn data_selector() -> u16 {
    let selector: u16;
    // SAFETY: reads a selector.
    unsafe { asm!("mov {:x}, ss", out(reg) selector, options(nomem, nostack, preserves_flags)) };
    selector
}

/// IA32_PRED_CMD and IA32_FLUSH_CMD: do it (SDM vol. 4, table of architectural MSRs).
const DO: u64 = 1;

/// How often each action was carried out.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Carried {
    /// [`Actions::IBPB`]
    pub ibpb: u64,
    /// [`Actions::RSB_FILL`]
    pub rsb_fills: u64,
    /// [`Actions::L1D_FLUSH`]
    pub l1d_flushes: u64,
    /// [`Actions::VERW`]
    pub verw: u64,
}

/// Does all that `actions` names, and counts it. VERW comes last: the nearer to the guest's entry, the less is behind it in the buffers.
///
/// # Safety
/// The processor has what is named; IBPB and L1D flush are MSRs that not every one has.
#[inline]
pub unsafe fn carry_out(actions: Actions, carried: &mut Carried) {
    if actions.is_empty() {
        return;
    }
    if actions.contains(Actions::IBPB) {
        // SAFETY: it is there per contract; a barrier changes no result.
        unsafe { msr::write(PRED_CMD, DO) };
        carried.ibpb += 1;
    }
    if actions.contains(Actions::RSB_FILL) {
        fill_return_stack();
        carried.rsb_fills += 1;
    } else if actions.contains(Actions::RETURN_GUARD) {
        guard_return();
    }
    if actions.contains(Actions::L1D_FLUSH) {
        // SAFETY: it is there per contract; a flush changes no result.
        unsafe { msr::write(FLUSH_CMD, DO) };
        carried.l1d_flushes += 1;
    }
    if actions.contains(Actions::VERW) {
        overwrite_buffers();
        carried.verw += 1;
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
    let selector = data_selector();
    // SAFETY: VERW reads the selector, and says what it finds in ZF only.
    unsafe { asm!("verw word ptr [{}]", in(reg) &raw const selector, options(nostack, readonly)) };
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
            let mut carried = Carried::default();
            // SAFETY: none of these needs anything.
            unsafe { carry_out(actions, &mut carried) };
            let wanted = Carried {
                rsb_fills: actions.contains(Actions::RSB_FILL).into(),
                verw: actions.contains(Actions::VERW).into(),
                ..Carried::default()
            };
            assert_eq!(carried, wanted);
        }
    }
}
