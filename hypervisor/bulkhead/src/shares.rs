//! What vCPUs may have of the pool's cores: as the plan says, until somebody changes it; and whether all of that fits.

use crate::guest::Guest;
use crate::machine::Machine;
use crate::seat;
use alloc::boxed::Box;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicU32, Ordering};
use plan::{Reservation, Runs, Share};
use sched::admission::{Demand, Sum};
use sched::{Scheduler, Table, Weight, Window};
use spec::{Hz, Nanos, Ticks};
use spin::Mutex;

/// How long a vCPU has the core while another one with a weight waits, in nanoseconds.
const SLICE: u64 = 1_000_000;

/// What a wake-up costs, and so what a reservation costs besides its budget in each of its periods: a vCPU comes and goes, each with a
/// timer's exit, a decision, the registers of two vCPUs and an entry. Measured: 1,500 ticks at most, without what the hygiene of some processors adds.
pub(crate) const OVERHEAD: Ticks = Ticks(2 * 1_600);

/// The share of each of a VM's vCPUs.
pub(crate) struct Shared {
    share: Mutex<Share>,
    /// Changes with it
    version: AtomicU32,
    /// Where each vCPU's reservation is, [`NOWHERE`] without one
    homes: Box<[AtomicU32]>,
}

const NOWHERE: u32 = u32::MAX;

impl Shared {
    /// As the plan has it, for vCPUs on these cores.
    pub(crate) fn new(plan: &plan::Vm, cores: &[u32]) -> Self {
        let share = plan.share().unwrap_or(Share {
            weight: None,
            reservation: None,
        });
        let home = |core: &u32| AtomicU32::new(share.reservation.map_or(NOWHERE, |_| *core));
        Self {
            share: Mutex::new(share),
            version: AtomicU32::new(0),
            homes: cores.iter().map(home).collect(),
        }
    }

    /// What it is.
    pub(crate) fn get(&self) -> Share {
        *self.share.lock()
    }

    /// Which one it is: another number, another share.
    pub(crate) fn version(&self) -> u32 {
        self.version.load(Ordering::Acquire)
    }

    /// The core to which a vCPU has to go, if its reservation is on a certain one.
    pub(crate) fn home(&self, vcpu: u32) -> Option<u32> {
        let home = self.homes.get(vcpu as usize)?.load(Ordering::Acquire);
        (home != NOWHERE).then_some(home)
    }
}

/// What a vCPU of a guest may have, in terms of its scheduler.
pub(crate) fn of(machine: &Machine, guest: &Guest) -> sched::Share {
    let tsc = machine.bundle.handover().tsc;
    match guest.plan.runs {
        // There is nobody to share with.
        Runs::Dedicated(_) => sched::Share {
            weight: Some(Weight::default()),
            reservation: None,
        },
        Runs::Cyclic => sched::Share::default(),
        Runs::Pool(_) => {
            let share = guest.share.get();
            sched::Share {
                weight: share.weight.and_then(Weight::new),
                reservation: share.reservation.map(|r| sched::Reservation {
                    budget: tsc.ticks(r.budget),
                    period: tsc.ticks(r.period),
                }),
            }
        }
    }
}

/// A scheduler for a core, with its table if it has one.
pub(crate) fn scheduler(machine: &Machine, core: u32, now: Ticks) -> Scheduler {
    let handover = machine.bundle.handover();
    let tsc = handover.tsc;
    // A plan has fewer than 64 times 64.
    let mut scheduler = Scheduler::new(machine.vcpus().count() as u16, tsc.ticks(SLICE), now);
    scheduler.set_wake_cost(OVERHEAD);
    for cyclic in handover.plan.cyclic.iter().filter(|c| c.core == core) {
        let window = |w: &plan::Window| {
            // Both ends are rounded alike, so that neighbours do not come to overlap.
            let (at, end) = (tsc.ticks(w.at), tsc.ticks(w.at + w.length));
            let guest = machine.guests.get(w.vm as usize)?;
            Some(Window {
                at,
                length: end.since(at),
                id: guest.id(w.vcpu),
            })
        };
        let windows: Vec<Window> = cyclic.windows.iter().filter_map(window).collect();
        match Table::new(tsc.ticks(cyclic.frame), now, windows) {
            Ok(table) => scheduler.set_table(Some(table), now),
            Err(e) => crate::error!("core: the table of core {core}: {e}"),
        }
    }
    scheduler
}

/// Whether what the plan reserves fits on its cores with what switches cost.
///
/// # Errors
/// The sum that does not.
pub(crate) fn admit(guests: &[Guest], tsc: Hz) -> Result<(), String> {
    for core in 0..seat::all().len() as u32 {
        let demands = demands(guests, core, None);
        fits(&demands, tsc)
            .map_err(|sum| format!("the reservations on core {core} do not fit: {sum}"))?;
    }
    Ok(())
}

