//! Real processors, with the microcode of their last years unless a row says otherwise.

extern crate std;

mod machines;

use super::*;
use machines::{MACHINES, Machine};
use spec::cpuid::{Leaf7Edx as D, Leaf7Sub2Edx, leaf};
use spec::msr::{ArchCapabilities as Caps, SpecCtrl};
use std::vec::Vec;

fn facts(machine: &Machine, used: Use) -> Facts {
    let cpuid = |leaf: u32, subleaf: u32| match (leaf, subleaf) {
        (leaf::VENDOR, _) => [7, 0x756e_6547, 0x6c65_746e, 0x4965_6e69],
        (leaf::FEATURES, _) => [machine.signature, 0, 0, 0],
        (leaf::EXTENDED_FEATURES, 0) => [
            2,
            machine.leaf_7_ebx.bits(),
            0,
            machine.leaf_7_edx.bits()
                | if machine.caps.is_some() {
                    D::ARCH_CAPABILITIES.bits()
                } else {
                    0
                },
        ],
        (leaf::EXTENDED_FEATURES, 2) => [0, 0, 0, machine.leaf_7_2_edx.bits()],
        _ => panic!("{leaf:#x}.{subleaf} is not there"),
    };
    let caps = || machine.caps.expect("read though it is not there").bits();
    Facts::new(&cpuid, &caps, used)
}

#[test]
fn each_machine_does_what_it_needs_and_says_what_it_is_open_to() {
    for machine in MACHINES {
        let name = machine.name;
        assert!(!machine.why.is_empty(), "{name}");
        let made = policy(&facts(machine, Use::default()));
        assert_eq!(made.at_vm_change, machine.at_vm_change, "{name}, change");
        assert_eq!(made.at_entry, machine.at_entry, "{name}, entry");
        assert_eq!(made.at_exit, machine.at_exit, "{name}, exit");
        let mut exposures: Vec<_> = made
            .exposures
            .iter()
            .map(|it| (it.name, it.handled))
            .collect();
        let mut expected = machine.exposures.to_vec();
        exposures.sort_unstable();
        expected.sort_unstable();
        assert_eq!(exposures, expected, "{name}");
        assert_eq!(
            made.no_large_executable_pages,
            made.exposures.get("iTLB multihit").is_some(),
            "{name}"
        );
    }
}

/// On every machine, and however it is used: what the processor does not name would raise #GP or do nothing.
#[test]
fn nothing_is_asked_for_that_is_not_there() {
    for machine in MACHINES {
        for (shared_siblings, direct_devices) in
            [(false, false), (true, false), (false, true), (true, true)]
        {
            let used = Use {
                shared_siblings,
                direct_devices,
            };
            let made = policy(&facts(machine, used));
            let all = made.at_vm_change | made.at_entry | made.at_exit;
            let has = |bit| machine.leaf_7_edx.contains(bit);
            let says = |bit| machine.caps.is_some_and(|it| it.contains(bit));
            let name = machine.name;
            assert!(!all.contains(Actions::IBPB) || has(D::IBRS), "{name}");
            assert!(
                !all.contains(Actions::L1D_FLUSH) || has(D::L1D_FLUSH),
                "{name}"
            );
            let clears = has(D::MD_CLEAR) || says(Caps::FB_CLEAR) || says(Caps::RFDS_CLEAR);
            assert!(!all.contains(Actions::VERW) || clears, "{name}");
            let root = SpecCtrl::from_bits(made.root_spec_ctrl.unwrap_or(0)).unwrap();
            assert!(!root.contains(SpecCtrl::IBRS) || has(D::IBRS), "{name}");
            assert!(!root.contains(SpecCtrl::STIBP) || has(D::STIBP), "{name}");
            let bhi = machine.leaf_7_2_edx.contains(Leaf7Sub2Edx::BHI_CTRL);
            assert_eq!(
                root.contains(SpecCtrl::BHI_DIS_S),
                bhi && has(D::IBRS),
                "{name}"
            );
        }
    }
}

#[test]
fn a_later_vm_is_always_kept_from_the_return_stack_of_the_one_before() {
    for machine in MACHINES {
        let made = policy(&facts(machine, Use::default()));
        assert!(
            made.at_vm_change.contains(Actions::RSB_FILL),
            "{}",
            machine.name
        );
    }
}

/// Skylake's IBRS forgets; enhanced IBRS does not; where there is none, there is nothing to write.
#[test]
fn only_the_older_ibrs_is_written_at_each_exit() {
    for (name, root, rewrite) in [
        ("Skylake", Some(SpecCtrl::IBRS), true),
        ("Goldmont", Some(SpecCtrl::IBRS), true),
        ("Cascade Lake, stepping 7", Some(SpecCtrl::IBRS), false),
        (
            "Sapphire Rapids",
            Some(SpecCtrl::IBRS | SpecCtrl::BHI_DIS_S),
            false,
        ),
        ("emulated Broadwell", None, false),
    ] {
        let made = policy(&facts(machine(name), Use::default()));
        assert_eq!(made.root_spec_ctrl, root.map(|it| it.bits()), "{name}");
        assert_eq!(made.rewrite_spec_ctrl, rewrite, "{name}");
    }
}

