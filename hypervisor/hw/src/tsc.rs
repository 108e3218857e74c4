//! The time-stamp counter.
// UNSAFETY: RDTSC.
#![allow(unsafe_code)]

use spec::Ticks;

/// The TSC now. Not ordered against memory accesses around it: none of its readers needs that.
#[inline]
#[must_use]
pub fn now() -> Ticks {
    // SAFETY: RDTSC has no effect but its result; the host never sets CR4.TSD.
    Ticks(unsafe { core::arch::x86_64::_rdtsc() })
}

/// Spins for `ticks`. For start-up only, where nothing else can be done.
pub fn spin(ticks: Ticks) {
    let start = now();
    while now().since(start) < ticks {
        core::hint::spin_loop();
    }
}
