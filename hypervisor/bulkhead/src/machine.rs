//! What all cores share once the machine is up: the guests, and the bundle they are loaded from.

use crate::certify::Layout;
use crate::guest::Guest;
use crate::seat::{self, Seat};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use plan::Plan;
use plan::bundle::Bundle;
use processor::hygiene::Hygiene;
use spec::Ticks;
use spin::Once;

/// The machine, from the moment at which guests may run.
pub(crate) struct Machine {
    /// Plan, kernels, what the loader learnt
    pub(crate) bundle: Bundle<'static>,
    /// The guests of the plan, in its order
    pub(crate) guests: Box<[Guest]>,
    /// What is done where guests change
    pub(crate) hygiene: Hygiene,
    /// What is known of memory
    pub(crate) layout: Layout,
    /// When the hypervisor was entered
    pub(crate) entered: Ticks,
    /// The cores between which vCPUs with a weight may move
    pub(crate) pool: Vec<u32>,
    /// Those of them on which time can be reserved
    pub(crate) reserving: Vec<u32>,
}

static MACHINE: Once<Machine> = Once::new();

/// The machine, once it is up.
pub(crate) fn get() -> Option<&'static Machine> {
    MACHINE.get()
}

/// Puts the machine up.
pub(crate) fn publish(machine: Machine) -> &'static Machine {
    MACHINE.call_once(|| machine)
}

impl Machine {
    /// All vCPUs in the order of their numbers, each as its guest and its index there.
    pub(crate) fn vcpus(&self) -> impl Iterator<Item = (&Guest, u32)> {
        let of = |guest| move |index| (guest, index);
        self.guests
            .iter()
            .flat_map(move |guest| (0..guest.plan.vcpus).map(of(guest)))
    }
}

/// The core of each vCPU of each VM of a plan. A core that has not come up is stood in for by the others in turn, but by none that a VM
/// has for itself, or that has a table. A reservation costs `overhead` nanoseconds in each of its periods.
///
/// # Errors
/// What cannot be stood in for.
pub(crate) fn place(plan: &Plan, overhead: u64) -> Result<Vec<Vec<u32>>, String> {
    let seats = seat::all();
    let cores = seats.len() as u32;
    plan.admit(cores, overhead).map_err(|e| e.to_string())?;
    let mut places = plan.place_with(cores, overhead);
    let is_up = |n: u32| seats.get(n as usize).is_some_and(Seat::is_up);
    if let Some(table) = plan.cyclic.iter().find(|table| !is_up(table.core)) {
        return Err(alloc::format!(
            "core {} has a table of windows, and has not come up",
            table.core
        ));
    }
    let mut left: Vec<u32> = plan
        .pool(seats.len() as u32)
        .into_iter()
        .filter(|n| is_up(*n) && plan.cyclic.iter().all(|table| table.core != *n))
        .collect();
    if left.is_empty() {
        // The first core runs this.
        left.push(0);
    }
    let mut stand_ins = left.iter().cycle();
    for (vm, place) in plan.vms.iter().zip(&mut places) {
        for core in place.iter_mut().filter(|core| !is_up(**core)) {
            if let Some(other) = stand_ins.next() {
                crate::warning!(
                    "vm: {} runs on core {other}, since core {core} is not there",
                    vm.name
                );
                *core = *other;
            }
        }
    }
    Ok(places)
}

/// The cores between which vCPUs may move: those of the plan's pool that are up, if time is the same on all of them.
pub(crate) fn pool(plan: &Plan) -> Vec<u32> {
    let is_up = |n: &u32| seat::at(*n).is_some_and(Seat::is_up);
    let in_step = |n: &u32| seat::at(*n).is_some_and(Seat::is_in_step);
    let pool = plan.pool(seat::all().len() as u32);
    pool.into_iter().filter(is_up).filter(in_step).collect()
}

/// Those cores of the pool on which time can be reserved: without a table.
pub(crate) fn reserving(plan: &Plan, pool: &[u32]) -> Vec<u32> {
    let has_table = |core: &u32| plan.cyclic.iter().any(|table| table.core == *core);
    pool.iter()
        .copied()
        .filter(|core| !has_table(core))
        .collect()
}