fn machine(name: &str) -> &'static Machine {
    MACHINES.iter().find(|it| it.name == name).unwrap()
}

/// What a sibling thread's VM can sample at any time, no action of this thread takes away.
#[test]
fn shared_siblings_leave_buffers_and_l1_open() {
    let used = Use {
        shared_siblings: true,
        ..Use::default()
    };
    let made = policy(&facts(machine("Skylake"), used));
    for name in ["L1TF", "MDS"] {
        let exposure = made.exposures.get(name).unwrap();
        assert!(!exposure.handled && exposure.mend.contains("smt"), "{name}");
    }
    let root = made.root_spec_ctrl.unwrap();
    assert_eq!(root & SpecCtrl::STIBP.bits(), SpecCtrl::STIBP.bits());
    assert!(
        policy(&facts(machine("Sapphire Rapids"), used))
            .exposures
            .all_handled()
    );
}

/// Only who reads a device's registers can sample what earlier reads and writes left on their way.
#[test]
fn mmio_stale_data_asks_for_verw_at_each_entry_once_devices_are_passed_on() {
    let ice_lake = machine("Ice Lake server");
    let used = Use {
        direct_devices: true,
        ..Use::default()
    };
    assert_eq!(
        policy(&facts(ice_lake, Use::default())).at_entry,
        Actions::empty()
    );
    let made = policy(&facts(ice_lake, used));
    assert_eq!(made.at_entry, Actions::VERW);
    assert!(made.exposures.get("MMIO stale data").unwrap().handled);
    let old = Machine {
        caps: ice_lake.caps.map(|it| it - Caps::FB_CLEAR),
        ..*ice_lake
    };
    let made = policy(&facts(&old, used));
    assert_eq!(made.at_entry, Actions::empty());
    assert!(!made.exposures.get("MMIO stale data").unwrap().handled);
}

#[test]
fn a_hypervisor_below_that_flushes_is_believed() {
    let skylake = machine("Skylake");
    let nested = Machine {
        caps: skylake.caps.map(|it| it | Caps::SKIP_L1DFL_VMENTRY),
        ..*skylake
    };
    let made = policy(&facts(&nested, Use::default()));
    assert!(!made.at_vm_change.contains(Actions::L1D_FLUSH));
    assert!(made.exposures.get("L1TF").unwrap().handled);
}

/// A wrong "handled" would be a lie in the log; each mend that is not there must turn it.
#[test]
fn without_microcode_nothing_that_needs_it_is_called_handled() {
    for machine in MACHINES {
        let bare = Machine {
            leaf_7_edx: D::empty(),
            leaf_7_2_edx: Leaf7Sub2Edx::empty(),
            caps: None,
            ..*machine
        };
        let made = policy(&facts(&bare, Use::default()));
        assert_eq!(made.at_vm_change, Actions::RSB_FILL);
        assert_eq!(
            (made.at_entry, made.root_spec_ctrl),
            (Actions::empty(), None)
        );
        for exposure in made.exposures.iter().filter(|it| it.handled) {
            assert!(
                ["SSB", "MMIO stale data"].contains(&exposure.name),
                "{exposure:?}"
            );
        }
    }
}

#[test]
fn another_vendor_is_not_judged() {
    let cpuid = |leaf: u32, _| match leaf {
        leaf::VENDOR => [0xd, 0x6874_7541, 0x444d_4163, 0x6974_6e65],
        leaf::FEATURES => [0x00a2_0f10, 0, 0, 0],
        _ => [0; 4],
    };
    let facts = Facts::new(&cpuid, &|| unreachable!(), Use::default());
    assert_eq!(
        (facts.vendor, facts.family, facts.model),
        (Vendor::Other, 0x19, 0x21)
    );
    let made = policy(&facts);
    assert_eq!(made.at_vm_change, Actions::RSB_FILL);
    assert!(!made.exposures.all_handled());
}

/// The widest exposure fits: none is lost for want of room.
#[test]
fn the_list_holds_all_weaknesses_at_once() {
    let all = Facts {
        vendor: Vendor::Intel,
        family: 6,
        model: 0x8e,
        stepping: 0xc,
        leaf_7_ebx: spec::cpuid::Leaf7Ebx::RTM,
        leaf_7_edx: D::IBRS,
        leaf_7_2_edx: Leaf7Sub2Edx::empty(),
        arch_capabilities: Some(Caps::IBRS_ALL | Caps::RFDS_CLEAR),
        used: Use::default(),
    };
    let made = policy(&all);
    let names: Vec<_> = made.exposures.iter().map(|it| it.name).collect();
    assert_eq!(
        names,
        [
            "Spectre v2",
            "Retbleed",
            "BHI",
            "ITS",
            "PBRSB",
            "L1TF",
            "MDS",
            "TAA",
            "MMIO stale data",
            "RFDS",
            "iTLB multihit",
            "GDS",
            "SRBDS",
            "SSB",
        ]
    );
}
