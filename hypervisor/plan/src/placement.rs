//! Which core runs which vCPU.

use crate::admission::{Bins, Unfit};
use crate::{Cyclic, Plan, Reservation, Runs, Share, Spare};
use alloc::collections::{BTreeMap, BTreeSet};
use alloc::vec::Vec;
use core::cmp::Reverse;

/// A VM's index in the plan, and one of its vCPUs.
pub(crate) type Vcpu = (u32, u32);

impl Plan {
    /// For each VM and each of its vCPUs the core that runs it, on a machine where `cores` cores can be named; as
    /// [`Plan::place_with`] where a reservation costs no more than its budget.
    #[must_use]
    pub fn place(&self, cores: u32) -> Vec<Vec<u32>> {
        self.place_with(cores, 0)
    }

    /// For each VM and each of its vCPUs the core that runs it, on a machine where `cores` cores can be named, and
    /// `overhead` nanoseconds are charged to each reservation in each of its periods.
    ///
    /// - Dedicated vCPUs are where the plan says, and cyclic ones where their table is.
    /// - Reservations go to the pool's cores without a table: the largest first, each to the first core where there is
    ///   room; of the cores the last one is tried first, since the first one serves the machine's consoles.
    /// - vCPUs with a weight alone follow: the heaviest first, each to the core where weights, its own among them, then
    ///   are least for what reservations leave. Cores with a table get one only if there is no other core.
    ///
    /// Where several are alike, the order of the file and of the cores decides. What [`Plan::admit`] refuses is where
    /// least is reserved; where there is no core for a VM at all, which [`parse`](crate::parse) refuses if it knows the
    /// machine, there is none in the answer.
    #[must_use]
    pub fn place_with(&self, cores: u32, overhead: u64) -> Vec<Vec<u32>> {
        let mut bins = self.bins(cores, overhead);
        let unfit = bins.fill(self.reservations());
        bins.force(unfit);
        let mut seats: BTreeMap<Vcpu, u32> = self.cyclic.iter().flat_map(Cyclic::seats).collect();
        seats.extend(bins.seats());
        self.spread(cores, &bins, &mut seats);
        (0..)
            .zip(&self.vms)
            .map(|(vm, of)| match &of.runs {
                Runs::Dedicated(cores) => cores.clone(),
                Runs::Pool(_) | Runs::Cyclic => (0..of.vcpus)
                    .filter_map(|vcpu| seats.get(&(vm, vcpu)).copied())
                    .collect(),
            })
            .collect()
    }

    /// Whether the cores without a table can carry the reservations, placed as [`Plan::place_with`] places them.
    ///
    /// # Errors
    /// The first one for which there is no room, with the sum of each core.
    pub fn admit(&self, cores: u32, overhead: u64) -> Result<(), Unfit> {
        let mut bins = self.bins(cores, overhead);
        match bins.fill(self.reservations()).first() {
            None => Ok(()),
            Some((vcpu, reservation)) => Err(bins.unfit(self, *vcpu, *reservation)),
        }
    }

    /// The cores between which vCPUs with a weight may move, in order: those that are nobody's own, without a table or
    /// with one that leaves its spare time to the pool.
    #[must_use]
    pub fn pool(&self, cores: u32) -> Vec<u32> {
        let tables = self.cyclic.iter();
        let idle = tables.filter(|table| table.spare == Spare::Idle);
        self.without(cores, idle.map(|table| table.core))
    }

    /// The cores that are nobody's own and have no table, in order.
    fn untabled(&self, cores: u32) -> Vec<u32> {
        self.without(cores, self.cyclic.iter().map(|table| table.core))
    }

    /// The cores that are nobody's own, but for some more.
    fn without(&self, cores: u32, more: impl Iterator<Item = u32>) -> Vec<u32> {
        let own = self.vms.iter().filter_map(|vm| vm.dedicated());
        let taken: BTreeSet<u32> = own.flatten().copied().chain(more).collect();
        (0..cores).filter(|core| !taken.contains(core)).collect()
    }

    fn bins(&self, cores: u32, overhead: u64) -> Bins {
        Bins::new(self.untabled(cores).into_iter().rev(), overhead)
    }

    /// Each vCPU with its share of the pool, in the order of the file.
    fn shares(&self) -> impl Iterator<Item = (Vcpu, Share)> {
        let vms = (0..).zip(&self.vms);
        vms.filter_map(|(vm, of)| Some((vm, of.vcpus, of.share()?)))
            .flat_map(|(vm, vcpus, share)| (0..vcpus).map(move |vcpu| ((vm, vcpu), share)))
    }

    fn reservations(&self) -> Vec<(Vcpu, Reservation)> {
        self.shares()
            .filter_map(|(vcpu, share)| Some((vcpu, share.reservation?)))
            .collect()
    }

    /// Gives those that have a weight alone a core each.
    fn spread(&self, cores: u32, bins: &Bins, seats: &mut BTreeMap<Vcpu, u32>) {
        let mut on = self.untabled(cores);
        if on.is_empty() {
            on = self.pool(cores);
        }
        // Each core with the weights on it, and what reservations leave of it.
        let mut loads: Vec<(u32, u64, u64)> = on
            .into_iter()
            .map(|core| (core, 0, bins.left(core)))
            .collect();
        let mut movable = Vec::new();
        for (vcpu, share) in self.shares() {
            let Some(weight) = share.weight else { continue };
            match seats.get(&vcpu) {
                Some(core) => loads
                    .iter_mut()
                    .filter(|load| load.0 == *core)
                    .for_each(|load| load.1 = load.1.saturating_add(weight.into())),
                None if share.reservation.is_none() => movable.push((vcpu, u64::from(weight))),
                None => {}
            }
        }
        movable.sort_by_key(|(_, weight)| Reverse(*weight));
        for (vcpu, weight) in movable {
            // weights / left, compared without a fraction; `min_by` takes the first of several.
            let least = loads.iter_mut().min_by(|a, b| {
                let times =
                    |a: u64, b: u64| u128::from(a.saturating_add(weight)).saturating_mul(b.into());
                times(a.1, b.2).cmp(&times(b.1, a.2))
            });
            if let Some((core, weights, _)) = least {
                *weights = weights.saturating_add(weight);
                seats.insert(vcpu, *core);
            }
        }
    }
}

impl Cyclic {
    /// Each VM and vCPU that has a window, and the core.
    fn seats(&self) -> impl Iterator<Item = (Vcpu, u32)> {
        let windows = self.windows.iter();
        windows.map(|window| ((window.vm, window.vcpu), self.core))
    }
}

#[cfg(test)]
mod tests;
