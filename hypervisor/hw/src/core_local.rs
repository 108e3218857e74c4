//! What belongs to one core and must be reachable from its interrupt handlers: found through GS.
// UNSAFETY: writes IA32_GS_BASE and reads through it.
#![allow(unsafe_code)]

use crate::msr;
use alloc::boxed::Box;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering::Relaxed};
use spec::Vector;
use spec::msr::{FS_BASE, GS_BASE};

/// The mailbox between a core's interrupt handlers and its loop. Others may write it; all of it is atomic.
#[derive(Debug)]
#[repr(C)]
pub struct CoreLocal {
    /// Host interrupts that arrived and were not served yet, a bit for each vector
    pending: [AtomicU64; 4],
    /// Local APIC id of this core
    pub apic_id: u32,
}

impl CoreLocal {
    /// Makes this core's value and points GS at it. It is never freed.
    ///
    /// # Safety
    /// Called once per core, before its interrupts are opened.
    pub unsafe fn install(apic_id: u32) -> &'static CoreLocal {
        let local: &'static CoreLocal = Box::leak(Box::new(CoreLocal {
            pending: Default::default(),
            apic_id,
        }));
        // SAFETY: both MSRs exist on every 64-bit processor; nothing of ours uses FS or used GS before.
        unsafe {
            msr::write(FS_BASE, 0);
            msr::write(GS_BASE, core::ptr::from_ref(local) as u64);
        }
        local
    }

    /// The value of the core that runs this; `None` before [`CoreLocal::install`].
    #[must_use]
    pub fn current() -> Option<&'static CoreLocal> {
        // SAFETY: the MSR exists on every 64-bit processor.
        let base = unsafe { msr::read(GS_BASE) };
        // SAFETY: only `install` writes the MSR with a value in the upper half, that of a leaked value; firmware
        // leaves zero or an address in the lower half.
        (base >> 63 != 0).then(|| unsafe { &*(base as *const CoreLocal) })
    }

    /// Notes an interrupt for the loop.
    pub fn note(&self, vector: Vector) {
        self.pending[usize::from(vector.0 >> 6)].fetch_or(1 << (vector.0 & 63), Relaxed);
    }

    /// Whether an interrupt was noted and not taken yet.
    #[must_use]
    pub fn has_noted(&self) -> bool {
        self.pending.iter().any(|w| w.load(Relaxed) != 0)
    }

    /// Takes one noted interrupt, the highest vector first.
    #[must_use]
    pub fn take(&self) -> Option<Vector> {
        for (i, word) in self.pending.iter().enumerate().rev() {
            let bits = word.load(Relaxed);
            if bits != 0 {
                let bit = 63 - bits.leading_zeros();
                word.fetch_and(!(1 << bit), Relaxed);
                return u8::try_from(i as u32 * 64 + bit).ok().map(Vector);
            }
        }
        None
    }
}

/// Stops this core for ever, interrupts off.
pub fn park() -> ! {
    loop {
        // SAFETY: nothing runs on this core any more; an NMI or SMI only ends one HLT.
        unsafe { asm!("cli", "hlt", options(nomem, nostack)) };
    }
}
