//! Four levels of tables.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "addresses of 48 bits and host-physical ones below 2^52, which `map` and `range` have checked"
)]

use crate::format::{Address, Entry, Format, Level, REACH, Rights};
use crate::reserve::Reserve;
use seam::TableMem;
use spec::{Hpa, PAGE_SIZE, memory_type::MemoryType, pte::Pte};

/// Why a change was not made. Nothing has changed then, and no frame is kept.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error<A> {
    /// An address or the length is not a multiple of 4 KiB, or the length is zero
    Alignment,
    /// A range ends past what the tables or the entries can hold
    Range,
    /// The format cannot express these rights with this memory type
    Rights,
    /// The page that holds this address is mapped already
    Overlap(A),
    /// Too few frames are left for the tables
    Frames,
}

/// A page that the tables map.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Page<A> {
    /// Its first address
    pub at: A,
    /// Its first byte in host-physical memory
    pub frame: Hpa,
    /// Its size in bytes
    pub size: u64,
    /// What it allows
    pub rights: Rights,
    /// How it is cached
    pub cache: MemoryType,
}

/// One thing that a walk meets.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Met<A> {
    /// A frame that holds a table
    Table(Hpa),
    /// A mapped page
    Page(Page<A>),
}

/// A tree of tables and the memory that holds them.
///
/// No table but the root is ever empty. Each change of what is mapped where is the write of one entry, and a
/// table is linked only when it is complete: whoever walks meanwhile sees the mapping of before or of after.
#[derive(Debug)]
pub struct Tables<F, M> {
    pub(crate) format: F,
    pub(crate) mem: M,
    root: Hpa,
}

/// What to map, apart from the addresses.
#[derive(Clone, Copy)]
pub(crate) struct Attributes {
    pub(crate) rights: Rights,
    pub(crate) cache: MemoryType,
}

pub(crate) type Result<F, T = ()> = core::result::Result<T, Error<<F as Format>::Address>>;

impl<F: Format, M: TableMem> Tables<F, M> {
    /// Tables that map nothing.
    ///
    /// # Errors
    /// [`Error::Frames`].
    pub fn new(format: F, mut mem: M) -> Result<F, Self> {
        let root = mem.alloc().ok_or(Error::Frames)?;
        Ok(Self { format, mem, root })
    }

    /// Tables that somebody else made, to be looked at. Nothing is checked: `root` leads to well-formed tables.
    pub const fn existing(format: F, mem: M, root: Hpa) -> Self {
        Self { format, mem, root }
    }

    /// The frame of the root table.
    pub fn root(&self) -> Hpa {
        self.root
    }

    /// Maps the `len` bytes from `at` on to those from `hpa` on, with the largest pages that fit.
    ///
    /// No cached translation needs to be invalidated, since only absent entries change.
    ///
    /// # Errors
    /// All of [`Error`].
    pub fn map(
        &mut self,
        at: F::Address,
        hpa: Hpa,
        len: u64,
        rights: Rights,
        cache: MemoryType,
    ) -> Result<F> {
        let (from, end) = range::<F>(at, len)?;
        if !hpa.is_aligned(PAGE_SIZE) {
            return Err(Error::Alignment);
        }
        let last = hpa.checked_add(len - 1).ok_or(Error::Range)?;
        if last.0 & !Pte::FRAME.bits() & !(PAGE_SIZE - 1) != 0 {
            return Err(Error::Range);
        }
        let attributes = Attributes { rights, cache };
        self.page(Level::KIB_4, hpa, attributes)?;
        let needed = self.plan_map(Some(self.root), Level::ROOT, from, end, hpa)?;
        let mut reserve = Reserve::take(&mut self.mem, needed).ok_or(Error::Frames)?;
        let done = self.do_map(
            self.root,
            Level::ROOT,
            from,
            end,
            hpa,
            attributes,
            &mut reserve,
        );
        reserve.give_back(&mut self.mem);
        done
    }

    /// Takes away whatever is mapped in the `len` bytes from `at` on, splitting pages that reach beyond.
    ///
    /// `flush` is called once nothing leads there any more and before a table's frame is given back: it must
    /// invalidate what every processor may have cached of these tables, paging structures included.
    ///
    /// # Errors
    /// [`Error::Alignment`], [`Error::Range`], [`Error::Frames`] (a split needs frames); then `flush` is not
    /// called.
    pub fn unmap(&mut self, at: F::Address, len: u64, flush: impl FnOnce()) -> Result<F> {
        let (from, end) = range::<F>(at, len)?;
        let needed = self.plan_unmap(Some(self.root), Level::ROOT, from, end);
        let mut reserve = Reserve::take(&mut self.mem, needed).ok_or(Error::Frames)?;
        let mut retired = Reserve::default();
        let done = self.do_unmap(
            self.root,
            Level::ROOT,
            from,
            end,
            &mut reserve,
            &mut retired,
        );
        flush();
        reserve.give_back(&mut self.mem);
        retired.give_back(&mut self.mem);
        done
    }

