//! Multiboot 1's layouts: the Multiboot Specification, version 0.6.96, sections "OS image format" and "Boot information format".

use crate::linux::MemoryRange;
use bitflags::bitflags;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What the kernel finds in EAX.
pub const LOADER_MAGIC: u32 = 0x2bad_b002;
/// So many bytes at the start of the file hold the whole header, somewhere.
pub const SEARCH: usize = 8192;
/// The header is at a multiple of this.
pub const HEADER_ALIGN: usize = 4;

bitflags! {
    /// What a kernel wants of its loader. Of the lower 16 bits a loader must be able to grant each that is set.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct HeaderFlags: u32 {
        /// Modules begin at the start of a page
        const PAGE_ALIGN = 1 << 0;
        /// Memory fields, and the map if there is one
        const MEMORY_INFO = 1 << 1;
        /// A table of video modes
        const VIDEO = 1 << 2;
        /// The header's address fields say where the file goes
        const ADDRESSES = 1 << 16;
    }
}

impl HeaderFlags {
    /// The bits that a loader may not ignore.
    pub const REQUIREMENTS: u32 = 0xffff;
}

/// The part of the header that each kernel has.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Header {
    /// [`Header::MAGIC`]
    pub magic: u32,
    /// [`HeaderFlags`]
    pub flags: u32,
    /// What makes the sum of the three zero
    pub checksum: u32,
}

impl Header {
    /// Value of `magic`
    pub const MAGIC: u32 = 0x1bad_b002;
}

/// What follows the header with [`HeaderFlags::ADDRESSES`], all of them physical.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Addresses {
    /// Where the header goes, by which the rest of the file has its place
    pub header_addr: u32,
    /// Where loading begins
    pub load_addr: u32,
    /// Where it ends; zero: with the file
    pub load_end_addr: u32,
    /// Where memory that must be zero ends; zero: there is none
    pub bss_end_addr: u32,
    /// Where the kernel starts
    pub entry_addr: u32,
}

bitflags! {
    /// Which fields of [`Info`] say something.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct InfoFlags: u32 {
        /// `mem_lower`, `mem_upper`
        const MEMORY = 1 << 0;
        /// `cmdline`
        const CMDLINE = 1 << 2;
        /// `mods_count`, `mods_addr`
        const MODULES = 1 << 3;
        /// `mmap_length`, `mmap_addr`
        const MEMORY_MAP = 1 << 6;
        /// `boot_loader_name`
        const LOADER_NAME = 1 << 9;
    }
}

/// The Multiboot information structure.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
#[allow(
    missing_docs,
    reason = "the names are those of the specification, which describes each"
)]
pub struct Info {
    /// [`InfoFlags`]
    pub flags: u32,
    /// KiB from address 0, at most 640
    pub mem_lower: u32,
    /// KiB from 1 MiB to the first hole
    pub mem_upper: u32,
    pub boot_device: u32,
    pub cmdline: u32,
    pub mods_count: u32,
    pub mods_addr: u32,
    pub syms: [u32; 4],
    pub mmap_length: u32,
    pub mmap_addr: u32,
    pub drives_length: u32,
    pub drives_addr: u32,
    pub config_table: u32,
    pub boot_loader_name: u32,
    pub apm_table: u32,
    pub vbe: [u32; 4],
    pub framebuffer: [u32; 7],
}

/// One element of the list of modules.
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Module {
    /// First byte
    pub mod_start: u32,
    /// First byte past it
    pub mod_end: u32,
    /// Its command line, with a NUL
    pub string: u32,
    /// Zero
    pub reserved: u32,
}

/// One element of the memory map.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, packed)]
pub struct MapEntry {
    /// Bytes of the rest
    pub size: u32,
    /// First byte
    pub base_addr: u64,
    /// In bytes
    pub length: u64,
    /// An [`E820Kind`](crate::linux::E820Kind)
    pub kind: u32,
}

impl From<MemoryRange> for MapEntry {
    fn from(r: MemoryRange) -> Self {
        Self {
            size: size_of::<Self>().saturating_sub(size_of::<u32>()) as u32,
            base_addr: r.start.0,
            length: r.len,
            kind: r.kind as u32,
        }
    }
}

const _: () = {
    assert!(size_of::<Header>() == 12 && size_of::<Addresses>() == 20);
    assert!(offset_of!(Info, cmdline) == 16 && offset_of!(Info, syms) == 28);
    assert!(offset_of!(Info, mmap_length) == 44 && offset_of!(Info, boot_loader_name) == 64);
    assert!(offset_of!(Info, vbe) == 72 && offset_of!(Info, framebuffer) == 88);
    assert!(size_of::<Info>() == 116);
    assert!(size_of::<Module>() == 16 && size_of::<MapEntry>() == 24);
};
