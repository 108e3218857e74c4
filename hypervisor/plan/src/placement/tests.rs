use crate::{
    Cyclic, Exits, Format, Interrupts, Plan, Recovery, Reservation, Runs, Share, Smt, Spare, Vm,
    Window,
};
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
        interrupts: Interrupts::Auto,
        exits: Exits::Any,
        autostart: true,
        recovery: Recovery::default(),
        watchdog: None,
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

/// One VM that takes turns, with so many vCPUs, a weight, and a reservation in microseconds.
type Turns = (u32, Option<u32>, Option<(u64, u64)>);

fn pool(vms: &[Turns], own: &[u32]) -> Plan {
    let mut wishes: Vec<_> = vms.iter().map(|vm| Err(vm.0)).collect();
    wishes.push(Ok(own.to_vec()));
    let mut plan = plan(&wishes);
    for (vm, (_, weight, reservation)) in plan.vms.iter_mut().zip(vms) {
        let reservation = reservation.map(|(budget, period)| Reservation {
            budget: budget * 1000,
            period: period * 1000,
        });
        vm.runs = Runs::Pool(Share {
            weight: *weight,
            reservation,
        });
    }
    plan
}

/// A table for all vCPUs of the first VM, one window each.
fn tabled(mut plan: Plan, core: u32, spare: Spare) -> Plan {
    plan.vms[0].runs = Runs::Cyclic;
    let window = |vcpu| Window {
        vm: 0,
        vcpu,
        at: u64::from(vcpu) * 1_000_000,
        length: 1_000_000,
    };
    plan.cyclic.push(Cyclic {
        core,
        frame: 100_000_000,
        spare,
        windows: (0..plan.vms[0].vcpus).map(window).collect(),
    });
    plan
}

#[test]
fn weights_are_even_and_the_heaviest_come_first() {
    let vms = [
        (2, Some(100), None),
        (1, Some(300), None),
        (1, Some(200), None),
    ];
    // 300 on 0, 200 on 1, and then 100 on 1 and 100 on 0, which come to 300 and 400.
    assert_eq!(
        pool(&vms, &[]).place(2),
        [vec![1, 0], vec![0], vec![1], vec![]]
    );
}

#[test]
fn reservations_come_first_and_the_largest_of_them_fill_the_last_core() {
    let vms = [
        (1, None, Some((300, 1000))),
        (1, None, Some((600, 1000))),
        (1, None, Some((500, 1000))),
        (1, Some(100), Some((1000, 10_000))),
    ];
    // 60 % and 30 % on core 3, 50 % and 10 % on core 2.
    let placed = pool(&vms, &[1]).place(4);
    assert_eq!(placed, [vec![3], vec![3], vec![2], vec![3], vec![1]]);
}

#[test]
fn weights_go_where_reservations_leave_time() {
    let half = (1, None, Some((500, 1000)));
    let vms = [half, (3, Some(100), None)];
    // Core 1 has half of its time left: it gets one vCPU of three.
    assert_eq!(pool(&vms, &[]).place(2), [vec![1], vec![0, 0, 1], vec![]]);
    // A weight beside a reservation counts where that is.
    let vms = [(1, Some(1000), Some((10, 1000))), (2, Some(100), None)];
    assert_eq!(pool(&vms, &[]).place(2), [vec![1], vec![0, 0], vec![]]);
}

#[test]
fn what_a_switch_costs_takes_room() {
    let vms = [(2, None, Some((500, 1000)))];
    let plan = pool(&vms, &[]);
    assert_eq!(plan.place(2), [vec![1, 1], vec![]]);
    assert_eq!(plan.admit(1, 0), Ok(()));
    assert_eq!(plan.place_with(2, 1), [vec![1, 0], vec![]]);
    assert_eq!(plan.admit(2, 1), Ok(()));
    let unfit = plan.admit(1, 1).expect_err("100.0002 %");
    assert_eq!((unfit.vm, unfit.vcpu), (0, 1));
    // Where it does not fit, it still has a core.
    assert_eq!(plan.place_with(1, 1), [vec![0, 0], vec![]]);
}

