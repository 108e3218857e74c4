//! What all cores share once the machine is up: the guests, the bundle they are loaded from, and the table of cores.

use crate::guest::Guest;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use hw::core_local::CoreLocal;
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
    /// When the hypervisor was entered
    pub(crate) entered: Ticks,
}

/// A core that the plan can name.
#[derive(Debug)]
pub(crate) struct Seat {
    /// Local APIC id
    pub(crate) apic_id: u32,
    up: AtomicBool,
}

static MACHINE: Once<Machine> = Once::new();
static SEATS: Once<Box<[Seat]>> = Once::new();

/// The machine, once it is up.
pub(crate) fn get() -> Option<&'static Machine> {
    MACHINE.get()
}

/// Puts the machine up.
pub(crate) fn publish(machine: Machine) -> &'static Machine {
    MACHINE.call_once(|| machine)
}

/// Says which cores there are, by their local APIC ids.
pub(crate) fn set_seats(apic_ids: impl Iterator<Item = u32>) {
    SEATS.call_once(|| {
        apic_ids
            .map(|apic_id| Seat {
                apic_id,
                up: AtomicBool::new(false),
            })
            .collect()
    });
}

/// The cores by their numbers.
pub(crate) fn seats() -> &'static [Seat] {
    SEATS.get().map_or(&[], |seats| seats)
}

impl Seat {
    /// Whether it has been started and takes orders.
    pub(crate) fn is_up(&self) -> bool {
        self.up.load(Ordering::Acquire)
    }

    /// It runs our code from now on.
    pub(crate) fn set_up(&self) {
        self.up.store(true, Ordering::Release);
    }
}

/// Has a core look at its mailboxes and orders. What was written before is seen by it then.
pub(crate) fn kick(number: u32) {
    let Some(seat) = seats().get(number as usize).filter(|seat| seat.is_up()) else {
        return;
    };
    match CoreLocal::current() {
        Some(local) if local.index == number => local.note_kick(),
        _ => hw::apic::send_nmi(seat.apic_id),
    }
}

/// The core of each vCPU of each VM of a plan. A core that has not come up is stood in for by the others in turn, but by none that a VM
/// has for itself.
pub(crate) fn place(plan: &Plan) -> Vec<Vec<u32>> {
    let seats = seats();
    let mut places = plan.place(seats.len() as u32);
    let is_up = |n: u32| seats.get(n as usize).is_some_and(Seat::is_up);
    let dedicated: Vec<u32> = plan
        .vms
        .iter()
        .flat_map(|vm| vm.dedicated().into_iter().flatten().copied())
        .collect();
    let mut left: Vec<u32> = (0..seats.len() as u32)
        .filter(|n| is_up(*n) && !dedicated.contains(n))
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
    places
}
