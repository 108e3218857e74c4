//! A way back for a core whose work for one vCPU has come to a bug of ours.
//!
//! There is no unwinding: what was on the stack is forgotten, not dropped, so that memory may be lost and locks stay taken. Whoever comes
//! back has to know what that means.
// UNSAFETY: leaves stack frames behind.
#![allow(unsafe_code)]

use core::arch::naked_asm;
use core::ffi::c_void;
use core::sync::atomic::{AtomicU64, Ordering};

/// Where a core comes back to; nowhere if it holds zero. One for each core, which alone uses it.
#[derive(Debug, Default)]
pub struct Anchor(AtomicU64);

impl Anchor {
    /// Does `work`; `None` if that was given up by [`Anchor::give_up`] on the way. There may be such work in such work.
    pub fn attempt<T>(&self, work: impl FnOnce() -> T) -> Option<T> {
        let outer = self.0.load(Ordering::Relaxed);
        let (mut work, mut done) = (Some(work), None);
        let mut call = || done = work.take().map(|work| work());
        let mut call: &mut dyn FnMut() = &mut call;
        // SAFETY: `call` outlives the call; the slot is this core's own.
        unsafe { enter(carry_out, (&raw mut call).cast(), self.0.as_ptr()) };
        self.0.store(outer, Ordering::Relaxed);
        done
    }

    /// Whether there is work to give up.
    #[must_use]
    pub fn holds(&self) -> bool {
        self.0.load(Ordering::Relaxed) != 0
    }

    /// Gives up what the core does, which is the innermost [`Anchor::attempt`]'s work. Returns where there is none.
    ///
    /// # Safety
    /// The caller runs on the stack on which that was called, above it. What is lost with the frames in between must not be missed: no
    /// lock, no value that others reach.
    pub unsafe fn give_up(&self) {
        let stack = self.0.swap(0, Ordering::Relaxed);
        if stack != 0 {
            // SAFETY: `enter` has put it there and has not returned since, as the caller says.
            unsafe { leave(stack) }
        }
    }
}

extern "C" fn carry_out(call: *mut c_void) {
    // SAFETY: `attempt` hands over a pointer to just this, which nobody else uses meanwhile.
    let call = unsafe { &mut *call.cast::<&mut dyn FnMut()>() };
    call();
}

/// Keeps the stack pointer in `slot`, below the registers that a callee preserves, and calls `work` with `data`.
#[unsafe(naked)]
unsafe extern "C" fn enter(work: extern "C" fn(*mut c_void), data: *mut c_void, slot: *mut u64) {
    naked_asm!(
        "push rbx",
        "push rbp",
        "push r12",
        "push r13",
        "push r14",
        "push r15",
        "sub rsp, 8",
        "mov [rdx], rsp",
        "mov rax, rdi",
        "mov rdi, rsi",
        "call rax",
        "jmp {back}",
        back = sym back,
    )
}

/// Returns from the [`enter`] that has kept this stack pointer.
#[unsafe(naked)]
unsafe extern "C" fn leave(stack: u64) -> ! {
    naked_asm!("mov rsp, rdi", "cld", "jmp {back}", back = sym back)
}

#[unsafe(naked)]
unsafe extern "C" fn back() {
    naked_asm!(
        "add rsp, 8",
        "pop r15",
        "pop r14",
        "pop r13",
        "pop r12",
        "pop rbp",
        "pop rbx",
        "ret",
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_that_is_done_gives_its_value() {
        let anchor = Anchor::default();
        let words = [1, 2, 3];
        assert_eq!(anchor.attempt(|| words.iter().sum::<i32>()), Some(6));
        assert!(!anchor.holds());
    }

    #[test]
    fn work_that_is_given_up_gives_none_and_what_it_changed_stays_changed() {
        let anchor = Anchor::default();
        let mut steps = 0;
        let done = anchor.attempt(|| {
            steps += 1;
            deep(&anchor, 10);
            steps += 1;
        });
        assert_eq!((done, steps), (None, 1));
        assert!(!anchor.holds());
    }

    fn deep(anchor: &Anchor, levels: u32) {
        let words = core::hint::black_box([levels; 32]);
        if levels == 0 {
            // SAFETY: on the same stack; nothing that is left behind is missed.
            unsafe { anchor.give_up() };
        } else {
            deep(anchor, levels - 1);
        }
        core::hint::black_box(words);
    }

    #[test]
    fn only_the_innermost_work_is_given_up() {
        let anchor = Anchor::default();
        let done = anchor.attempt(|| {
            let inner = anchor.attempt(|| deep(&anchor, 3));
            (inner, anchor.holds())
        });
        assert_eq!(done, Some((None, true)));
        // SAFETY: there is nothing to give up.
        unsafe { anchor.give_up() };
    }
}
