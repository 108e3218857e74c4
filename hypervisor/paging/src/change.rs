//! The changes of the tables, each in two passes: one that counts and checks, one that writes and cannot fail.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "addresses of 48 bits and host-physical ones below 2^52, which `map` and `range` have checked"
)]

use crate::format::{Address, Entry, Format, Level};
use crate::reserve::Reserve;
use crate::tables::{Attributes, Error, Result, Tables, pieces};
use seam::TableMem;
use spec::Hpa;

impl<F: Format, M: TableMem> Tables<F, M> {
    /// How many tables [`Tables::do_map`] will make; `table` is `None` for one that it has yet to make.
    pub(crate) fn plan_map(
        &self,
        table: Option<Hpa>,
        level: Level,
        from: u64,
        end: u64,
        hpa: Hpa,
    ) -> Result<F, u64> {
        // Shortcut: a new table of small pages needs nothing below it.
        if table.is_none() && level == Level::KIB_4 {
            return Ok(0);
        }
        let mut count = 0;
        for (at, next) in pieces(level, from, end) {
            let hpa = Hpa(hpa.0 + (at - from));
            let entry = table.map_or(Entry::Absent, |t| self.entry(t, level, at));
            count += match (entry, level.below()) {
                (Entry::Page { .. }, _) => return Err(Error::Overlap(F::Address::from_bits(at))),
                (Entry::Table(t), Some(below)) => self.plan_map(Some(t), below, at, next, hpa)?,
                (Entry::Absent, Some(below)) if !self.fits(level, at, next, hpa) => {
                    1 + self.plan_map(None, below, at, next, hpa)?
                }
                (Entry::Absent | Entry::Table(_), _) => 0,
            };
        }
        Ok(count)
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "one recursion; a struct would only rename them"
    )]
    pub(crate) fn do_map(
        &mut self,
        table: Hpa,
        level: Level,
        from: u64,
        end: u64,
        hpa: Hpa,
        attributes: Attributes,
        reserve: &mut Reserve,
    ) -> Result<F> {
        for (at, next) in pieces(level, from, end) {
            let hpa = Hpa(hpa.0 + (at - from));
            match (self.entry(table, level, at), level.below()) {
                (Entry::Table(t), Some(below)) => {
                    self.do_map(t, below, at, next, hpa, attributes, reserve)?;
                }
                (_, Some(below)) if !self.fits(level, at, next, hpa) => {
                    let new = reserve.pop(&mut self.mem).ok_or(Error::Frames)?;
                    self.do_map(new, below, at, next, hpa, attributes, reserve)?;
                    self.write(table, level, at, self.format.table(new));
                }
                _ => self.write(table, level, at, self.page(level, hpa, attributes)?),
            }
        }
        Ok(())
    }

    /// How many tables [`Tables::do_unmap`] will make; `table` is `None` for one that it has yet to make, of the
    /// parts of a page.
    pub(crate) fn plan_unmap(&self, table: Option<Hpa>, level: Level, from: u64, end: u64) -> u64 {
        let mut count = 0;
        for (at, next) in pieces(level, from, end) {
            let entry = table.map(|t| self.entry(t, level, at));
            count += match (entry, level.below()) {
                (Some(Entry::Table(t)), Some(below)) => self.plan_unmap(Some(t), below, at, next),
                (None | Some(Entry::Page { .. }), Some(below)) if next - at < level.span() => {
                    1 + self.plan_unmap(None, below, at, next)
                }
                _ => 0,
            };
        }
        count
    }

    pub(crate) fn do_unmap(
        &mut self,
        table: Hpa,
        level: Level,
        from: u64,
        end: u64,
        reserve: &mut Reserve,
        retired: &mut Reserve,
    ) -> Result<F> {
        for (at, next) in pieces(level, from, end) {
            match (self.entry(table, level, at), level.below()) {
                (Entry::Table(t), Some(below)) => {
                    self.do_unmap(t, below, at, next, reserve, retired)?;
                    if (0..512).all(|i| self.mem.read(t, i) == 0) {
                        self.write(table, level, at, 0);
                        retired.push(&mut self.mem, t);
                    }
                }
                (
                    Entry::Page {
                        frame,
                        rights,
                        cache,
                    },
                    Some(below),
                ) if next - at < level.span() => {
                    let new = reserve.pop(&mut self.mem).ok_or(Error::Frames)?;
                    for i in 0..512 {
                        let part = Hpa(frame.0 + i * below.span());
                        let entry = self.page(below, part, Attributes { rights, cache })?;
                        self.write(new, below, i * below.span(), entry);
                    }
                    self.do_unmap(new, below, at, next, reserve, retired)?;
                    self.write(table, level, at, self.format.table(new));
                }
                (Entry::Absent, _) => {}
                _ => self.write(table, level, at, 0),
            }
        }
        Ok(())
    }
}
