//! What a table entry means: the part in which EPT, NPT and the processor's own tables differ.
#![expect(clippy::arithmetic_side_effects, reason = "levels are 1 to 4")]

use spec::{Gpa, Hpa, memory_type::MemoryType};

/// What a mapping allows.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Rights {
    /// Reads
    pub r: bool,
    /// Writes
    pub w: bool,
    /// Instruction fetches
    pub x: bool,
}

impl Rights {
    /// Reads only.
    pub const R: Self = Self {
        r: true,
        w: false,
        x: false,
    };
    /// Reads and writes.
    pub const RW: Self = Self {
        r: true,
        w: true,
        x: false,
    };
    /// Reads and fetches.
    pub const RX: Self = Self {
        r: true,
        w: false,
        x: true,
    };
    /// Everything.
    pub const RWX: Self = Self {
        r: true,
        w: true,
        x: true,
    };
}

/// The level of a table: 1 holds 4 KiB pages, 4 is the root.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Level(u8);

impl Level {
    /// Entries map 4 KiB pages.
    pub const KIB_4: Self = Self(1);
    /// Entries map 2 MiB pages, or point to tables.
    pub const MIB_2: Self = Self(2);
    /// Entries map 1 GiB pages where the processor can, or point to tables.
    pub const GIB_1: Self = Self(3);
    /// Entries point to tables.
    pub const ROOT: Self = Self(4);

    /// Bytes that one entry of a table of this level spans.
    #[must_use]
    pub const fn span(self) -> u64 {
        1 << (3 + 9 * self.0)
    }

    /// The index of the entry for `address` in a table of this level.
    pub(crate) const fn index(self, address: u64) -> usize {
        ((address >> (3 + 9 * self.0)) & 511) as usize
    }

    /// The level of the tables that this one's entries point to; level 1 has none.
    pub(crate) const fn below(self) -> Option<Self> {
        match self.0 {
            0 | 1 => None,
            n => Some(Self(n - 1)),
        }
    }
}

/// What an entry says.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Entry {
    /// Nothing
    Absent,
    /// The next table is there
    Table(Hpa),
    /// A page of the level's span
    Page {
        /// Its first byte
        frame: Hpa,
        /// What it allows
        rights: Rights,
        /// How it is cached
        cache: MemoryType,
    },
}

/// An address that tables translate.
pub trait Address: Copy + PartialEq + core::fmt::Debug {
    /// The 48 bits that index the tables; `None` if four levels do not reach the address.
    fn bits(self) -> Option<u64>;
    /// The address of these 48 bits.
    fn from_bits(bits: u64) -> Self;
    /// The whole address.
    fn value(self) -> u64;
}

/// Bits of an address that four levels of tables translate.
pub(crate) const REACH: u64 = 1 << 48;

impl Address for Gpa {
    fn bits(self) -> Option<u64> {
        (self.0 < REACH).then_some(self.0)
    }

    fn from_bits(bits: u64) -> Self {
        Self(bits)
    }

    fn value(self) -> u64 {
        self.0
    }
}

/// The entries of one kind of table.
///
/// An entry of zero, and any entry whose bits 10:0 are zero, must be absent to the hardware: the first is what a
/// fresh table holds, with the second retired tables are chained until they may be given back.
pub trait Format {
    /// What the tables translate.
    type Address: Address;

    /// The largest pages that the processor can map.
    fn largest(&self) -> Level;

    /// An entry that points to a table, and leaves all rights to what is below.
    fn table(&self, frame: Hpa) -> u64;

    /// An entry that maps a page of the span of `level`; `None` if the format cannot say it.
    fn page(&self, level: Level, frame: Hpa, rights: Rights, cache: MemoryType) -> Option<u64>;

    /// What an entry says that [`Format::table`] or [`Format::page`] made.
    fn decode(&self, level: Level, entry: u64) -> Entry;
}
