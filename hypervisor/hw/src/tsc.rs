//! The time-stamp counter.
// UNSAFETY: RDTSC, and reads IA32_TSC_ADJUST.
#![allow(unsafe_code)]

use crate::{cpuid, msr};
use spec::Ticks;
use spec::cpuid::Leaf7Ebx;
use spec::msr::TSC_ADJUST;

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

/// IA32_TSC_ADJUST of this core, where it has one: whatever the firmware, or who ran before, has added to its TSC.
#[must_use]
pub fn tsc_adjust() -> Option<u64> {
    cpuid::extended_features()
        .0
        .contains(Leaf7Ebx::TSC_ADJUST)
        // SAFETY: the register exists where CPUID shows it.
        .then(|| unsafe { msr::read(TSC_ADJUST) })
}
