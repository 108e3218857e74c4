//! What machine a plan needs, for a user who does not say.

use crate::machine::MAX_CPUS;
use anyhow::{Result, ensure};
use plan::{Plan, Vm};

/// MiB that firmware, the hypervisor and its tables take, with room.
const ROOM: u64 = 192;
/// The smallest machine, in MiB.
const SMALLEST: u64 = 512;
/// MiB in which a machine's memory grows.
const STEP: u64 = 128;
/// The largest, in MiB.
const LARGEST: u64 = 64 << 10;
/// vCPUs that take turns are given no more cores than this: an emulator runs all cores on one thread of the host.
const SHARED: u32 = 4;
/// Nanoseconds for the switches of a reservation in each of its periods: more than the emulated machine charges, which
/// says what it does when it has measured it.
const OVERHEAD: u64 = 100_000;

/// Cores that the plan's vCPUs can run on: each that is named, and some for those that take turns.
///
/// # Errors
/// When it needs more than a machine has.
pub fn cores(plan: &Plan) -> Result<u32> {
    let tables = || plan.cyclic.iter().map(|table| table.core);
    let dedicated = || plan.vms.iter().filter_map(|vm| vm.dedicated()).flatten();
    let named = || dedicated().copied().chain(tables());
    let highest = named().max().map_or(0, |core| core.saturating_add(1));
    let own = u32::try_from(dedicated().count() + plan.cyclic.len())?;
    let mut cores = highest.max(own.saturating_add(shared(plan))).max(1);
    // What fits nowhere for its switches alone is the machine's to refuse, which has measured them.
    let overhead = plan.admit(MAX_CPUS, OVERHEAD).map_or(0, |()| OVERHEAD);
    while cores <= MAX_CPUS && plan.admit(cores, overhead).is_err() {
        cores += 1;
    }
    ensure!(
        cores <= MAX_CPUS,
        "the config needs {cores} cores or more, and the emulated machine has at most {MAX_CPUS}"
    );
    Ok(cores)
}

/// Cores for vCPUs that take turns, without a look at reservations.
fn shared(plan: &Plan) -> u32 {
    let vcpus = plan
        .vms
        .iter()
        .filter(|vm| vm.share().is_some())
        .map(|vm| vm.vcpus);
    let reserves = |vm: &Vm| vm.share().is_some_and(|share| share.reservation.is_some());
    // Who reserves time, or lays it out in a table, wants to see cores shared; but two vCPUs of one VM on a core
    // are of use to nobody.
    let vcpus = if !plan.cyclic.is_empty() || plan.vms.iter().any(reserves) {
        vcpus.max().unwrap_or(0)
    } else {
        vcpus.sum()
    };
    vcpus.min(SHARED)
}

