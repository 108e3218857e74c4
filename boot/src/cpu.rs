//! The processor that we run on.
// UNSAFETY: one instruction, RDTSC.
#![allow(unsafe_code)]

use crate::space::Paging;
use crate::tsc;
use raw_cpuid::CpuId;
use spec::cpuid::Registers;
use spec::{Hz, Ticks};
use x86_64::registers::control::{Cr4, Cr4Flags};

/// The time-stamp counter.
#[must_use]
pub fn now() -> Ticks {
    // SAFETY: every 64-bit processor has RDTSC, and firmware code runs at ring 0, where CR4.TSD does not matter.
    Ticks(unsafe { core::arch::x86_64::_rdtsc() })
}

/// What CPUID says of the frequency of the TSC.
#[must_use]
pub fn nominal_tsc() -> Option<Hz> {
    let info = CpuId::new().get_tsc_info()?;
    tsc::nominal(
        info.denominator(),
        info.numerator(),
        info.nominal_frequency(),
    )
}

/// Whether the processor can forbid execution page by page.
#[must_use]
pub fn has_no_execute() -> bool {
    CpuId::new()
        .get_extended_processor_and_feature_identifiers()
        .is_some_and(|f| f.has_execute_disable())
}

/// CPUID's answer for a leaf and a subleaf.
#[must_use]
pub fn cpuid(leaf: u32, subleaf: u32) -> Registers {
    let r = raw_cpuid::native_cpuid::cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// How the processor pages, which the hypervisor's first tables must match.
#[must_use]
pub fn paging() -> Paging {
    Paging {
        gib_pages: CpuId::new()
            .get_extended_processor_and_feature_identifiers()
            .is_some_and(|f| f.has_1gib_pages()),
        five_levels: Cr4::read().contains(Cr4Flags::L5_PAGING),
    }
}
