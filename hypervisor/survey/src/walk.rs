//! Four levels of tables, of whatever format: both of the processor's have 512 entries of eight bytes in each.
#![expect(
    clippy::arithmetic_side_effects,
    reason = "levels are 1 to 4, addresses have 48 bits, and tables lie in memory that is there"
)]

use crate::ranges::{merged, push};
use crate::{Error, Memory};
use alloc::vec::Vec;
use proto::certificate::{Cache, Mapping, Range};

/// Bytes of a table.
pub(crate) const FRAME: u64 = 4096;
const ENTRIES: usize = 512;

/// Bits 51 to 12 of an entry or of a pointer to tables: where the next thing lies.
pub(crate) const ADDRESS: u64 = 0x000f_ffff_ffff_f000;

/// The level of the root.
const ROOT: u32 = 4;

/// The most tables that are looked into: with 2 MiB pages they map a TiB and a half.
const TABLES: usize = 1536;
/// The most mappings that are told of.
const MAPPINGS: usize = 4096;

/// What tables lead to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reached {
    /// What is mapped, lowest address first
    pub mappings: Vec<Mapping>,
    /// Where the tables lie, lowest first
    pub tables: Vec<Range>,
}

/// Which addresses are looked at.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Half {
    /// All
    Both,
    /// Those whose highest bit is clear
    Lower,
}

/// What an entry allows of all that is behind it.
#[derive(Clone, Copy)]
pub(crate) struct Rights {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) execute: bool,
}

/// What an entry says.
pub(crate) enum Entry {
    Nothing,
    /// The next table
    Table(u64, Rights),
    /// A page of the level's span
    Page(u64, Rights, Cache),
}

/// How entries are to be read.
pub(crate) trait Format {
    /// What an entry of a table of this level says: those of level 1 span 4 KiB, those of 2 to 4 each 512 times more. `None` if the
    /// processor would not take it.
    fn entry(&self, level: u32, entry: u64) -> Option<Entry>;

    /// The address that the 48 bits stand for.
    fn address(&self, bits: u64) -> u64;
}

/// Bytes that an entry of a table of this level spans.
pub(crate) const fn span(level: u32) -> u64 {
    FRAME << (9 * (level - 1))
}

/// Goes through the tables at `root`.
pub(crate) fn walk(
    memory: &impl Memory,
    format: &impl Format,
    root: u64,
    half: Half,
) -> Result<Reached, Error> {
    let mut walk = Walk {
        memory,
        format,
        mappings: Vec::new(),
        tables: Vec::new(),
    };
    let entries = match half {
        Half::Both => ENTRIES,
        Half::Lower => ENTRIES / 2,
    };
    let all = Rights {
        read: true,
        write: true,
        execute: true,
    };
    walk.table(root, ROOT, 0, entries, all)?;
    let range = |start| Range { start, len: FRAME };
    Ok(Reached {
        mappings: walk.mappings,
        tables: merged(walk.tables.into_iter().map(range).collect()),
    })
}

struct Walk<'a, M, F> {
    memory: &'a M,
    format: &'a F,
    mappings: Vec<Mapping>,
    tables: Vec<u64>,
}

impl<M: Memory, F: Format> Walk<'_, M, F> {
    /// The first `entries` of the table at `at`, whose first one is for the address `base`, behind entries that allow `above`.
    fn table(
        &mut self,
        at: u64,
        level: u32,
        base: u64,
        entries: usize,
        above: Rights,
    ) -> Result<(), Error> {
        // Four of them at most are on the stack.
        let mut table = [0; ENTRIES];
        if !self.memory.read(at, &mut table) {
            return Err(Error::Elsewhere { at });
        }
        if self.tables.len() == TABLES {
            return Err(Error::TooMany);
        }
        self.tables.push(at);
        // What the next entry is if it goes on where a page has ended, in all that it says: most do.
        let mut following = 0;
        for (index, &entry) in (0..).zip(&table).take(entries) {
            if entry == 0 {
                following = 0;
                continue;
            }
            if entry == following
                && entry & ADDRESS != 0
                && let Some(last) = self.mappings.last_mut()
            {
                last.len += span(level);
                following = entry.wrapping_add(span(level));
                continue;
            }
            following = 0;
            let place = at + 8 * index;
            let base = base + index * span(level);
            let said = self.format.entry(level, entry);
            match said.ok_or(Error::Malformed { at: place, entry })? {
                Entry::Nothing => {}
                Entry::Table(next, rights) if level > 1 => {
                    self.table(next, level - 1, base, ENTRIES, both(above, rights))?;
                }
                Entry::Table(..) => return Err(Error::Malformed { at: place, entry }),
                Entry::Page(frame, rights, cache) => {
                    if self.page(base, span(level), frame, both(above, rights), cache)? {
                        following = entry.wrapping_add(span(level));
                    }
                }
            }
        }
        Ok(())
    }

    /// Notes a page; `false` if it is none, since nothing is allowed.
    fn page(
        &mut self,
        base: u64,
        len: u64,
        frame: u64,
        rights: Rights,
        cache: Cache,
    ) -> Result<bool, Error> {
        let Rights {
            read,
            write,
            execute,
        } = rights;
        if !(read || write || execute) {
            return Ok(false);
        }
        let next = Mapping {
            at: self.format.address(base),
            frame,
            len,
            read,
            write,
            execute,
            cache,
        };
        push(&mut self.mappings, next);
        if self.mappings.len() > MAPPINGS {
            return Err(Error::TooMany);
        }
        Ok(true)
    }
}

/// What is allowed if both have to allow it.
const fn both(a: Rights, b: Rights) -> Rights {
    Rights {
        read: a.read && b.read,
        write: a.write && b.write,
        execute: a.execute && b.execute,
    }
}