/// Memory in MiB for the guests, the files (once as read, once as loaded), and all else; `files` is in bytes.
///
/// # Errors
/// When it needs more than a machine has.
pub fn memory(plan: &Plan, files: u64) -> Result<u32> {
    let guests: u64 = plan.vms.iter().map(|vm| vm.memory >> 20).sum();
    // A 256th for nested page tables, should all of it be in pages of 4 KiB.
    let all = guests + guests / 256 + (files >> 20) * 2 + ROOM;
    let all = all.next_multiple_of(STEP).max(SMALLEST);
    ensure!(
        all <= LARGEST,
        "the config needs {all} MiB, and the emulated machine has at most {LARGEST} MiB"
    );
    Ok(u32::try_from(all)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use plan::{Facts, Runs};

    fn plan(vms: &[(&str, u32, Option<Vec<u32>>)]) -> Plan {
        let text = "[[vm]]\nname = \"a\"\nkernel = \"k\"\nmemory = \"256 MiB\"\n";
        let mut plan = plan::parse(text, "test", &Facts::default()).unwrap();
        let one = plan.vms.remove(0);
        for (name, vcpus, cores) in vms {
            let mut vm = one.clone();
            (vm.name, vm.vcpus) = ((*name).to_owned(), *vcpus);
            if let Some(cores) = cores {
                vm.runs = Runs::Dedicated(cores.clone());
            }
            plan.vms.push(vm);
        }
        plan
    }

    #[test]
    fn one_vm_with_one_vcpu_needs_one_core() {
        assert_eq!(cores(&plan(&[("a", 1, None)])).unwrap(), 1);
        assert_eq!(cores(&plan(&[("a", 2, None)])).unwrap(), 2);
    }

    #[test]
    fn a_named_core_must_be_there_and_the_others_left_for_those_that_share() {
        assert_eq!(cores(&plan(&[("a", 1, Some(vec![3]))])).unwrap(), 4);
        let two = [("a", 2, Some(vec![1, 2])), ("b", 1, None)];
        assert_eq!(cores(&plan(&two)).unwrap(), 3);
        let all = [("a", 2, Some(vec![0, 1])), ("b", 1, None)];
        assert_eq!(cores(&plan(&all)).unwrap(), 3);
        assert!(cores(&plan(&[("a", 1, Some(vec![16]))])).is_err());
    }

    #[test]
    fn many_that_take_turns_get_a_few() {
        let vms: Vec<_> = ["a", "b", "c", "d", "e", "f"]
            .map(|n| (n, 1, None))
            .to_vec();
        assert_eq!(cores(&plan(&vms)).unwrap(), 4);
        assert_eq!(cores(&plan(&[("a", 64, None)])).unwrap(), 4);
    }

    fn parsed(text: &str) -> Plan {
        plan::parse(text, "test", &Facts::default()).unwrap()
    }

    #[test]
    fn a_core_with_a_table_must_be_there_and_is_no_place_for_others() {
        let vm =
            |name: &str| format!("[[vm]]\nname = \"{name}\"\nkernel = \"k\"\nmemory = \"2 MiB\"\n");
        let table = |core: u32| {
            format!(
                "[[cyclic]]\ncore = {core}\nframe = \"10 ms\"\n\
                 windows = [{{ vm = \"a\", at = \"0 ms\", length = \"1 ms\" }}]\n"
            )
        };
        assert_eq!(cores(&parsed(&(vm("a") + &table(0)))).unwrap(), 1);
        assert_eq!(cores(&parsed(&(vm("a") + &table(3)))).unwrap(), 4);
        let three = vm("a") + &vm("b") + &vm("c");
        assert_eq!(cores(&parsed(&(three.clone() + &table(0)))).unwrap(), 2);
        assert_eq!(
            cores(&parsed(&(three + "vcpus = 2\n" + &table(1)))).unwrap(),
            3
        );
    }

    #[test]
    fn there_is_room_for_all_that_is_reserved() {
        let vm = |name: &str, more: &str| {
            format!("[[vm]]\nname = \"{name}\"\nkernel = \"k\"\nmemory = \"2 MiB\"\n{more}")
        };
        let third = "budget = \"300 us\"\nperiod = \"1 ms\"\n";
        let two = vm("a", third) + &vm("b", third);
        assert_eq!(cores(&parsed(&two)).unwrap(), 1);
        assert_eq!(cores(&parsed(&(two.clone() + &vm("c", "")))).unwrap(), 1);
        // Three times 300 us and what the switches cost are more than a millisecond.
        assert_eq!(cores(&parsed(&(two.clone() + &vm("c", third)))).unwrap(), 2);
        assert_eq!(
            cores(&parsed(&(two + &vm("c", "cores = [0]\n")))).unwrap(),
            2
        );
        let all = vm("a", "budget = \"1 ms\"\nperiod = \"1 ms\"\n");
        assert_eq!(cores(&parsed(&all)).unwrap(), 1);
        let many = vm("a", "vcpus = 64\nbudget = \"900 ms\"\nperiod = \"1 s\"\n");
        assert!(cores(&parsed(&many)).is_err());
    }

    #[test]
    fn the_example_of_all_classes_needs_two_cores() {
        let text = include_str!("../../examples/mixed.toml");
        assert_eq!(cores(&parsed(text)).unwrap(), 2);
        assert_eq!(
            parsed(text).place(2),
            [vec![0], vec![0], vec![0], vec![1], vec![1]]
        );
    }

    #[test]
    fn memory_grows_with_the_guests() {
        let one = plan(&[("a", 1, None)]);
        assert_eq!(memory(&one, 16 << 20).unwrap(), 512);
        let three = plan(&[("a", 1, None), ("b", 1, None), ("c", 1, None)]);
        let needed = memory(&three, 32 << 20).unwrap();
        assert!((3 * 256 + 256..2048).contains(&needed), "{needed}");
        assert_eq!(needed % 128, 0);
        let mut vast = one;
        vast.vms[0].memory = 1 << 40;
        assert!(memory(&vast, 0).is_err());
    }
}
