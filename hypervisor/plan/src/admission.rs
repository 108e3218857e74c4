//! Which core carries which reservation, and why one finds no place.

use crate::placement::Vcpu;
use crate::units::counted;
use crate::{Plan, Reservation};
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use sched::admission::{Demand, Sum};
use spec::Nanos;

/// A whole core, in the unit in which what is reserved of one is counted.
const WHOLE: u64 = 1_000_000_000_000;
/// How many cores, and how many reservations of one, an explanation shows one by one.
const SHOWN: usize = 4;

/// A reservation for which no core has room.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Unfit {
    /// Index of its VM in the plan
    pub vm: u32,
    /// Its vCPU
    pub vcpu: u32,
    /// What is wrong
    pub(crate) what: String,
    /// The sum of each core, a line each
    pub(crate) sums: String,
}

/// What is wrong, and below it the sum of each core.
impl fmt::Display for Unfit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}", self.what, self.sums)
    }
}

impl core::error::Error for Unfit {}

/// The cores that take reservations, in the order in which they are tried.
pub(crate) struct Bins {
    bins: Vec<Bin>,
    /// Nanoseconds that each reservation is charged in each of its periods, beside its budget
    overhead: u64,
}

struct Bin {
    core: u32,
    vcpus: Vec<Vcpu>,
    demands: Vec<Demand>,
    /// Sum of their parts of [`WHOLE`], each rounded up
    reserved: u64,
}

impl Bins {
    pub(crate) fn new(cores: impl Iterator<Item = u32>, overhead: u64) -> Self {
        let empty = |core| Bin {
            core,
            vcpus: Vec::new(),
            demands: Vec::new(),
            reserved: 0,
        };
        Self {
            bins: cores.map(empty).collect(),
            overhead,
        }
    }

    /// Puts each where it fits, first-fit decreasing, and gives those back that fit nowhere.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "128 bits hold a product of two of 64"
    )]
    pub(crate) fn fill(&mut self, mut all: Vec<(Vcpu, Reservation)>) -> Vec<(Vcpu, Reservation)> {
        let overhead = self.overhead;
        // budget / period, the largest first, compared without a fraction.
        let part = |of: &Reservation, by: &Reservation| {
            u128::from(of.budget.saturating_add(overhead)) * u128::from(by.period)
        };
        all.sort_by(|(_, a), (_, b)| part(b, a).cmp(&part(a, b)));
        all.retain(|(vcpu, reservation)| {
            let mut bins = self.bins.iter_mut();
            let fit = bins.find(|bin| bin.takes(demand(*reservation), overhead));
            fit.map(|bin| bin.put(*vcpu, *reservation, overhead))
                .is_none()
        });
        all
    }

    /// Puts each where least is reserved, whether it fits or not.
    pub(crate) fn force(&mut self, all: Vec<(Vcpu, Reservation)>) {
        for (vcpu, reservation) in all {
            let bins = self.bins.iter_mut();
            if let Some(bin) = bins.min_by_key(|bin| bin.reserved) {
                bin.put(vcpu, reservation, self.overhead);
            }
        }
    }

    /// Each vCPU that has a place, and its core.
    pub(crate) fn seats(&self) -> Vec<(Vcpu, u32)> {
        let seats = |bin: &Bin| {
            let core = bin.core;
            bin.vcpus.clone().into_iter().map(move |vcpu| (vcpu, core))
        };
        self.bins.iter().flat_map(seats).collect()
    }

    /// What reservations leave of a core, as a part that is never none.
    pub(crate) fn left(&self, core: u32) -> u64 {
        let bin = self.bins.iter().find(|bin| bin.core == core);
        let reserved = bin.map_or(0, |bin| bin.reserved);
        WHOLE.saturating_sub(reserved).max(1)
    }

    /// Why a reservation has no place beside the others.
    pub(crate) fn unfit(&self, plan: &Plan, (vm, vcpu): Vcpu, reservation: Reservation) -> Unfit {
        let Reservation { budget, period } = reservation;
        let who = match plan.vms.get(vm as usize) {
            Some(vm) if vm.vcpus > 1 => format!("vCPU {vcpu} of \"{}\"", vm.name),
            vm => format!("\"{}\"", vm.map_or("", |vm| &vm.name)),
        };
        let shown = self.bins.iter().take(SHOWN);
        let mut sums: Vec<String> = shown
            .map(|bin| bin.sum_with((vm, vcpu), reservation, self.overhead, plan))
            .collect();
        match self.bins.len().checked_sub(SHOWN) {
            _ if self.bins.is_empty() => {
                sums.push("there is no core that is nobody's own and has no table".into())
            }
            None | Some(0) => {}
            Some(more) => sums.push(format!(
                "nor is there room on {}",
                counted(more as u64, "more core")
            )),
        }
        Unfit {
            vm,
            vcpu,
            what: format!(
                "no core has room for the reservation of {who}, {} of every {}",
                Nanos(budget),
                Nanos(period)
            ),
            sums: sums.join("\n"),
        }
    }
}

impl Bin {
    /// Whether there is room for one more.
    fn takes(&self, more: Demand, overhead: u64) -> bool {
        let sum = self.reserved.saturating_add(part(more, overhead));
        // Each part is rounded up by less than one. Only near the whole this does not tell, and the exact sum, which
        // costs more with each demand, must.
        let least = sum
            .saturating_sub(self.demands.len() as u64)
            .saturating_add(1);
        let exact = || {
            let demands = &self.with(more);
            Sum { demands, overhead }.fits()
        };
        sum <= WHOLE || least <= WHOLE && exact()
    }

    fn with(&self, more: Demand) -> Vec<Demand> {
        self.demands.iter().copied().chain([more]).collect()
    }

    fn put(&mut self, vcpu: Vcpu, reservation: Reservation, overhead: u64) {
        let demand = demand(reservation);
        self.vcpus.push(vcpu);
        self.demands.push(demand);
        self.reserved = self.reserved.saturating_add(part(demand, overhead));
    }

    /// What the core would carry with one more.
    fn sum_with(&self, vcpu: Vcpu, more: Reservation, overhead: u64, plan: &Plan) -> String {
        let demands = &self.with(demand(more));
        let sum = Sum { demands, overhead };
        let who = name(plan, vcpu);
        match self.vcpus.len() {
            0 => format!("core {}: {who}: {sum}", self.core),
            many @ SHOWN.. => format!("core {}: {many} others and {who}: {sum}", self.core),
            _ => {
                let names: Vec<String> = self.vcpus.iter().map(|vcpu| name(plan, *vcpu)).collect();
                format!("core {}: {} + {who}: {sum}", self.core, names.join(" + "))
            }
        }
    }
}

/// The part of [`WHOLE`] that one takes, rounded up.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "128 bits hold a product of two of 64"
)]
fn part(demand: Demand, overhead: u64) -> u64 {
    let cost = u128::from(demand.budget.saturating_add(overhead)) * u128::from(WHOLE);
    let part = cost.div_ceil(u128::from(demand.period.max(1)));
    u64::try_from(part).unwrap_or(u64::MAX)
}

fn demand(Reservation { budget, period }: Reservation) -> Demand {
    Demand { budget, period }
}

/// What a vCPU is called: by its VM alone if that has one.
fn name(plan: &Plan, (vm, vcpu): Vcpu) -> String {
    match plan.vms.get(vm as usize) {
        Some(vm) if vm.vcpus == 1 => vm.name.clone(),
        Some(vm) => format!("{} vcpu {vcpu}", vm.name),
        None => String::new(),
    }
}
