use super::*;
use crate::madt::Listed;
use alloc::vec;
use spec::cpuid::Registers;

/// Two threads a core, four cores a package.
fn topology() -> Topology {
    let level = |subleaf| match subleaf {
        0 => [1, 2, 0x100, 0],
        1 => [3, 8, 0x201, 0],
        _ => [0; 4],
    };
    let cpuid = |leaf, subleaf| -> Registers {
        match leaf {
            0 => [0xb, 0, 0, 0],
            0xb => level(subleaf),
            _ => [0; 4],
        }
    };
    Topology::read(cpuid)
}

fn madt(ids: &[u32]) -> Madt {
    Madt {
        processors: ids
            .iter()
            .map(|id| Listed {
                apic_id: *id,
                enabled: true,
            })
            .collect(),
        io_apics: vec![IoApic {
            address: Hpa(0xfec0_0000),
            gsi_base: 0,
        }],
        isa_overrides: vec![],
    }
}

fn services(usable: &[(u32, bool)]) -> Vec<Known> {
    let known = usable.iter().map(|(apic_id, usable)| Known {
        apic_id: *apic_id,
        usable: *usable,
    });
    known.collect()
}

fn usable(processors: &Processors) -> Vec<(u32, bool)> {
    let cores = processors.cores.iter();
    cores.map(|core| (core.apic_id, core.usable)).collect()
}

#[test]
fn the_madt_lists_and_mp_services_know_who_is_ill() {
    let services = services(&[(0, true), (1, true), (2, false), (9, true)]);
    let got = Processors::new(1, topology(), Some(madt(&[0, 1, 2, 3])), &services);
    assert_eq!(got.from, CoreSource::Madt);
    assert_eq!(usable(&got), [(1, true), (0, true), (2, false), (3, true)]);
    assert_eq!(got.io_apics.len(), 1);
    // Cores 0 and 1, of which the second has lost a thread.
    let expected = Cores {
        physical: 2,
        threads: 3,
    };
    assert_eq!(got.count(), expected);
}

#[test]
fn without_a_madt_mp_services_list_them() {
    let services = services(&[(0, true), (2, true), (8, false)]);
    let got = Processors::new(2, topology(), None, &services);
    assert_eq!(got.from, CoreSource::MpServices);
    assert_eq!(usable(&got), [(2, true), (0, true), (8, false)]);
    assert_eq!((got.cores[0].core, got.cores[2].package), (1, 1));
    assert_eq!(got.io_apics, []);
}

#[test]
fn the_boot_processor_is_there_when_nobody_says_so() {
    let got = Processors::new(5, topology(), None, &[]);
    assert_eq!(got.from, CoreSource::BootProcessor);
    assert_eq!(usable(&got), [(5, true)]);
    let got = Processors::new(5, topology(), None, &services(&[(4, true), (5, false)]));
    assert_eq!(usable(&got), [(5, true), (4, true)]);
}

#[test]
fn one_that_may_come_later_is_not_usable() {
    let mut madt = madt(&[0, 1]);
    madt.processors[1].enabled = false;
    let got = Processors::new(0, topology(), Some(madt), &[]);
    assert_eq!(usable(&got), [(0, true), (1, false)]);
}