    /// The page that holds `at`.
    pub fn lookup(&self, at: F::Address) -> Option<Page<F::Address>> {
        let bits = at.bits()?;
        let (mut table, mut level) = (self.root, Level::ROOT);
        loop {
            match self.entry(table, level, bits) {
                Entry::Absent => return None,
                Entry::Page {
                    frame,
                    rights,
                    cache,
                } => {
                    return Some(Page {
                        at: F::Address::from_bits(bits & !(level.span() - 1)),
                        frame,
                        size: level.span(),
                        rights,
                        cache,
                    });
                }
                Entry::Table(next) => (table, level) = (next, level.below()?),
            }
        }
    }

    /// Where `at` leads, with the rights and size of its page.
    pub fn translate(&self, at: F::Address) -> Option<(Hpa, Rights, u64)> {
        let page = self.lookup(at)?;
        let hpa = page.frame.checked_add(at.bits()? & (page.size - 1))?;
        Some((hpa, page.rights, page.size))
    }

    /// Calls `visit` for every table and every mapped page, in the order of addresses.
    pub fn walk(&self, visit: &mut impl FnMut(Met<F::Address>)) {
        self.walk_table(self.root, Level::ROOT, 0, visit);
    }

    /// Gives every table's frame back, and the memory that holds them.
    ///
    /// No processor may have the root loaded, nor translations cached.
    pub fn free(mut self) -> M {
        let mut retired = Reserve::default();
        self.retire(self.root, Level::ROOT, &mut retired);
        retired.give_back(&mut self.mem);
        self.mem
    }

    pub(crate) fn entry(&self, table: Hpa, level: Level, at: u64) -> Entry {
        self.format
            .decode(level, self.mem.read(table, level.index(at)))
    }

    pub(crate) fn write(&mut self, table: Hpa, level: Level, at: u64, entry: u64) {
        self.mem.write(table, level.index(at), entry);
    }

    pub(crate) fn page(&self, level: Level, frame: Hpa, a: Attributes) -> Result<F, u64> {
        self.format
            .page(level, frame, a.rights, a.cache)
            .ok_or(Error::Rights)
    }

    /// Whether the piece `from..end`, not larger than a span, can be one page.
    pub(crate) fn fits(&self, level: Level, from: u64, end: u64, hpa: Hpa) -> bool {
        level <= self.format.largest() && end - from == level.span() && hpa.is_aligned(level.span())
    }

    fn walk_table(
        &self,
        table: Hpa,
        level: Level,
        base: u64,
        visit: &mut impl FnMut(Met<F::Address>),
    ) {
        visit(Met::Table(table));
        for (at, _) in pieces(level, base, base + 512 * level.span()) {
            match (self.entry(table, level, at), level.below()) {
                (Entry::Table(t), Some(below)) => self.walk_table(t, below, at, visit),
                (
                    Entry::Page {
                        frame,
                        rights,
                        cache,
                    },
                    _,
                ) => visit(Met::Page(Page {
                    at: F::Address::from_bits(at),
                    frame,
                    size: level.span(),
                    rights,
                    cache,
                })),
                _ => {}
            }
        }
    }

    /// Empties a tree of tables into the chain `retired`.
    fn retire(&mut self, table: Hpa, level: Level, retired: &mut Reserve) {
        for (at, _) in pieces(level, 0, 512 * level.span()) {
            if let (Entry::Table(t), Some(below)) = (self.entry(table, level, at), level.below()) {
                self.retire(t, below, retired);
            }
        }
        retired.push(&mut self.mem, table);
    }
}

/// The 48-bit range of `len` bytes from `at` on, checked.
pub(crate) fn range<F: Format>(at: F::Address, len: u64) -> Result<F, (u64, u64)> {
    let from = at.bits().ok_or(Error::Range)?;
    if len == 0 || !(len | from).is_multiple_of(PAGE_SIZE) {
        return Err(Error::Alignment);
    }
    let end = from
        .checked_add(len)
        .filter(|end| *end <= REACH)
        .ok_or(Error::Range)?;
    // The last byte must follow from the first without a hole: linear addresses have one in the middle.
    let (first, last) = (F::Address::from_bits(from), F::Address::from_bits(end - 1));
    if last.value() - first.value() != len - 1 {
        return Err(Error::Range);
    }
    Ok((from, end))
}

/// The parts of `from..end` that fall into one entry each of a table of this level.
pub(crate) fn pieces(level: Level, from: u64, end: u64) -> impl Iterator<Item = (u64, u64)> {
    let mut at = from;
    core::iter::from_fn(move || {
        let next = ((at & !(level.span() - 1)) + level.span()).min(end);
        let piece = (at, next);
        at = next;
        (piece.0 < piece.1).then_some(piece)
    })
}