/// What is reserved on a core, leaving out one guest.
fn demands(guests: &[Guest], core: u32, but: Option<u32>) -> Vec<Demand> {
    let mut all = Vec::new();
    for guest in guests.iter().filter(|guest| Some(guest.index) != but) {
        let Some(Reservation { budget, period }) = guest.share.get().reservation else {
            continue;
        };
        let here = (0..guest.plan.vcpus).filter(|vcpu| guest.share.home(*vcpu) == Some(core));
        all.extend(here.map(|_| Demand { budget, period }));
    }
    all
}

fn fits(demands: &[Demand], tsc: Hz) -> Result<(), String> {
    let sum = Sum {
        demands,
        overhead: tsc.nanos(OVERHEAD),
    };
    if sum.fits() {
        Ok(())
    } else {
        Err(format!("{sum}"))
    }
}

/// A change of shares, as it is asked for.
pub(crate) struct Change {
    /// Zero: none
    pub(crate) weight: Option<u32>,
    /// In nanoseconds; zero: no reservation
    pub(crate) budget: Option<u64>,
    /// In nanoseconds
    pub(crate) period: Option<u64>,
}

/// Changes the share of a guest's vCPUs, if that fits. Only one core does this: the one that serves the consoles.
///
/// # Errors
/// Why it is not done, in a full sentence.
pub(crate) fn set(machine: &Machine, guest: &Guest, change: &Change) -> Result<String, String> {
    let name = &guest.vm.name;
    if guest.plan.share().is_none() {
        return Err(format!(
            "{name} has no share of the pool: it has cores or windows of its own."
        ));
    }
    let share = changed(guest.share.get(), change).map_err(|why| format!("{name}: {why}"))?;
    let away = |vcpu: &u32| !machine.reserving.contains(&guest.places.of(*vcpu));
    if share.reservation.is_some()
        && let Some(vcpu) = (0..guest.plan.vcpus).find(away)
        && (machine.reserving.is_empty() || !machine.pool.contains(&guest.places.of(vcpu)))
    {
        return Err(format!(
            "{name}: no time can be reserved, since vCPU {vcpu} is on a core that takes no part in moves."
        ));
    }
    let mut homes = Vec::new();
    if let Some(Reservation { budget, period }) = share.reservation {
        let tsc = machine.bundle.handover().tsc;
        let mut cores: Vec<(u32, Vec<Demand>)> = machine
            .reserving
            .iter()
            .map(|core| (*core, demands(&machine.guests, *core, Some(guest.index))))
            .collect();
        for vcpu in 0..guest.plan.vcpus {
            // Where it is, if it fits there.
            cores.sort_by_key(|(core, _)| (*core != guest.places.of(vcpu), *core));
            let mut sums = Vec::new();
            let mut home = None;
            for (core, demands) in &mut cores {
                demands.push(Demand { budget, period });
                match fits(demands, tsc) {
                    Ok(()) => {
                        home = Some(*core);
                        break;
                    }
                    Err(sum) => {
                        demands.pop();
                        sums.push(format!("on core {core} {sum}"));
                    }
                }
            }
            homes.push(home.ok_or_else(|| {
                let sums = sums.join(", ");
                format!("{name}: no core has room for what vCPU {vcpu} is to have: {sums}.")
            })?);
        }
    }
    for (vcpu, home) in guest.share.homes.iter().enumerate() {
        let core = homes.get(vcpu).copied().unwrap_or(NOWHERE);
        home.store(core, Ordering::Release);
    }
    *guest.share.share.lock() = share;
    guest.share.version.fetch_add(1, Ordering::AcqRel);
    guest.kick();
    Ok(format!("{name} has {}.", told(share)))
}

fn changed(old: Share, change: &Change) -> Result<Share, String> {
    let weight = match change.weight {
        None => old.weight,
        Some(0) => None,
        Some(weight) if Weight::new(weight).is_some() => Some(weight),
        Some(_) => return Err(format!("a weight is 1 to {}.", Weight::MAX.get())),
    };
    let was = |part: fn(Reservation) -> u64| old.reservation.map(part);
    let reservation = match (
        change.budget.or(was(|r| r.budget)),
        change.period.or(was(|r| r.period)),
    ) {
        (None | Some(0), _) if change.period.is_some() && change.budget != Some(0) => {
            return Err("a period needs a budget.".into());
        }
        (None | Some(0), _) => None,
        (Some(_), None) => return Err("a budget needs a period.".into()),
        (Some(budget), Some(period)) => Some(Reservation { budget, period }),
    };
    if let Some(reservation) = reservation {
        reservation.check()?;
    }
    if weight.is_none() && reservation.is_none() {
        return Err("without a weight and a budget it would never run.".into());
    }
    Ok(Share {
        weight,
        reservation,
    })
}

fn told(share: Share) -> String {
    let reservation = share
        .reservation
        .map(|r| format!("a budget of {} in {}", Nanos(r.budget), Nanos(r.period)));
    let weight = share.weight.map(|weight| format!("a weight of {weight}"));
    match (weight, reservation) {
        (Some(weight), Some(reservation)) => format!("{weight} and {reservation}"),
        (one, other) => one.or(other).unwrap_or_default(),
    }
}
