//! What belongs to one core and must be reachable from its interrupt handlers: found through GS.
// UNSAFETY: writes IA32_GS_BASE and reads through it.
#![allow(unsafe_code)]

use crate::{cpuid, msr};
use alloc::boxed::Box;
use core::arch::asm;
use core::mem::offset_of;
use core::sync::atomic::{
    AtomicU8, AtomicU16, AtomicU32, AtomicU64, Ordering, Ordering::Relaxed, compiler_fence,
};
use spec::Vector;
use spec::msr::{FS_BASE, GS_BASE};

/// What a core's interrupt handlers leave for its loop. Only the core itself writes it: its handlers and its loop. It fills a cache
/// line of its own, which an idle core may watch.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct CoreLocal {
    /// Host interrupts that arrived and were not served yet, a bit for each vector
    pending: [AtomicU64; 4],
    /// Local APIC id of this core
    pub apic_id: u32,
    /// Number of this core, as whoever installed it counts
    pub index: u32,
    /// An NMI came, or the core reminds itself: it is to look at what others want of it
    kicked: AtomicU8,
    /// What entries and exits do besides: bits of [`crate::hygiene::stub`]
    pub(crate) hygiene: AtomicU8,
    /// A writable data segment, for VERW
    pub(crate) selector: AtomicU16,
    /// What IA32_SPEC_CTRL holds in root, where entries and exits switch it
    pub(crate) spec_ctrl: AtomicU32,
    /// Whether it sleeps by MWAIT, else by HLT
    pub(crate) has_mwait: bool,
}

// Where the stubs find its fields, from GS.
pub(crate) const KICKED: usize = offset_of!(CoreLocal, kicked);
pub(crate) const HYGIENE: usize = offset_of!(CoreLocal, hygiene);
pub(crate) const SELECTOR: usize = offset_of!(CoreLocal, selector);
pub(crate) const ROOT_SPEC_CTRL: usize = offset_of!(CoreLocal, spec_ctrl);
const _: () = assert!(size_of::<CoreLocal>() == 64);

impl CoreLocal {
    /// Makes this core's value and points GS at it. It is never freed.
    ///
    /// # Safety
    /// Called once per core, before its interrupts are opened.
    pub unsafe fn install(apic_id: u32, index: u32) -> &'static CoreLocal {
        let local: &'static CoreLocal = Box::leak(Box::new(CoreLocal {
            pending: Default::default(),
            apic_id,
            index,
            kicked: AtomicU8::new(0),
            hygiene: AtomicU8::new(0),
            selector: AtomicU16::new(0),
            spec_ctrl: AtomicU32::new(0),
            has_mwait: cpuid::mwait().is_some_and(|m| m.wakes_on_masked_interrupts),
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

    /// Notes a kick: the core goes through its loop before it enters a guest or sleeps.
    #[inline]
    pub fn note_kick(&self) {
        self.kicked.store(1, Relaxed);
    }

    /// Whether a kick was noted and not taken yet.
    #[inline]
    #[must_use]
    pub fn is_kicked(&self) -> bool {
        self.kicked.load(Relaxed) != 0
    }

    /// Takes a noted kick. Whoever does so looks at all that cores are kicked for after that, so one that comes between the
    /// load and the store below is not lost, though its flag is.
    #[inline]
    #[must_use]
    pub fn take_kick(&self) -> bool {
        if !self.is_kicked() {
            return false;
        }
        // No locked exchange: only this core writes the flag, and its NMI handler runs between two instructions, not beside them.
        self.kicked.store(0, Relaxed);
        // Nor may the compiler look first and clear then.
        compiler_fence(Ordering::SeqCst);
        true
    }

    /// Notes an interrupt for the loop.
    #[expect(clippy::indexing_slicing, reason = "two bits index four words")]
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
