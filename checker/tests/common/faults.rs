//! What can be wrong with a machine: each fault with the rule that is to find it.

mod hosts;
mod nested;
mod vcpus;

use checker::Whole;
use proptest::sample::Index;
use proto::certificate::{Mapping, Owned, Use};

/// Something wrong that is done to a machine.
pub(crate) struct Fault {
    /// What it is
    pub(crate) name: &'static str,
    /// The rule that is to find it
    pub(crate) rule: &'static str,
    /// Does it; says no where it cannot be done to this machine
    pub(crate) plant: fn(&mut Whole, &mut Picks) -> Option<()>,
}

pub(crate) fn all() -> impl Iterator<Item = &'static Fault> {
    nested::FAULTS
        .iter()
        .chain(vcpus::FAULTS)
        .chain(hosts::FAULTS)
}

const fn fault(
    name: &'static str,
    rule: &'static str,
    plant: fn(&mut Whole, &mut Picks) -> Option<()>,
) -> Fault {
    Fault { name, rule, plant }
}

/// Choices that proptest makes.
pub(crate) struct Picks(pub(crate) Vec<Index>);

impl Picks {
    /// Always the first.
    pub(crate) fn first() -> Self {
        Self(Vec::new())
    }

    /// A number below a limit.
    fn below(&mut self, limit: usize) -> usize {
        let turn = self.0.len().min(1);
        self.0.rotate_left(turn);
        self.0.first().map_or(0, |first| first.index(limit))
    }

    fn of<'a, T>(&mut self, all: &'a mut [T]) -> Option<&'a mut T> {
        let which = (!all.is_empty()).then(|| self.below(all.len()))?;
        all.get_mut(which)
    }

    /// One of those that are so.
    fn which<'a, T>(&mut self, all: &'a mut [T], is: impl Fn(&T) -> bool) -> Option<&'a mut T> {
        let mut all: Vec<&mut T> = all.iter_mut().filter(|one| is(one)).collect();
        let which = (!all.is_empty()).then(|| self.below(all.len()))?;
        Some(all.swap_remove(which))
    }

    /// Cuts a page out of one of the mappings, neither its first nor its last, and gives it to be changed.
    fn page<'a>(
        &mut self,
        all: &'a mut Vec<Mapping>,
        is: impl Fn(&Mapping) -> bool,
    ) -> Option<&'a mut Mapping> {
        const FRAME: u64 = super::FRAME;
        let fit: Vec<usize> = (0..all.len())
            .filter(|n| is(&all[*n]) && all[*n].len > 2 * FRAME)
            .collect();
        let which = *fit.get((!fit.is_empty()).then(|| self.below(fit.len()))?)?;
        let whole = all[which];
        let frames = usize::try_from(whole.len / FRAME).unwrap();
        let before = (1 + self.below(frames - 2)) as u64 * FRAME;
        let cut = |from: u64, len| Mapping {
            at: whole.at + from,
            frame: whole.frame + from,
            len,
            ..whole
        };
        let parts = [
            cut(0, before),
            cut(before, FRAME),
            cut(before + FRAME, whole.len - before - FRAME),
        ];
        all.splice(which..=which, parts);
        all.get_mut(which + 1)
    }
}

/// A frame of something that is used so.
fn frame_of(whole: &Whole, picks: &mut Picks, is: impl Fn(Use) -> bool) -> Option<u64> {
    let owned: Vec<Owned> = whole
        .host
        .owned
        .iter()
        .filter(|owned| is(owned.used))
        .copied()
        .collect();
    let owned = owned.get((!owned.is_empty()).then(|| picks.below(owned.len()))?)?;
    let frames = usize::try_from(owned.range.len / super::FRAME).unwrap();
    Some(owned.range.start + picks.below(frames) as u64 * super::FRAME)
}
