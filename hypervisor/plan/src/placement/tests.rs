use crate::{Format, Plan, Runs, Share, Smt, Vm};
use alloc::collections::BTreeSet;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
use proptest::prelude::*;

/// VMs with dedicated cores, or with a number of vCPUs that take turns.
fn plan(vms: &[Result<Vec<u32>, u32>]) -> Plan {
    let vm = |wish: &Result<Vec<u32>, u32>| Vm {
        name: String::new(),
        kernel: String::new(),
        format: Format::Auto,
        initrd: None,
        cmdline: String::new(),
        modules: vec![],
        memory: 2 << 20,
        vcpus: wish
            .as_ref()
            .map_or_else(|n| *n, |cores| cores.len() as u32),
        runs: match wish {
            Ok(cores) => Runs::Dedicated(cores.clone()),
            Err(_) => Runs::Pool(Share::default()),
        },
        autostart: true,
    };
    Plan {
        smt: Smt::Off,
        statistics: false,
        cyclic: vec![],
        vms: vms.iter().map(vm).collect(),
    }
}

#[test]
fn shared_vcpus_go_in_turn_over_what_is_nobodys_own() {
    let plan = plan(&[Err(2), Ok(vec![1, 4]), Err(4)]);
    assert_eq!(plan.place(5), [vec![0, 2], vec![1, 4], vec![3, 0, 2, 3]]);
}

#[test]
fn one_core_runs_all_that_is_shared() {
    assert_eq!(plan(&[Err(3), Err(1)]).place(1), [vec![0; 3], vec![0]]);
}

#[test]
fn what_has_no_core_is_left_without_one() {
    let plan = plan(&[Ok(vec![0]), Err(2)]);
    assert_eq!(plan.place(1), [vec![0], vec![]]);
    assert_eq!(plan.place(0), [vec![0], vec![]]);
}

/// A machine of 1 to 300 cores, and VMs of which all can be placed on it.
fn machine() -> impl Strategy<Value = (u32, Vec<Result<Vec<u32>, u32>>)> {
    let order = (1..300u32).prop_flat_map(|n| Just((0..n).collect::<Vec<_>>()).prop_shuffle());
    let wishes = proptest::collection::vec((any::<bool>(), 1..=64usize), 1..20);
    (order, wishes).prop_map(|(order, wishes)| {
        // One core stays nobody's own.
        let (_, mut free) = order.split_first().expect("a core");
        let mut wish = |(own, vcpus): (bool, usize)| match free.split_at_checked(vcpus) {
            Some((cores, rest)) if own => {
                free = rest;
                Ok(cores.to_vec())
            }
            _ => Err(vcpus as u32),
        };
        (
            order.len() as u32,
            wishes.into_iter().map(&mut wish).collect(),
        )
    })
}

proptest! {
    #[test]
    fn each_vcpu_has_a_core_and_a_dedicated_core_has_one_vcpu((cores, wishes) in machine()) {
        let plan = plan(&wishes);
        let placed = plan.place(cores);
        prop_assert_eq!(placed.len(), plan.vms.len());
        let mut own = BTreeSet::new();
        let mut load = vec![0u32; cores as usize];
        let mut shared = Vec::new();
        for (vm, on) in plan.vms.iter().zip(&placed) {
            prop_assert_eq!(on.len(), vm.vcpus as usize);
            match vm.dedicated() {
                Some(cores) => prop_assert_eq!(cores, on),
                None => shared.extend(on),
            }
            for core in on {
                prop_assert!(*core < cores);
                load[*core as usize] += 1;
                prop_assert!(vm.dedicated().is_none() || own.insert(*core));
            }
        }
        prop_assert!(shared.iter().all(|core| !own.contains(core)));
        let free = (0..cores).filter(|core| !own.contains(core));
        // Evenly: no core has two vCPUs more than another.
        let loads = free.clone().map(|core| load[core as usize]);
        prop_assert!(loads.clone().max() <= loads.min().map(|least| least + 1));
        // In turn: each one's next is the next higher, or the lowest of all.
        let order: Vec<u32> = free.collect();
        for (index, core) in shared.into_iter().enumerate() {
            prop_assert_eq!(core, order[index % order.len()]);
        }
    }
}
