//! Processors and interrupt controllers, as `boot` learnt them.

use crate::Smt;
use alloc::collections::BTreeSet;
use alloc::vec::Vec;
use serde::{Deserialize, Serialize};
use spec::Hpa;

/// One logical processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Core {
    /// Local APIC id
    pub apic_id: u32,
    /// Physical package number
    pub package: u32,
    /// Core number in its package
    pub core: u32,
    /// Thread number in its core
    pub thread: u32,
    /// Whether the firmware calls it enabled and healthy
    pub usable: bool,
}

/// Where the list of processors comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum CoreSource {
    /// ACPI's Multiple APIC Description Table (ACPI 6.5, section 5.2.12)
    Madt,
    /// The firmware's MP services (PI 1.8, volume 2, section 13.4)
    MpServices,
    /// Nobody knows of others than the one that boots
    BootProcessor,
}

/// An I/O APIC (ACPI 6.5, section 5.2.12.3).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IoApic {
    /// Where its registers are
    pub address: Hpa,
    /// Number of the global system interrupt at its first input
    pub gsi_base: u32,
}

/// An ISA interrupt that is not wired to the global system interrupt of its number, active high and
/// edge-triggered (ACPI 6.5, section 5.2.12.5).
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct IsaOverride {
    /// The ISA interrupt
    pub irq: u8,
    /// The global system interrupt
    pub gsi: u32,
    /// Whether it is active low
    pub active_low: bool,
    /// Whether it is level-triggered
    pub level: bool,
}

/// The processors of `cores` that a plan's core numbers mean, in order: the usable ones; without
/// [`Smt::Share`] the first of each physical core.
#[must_use]
pub fn guest_cores(cores: &[Core], smt: Smt) -> Vec<&Core> {
    let mut seen = BTreeSet::new();
    let mut first = |core: &Core| seen.insert((core.package, core.core));
    cores
        .iter()
        .filter(|core| core.usable && (smt == Smt::Share || first(core)))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use alloc::vec;

    /// Two packages of two cores of two threads, their ids as `package core thread`; the list starts at another
    /// thread than the first, as it may where a machine boots on that.
    fn machine() -> Vec<Core> {
        let core = |id: u32| Core {
            apic_id: id,
            package: id >> 2,
            core: id >> 1 & 1,
            thread: id & 1,
            usable: true,
        };
        [5, 0, 1, 2, 3, 4, 6, 7].map(core).to_vec()
    }

    fn ids(cores: &[Core], smt: Smt) -> Vec<u32> {
        let ids = guest_cores(cores, smt).into_iter().map(|core| core.apic_id);
        ids.collect()
    }

    #[test]
    fn one_thread_of_each_core_is_named_and_the_boot_processor_is_0() {
        assert_eq!(ids(&machine(), Smt::Off), [5, 0, 2, 6]);
    }

    #[test]
    fn each_thread_is_named_where_they_are_shared() {
        assert_eq!(ids(&machine(), Smt::Share), [5, 0, 1, 2, 3, 4, 6, 7]);
    }

    #[test]
    fn a_core_whose_first_thread_is_unusable_is_named_by_the_other() {
        let mut cores = machine();
        cores[1].usable = false;
        cores[3].usable = false;
        cores[4].usable = false;
        assert_eq!(ids(&cores, Smt::Off), [5, 1, 6]);
        assert_eq!(ids(&cores, Smt::Share), [5, 1, 4, 6, 7]);
        assert_eq!(ids(&[], Smt::Off), vec![0; 0]);
    }
}