#[test]
fn cyclic_vcpus_are_where_their_table_is() {
    let vms = [
        (2, None, None),
        (2, Some(100), None),
        (1, None, Some((10, 1000))),
    ];
    for (spare, pool_of_three) in [(Spare::Idle, vec![1, 2]), (Spare::Pool, vec![0, 1, 2])] {
        let plan = tabled(pool(&vms, &[]), 0, spare);
        assert_eq!(plan.place(3), [vec![0, 0], vec![1, 2], vec![2], vec![]]);
        assert_eq!(plan.pool(3), pool_of_three);
    }
}

#[test]
fn spare_time_of_a_table_is_the_last_resort_of_weights_and_none_of_reservations() {
    let vms = [
        (1, None, None),
        (2, Some(100), None),
        (1, None, Some((10, 1000))),
    ];
    let one = |spare| tabled(pool(&vms, &[1]), 0, spare).place(2);
    assert_eq!(one(Spare::Pool), [vec![0], vec![0, 0], vec![], vec![1]]);
    assert_eq!(one(Spare::Idle), [vec![0], vec![], vec![], vec![1]]);
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

    #[test]
    fn reservations_stay_within_their_cores_and_weights_are_even(
        vms in proptest::collection::vec(turns(), 1..12),
        cores in 1..8u32,
        overhead in 0..20_000u64,
    ) {
        let plan = pool(&vms, &[]);
        let placed = plan.place_with(cores, overhead);
        let millionths = |of: &Reservation| (of.budget + overhead) as f64 / of.period as f64 * 1e6;
        let mut reserved = vec![0.0; cores as usize];
        let mut weights = vec![Vec::new(); cores as usize];
        for (vm, on) in plan.vms.iter().zip(&placed).take(vms.len()) {
            prop_assert_eq!(on.len(), vm.vcpus as usize);
            let share = vm.share().expect("takes turns");
            for core in on {
                reserved[*core as usize] += share.reservation.as_ref().map_or(0.0, millionths);
                let movable = share.reservation.is_none();
                weights[*core as usize].push((share.weight.unwrap_or(0), movable));
            }
        }
        if plan.admit(cores, overhead).is_ok() {
            prop_assert!(reserved.iter().all(|sum| *sum <= 1e6 + 1.0), "{:?}", reserved);
        } else {
            // What finds no room is, if it fits anywhere at all, no larger than what is on each core.
            let shares = plan.vms.iter().filter_map(|vm| vm.share()?.reservation);
            let vast = shares.map(|of| millionths(&of)).any(|part| part > 1e6);
            prop_assert!(vast || reserved.iter().all(|sum| *sum > 0.499e6), "{:?}", reserved);
        }
        // No weight that may move would have more elsewhere, once all are placed. How little is left of a core that is full is rounding.
        let left = |core: usize| 1e6 - reserved[core];
        let has_room = |core: &usize| left(*core) > 100.0;
        let sum = |core: usize| weights[core].iter().map(|(w, _)| f64::from(*w)).sum::<f64>();
        for (core, here) in weights.iter().enumerate() {
            let lightest = here.iter().filter(|(_, movable)| *movable).map(|(w, _)| f64::from(*w));
            let Some(lightest) = lightest.reduce(f64::min) else { continue };
            if !has_room(&core) {
                prop_assert!(!(0..cores as usize).any(|other| has_room(&other)), "{core} {:?} {:?}", weights, reserved);
                continue;
            }
            for other in (0..cores as usize).filter(has_room) {
                let (stays, moves) = (sum(core) / left(core), (sum(other) + lightest) / left(other));
                prop_assert!(stays <= moves * 1.0001, "{core} {other} {:?} {:?}", weights, reserved);
            }
        }
    }
}

fn turns() -> impl Strategy<Value = Turns> {
    let reservation = (100..10_000u64).prop_flat_map(|period| (10..=period, Just(period)));
    let weight = prop_oneof![Just(100), 1..10_000u32];
    (
        1..5u32,
        proptest::option::of(weight),
        proptest::option::of(reservation),
    )
        .prop_map(|(vcpus, weight, reservation)| match reservation {
            None => (vcpus, Some(weight.unwrap_or(100)), None),
            _ => (vcpus, weight, reservation),
        })
}
