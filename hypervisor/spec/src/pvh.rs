//! PVH's layouts, the start of a guest in protected mode that Xen defines: `xen/include/public/arch-x86/hvm/start_info.h`,
//! `xen/include/public/elfnote.h` and `docs/misc/pvh.pandoc` of Xen.

use crate::linux::MemoryRange;
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Name of the ELF notes, without its NUL.
pub const NOTE_NAME: &str = "Xen";
/// XEN_ELFNOTE_PHYS32_ENTRY: the note holds the physical address of the entry point in 4 or 8 bytes.
pub const NOTE_PHYS32_ENTRY: u64 = 18;

/// `struct hvm_start_info`, version 1: what EBX points to.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct StartInfo {
    /// [`StartInfo::MAGIC`]
    pub magic: u32,
    /// [`StartInfo::VERSION`]
    pub version: u32,
    /// SIF_ flags, all of them about Xen
    pub flags: u32,
    /// Length of the list of modules
    pub nr_modules: u32,
    /// The first [`Module`]
    pub modlist_paddr: u64,
    /// The command line, with a NUL
    pub cmdline_paddr: u64,
    /// The ACPI RSDP
    pub rsdp_paddr: u64,
    /// The first [`MapEntry`]
    pub memmap_paddr: u64,
    /// Length of the memory map
    pub memmap_entries: u32,
    /// Zero
    pub reserved: u32,
}

impl StartInfo {
    /// Value of `magic`: "xEn3" with bit 7 of the "E" set
    pub const MAGIC: u32 = 0x336e_c578;
    /// The version with a memory map
    pub const VERSION: u32 = 1;
}

/// `struct hvm_modlist_entry`
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct Module {
    /// First byte
    pub paddr: u64,
    /// In bytes
    pub size: u64,
    /// Its command line; zero: none
    pub cmdline_paddr: u64,
    /// Zero
    pub reserved: u64,
}

/// `struct hvm_memmap_table_entry`
#[derive(Clone, Copy, PartialEq, Eq, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C)]
pub struct MapEntry {
    /// First byte
    pub addr: u64,
    /// In bytes
    pub size: u64,
    /// An [`E820Kind`](crate::linux::E820Kind)
    pub kind: u32,
    /// Zero
    pub reserved: u32,
}

impl From<MemoryRange> for MapEntry {
    fn from(r: MemoryRange) -> Self {
        Self {
            addr: r.start.0,
            size: r.len,
            kind: r.kind as u32,
            reserved: 0,
        }
    }
}

const _: () = {
    assert!(offset_of!(StartInfo, modlist_paddr) == 16 && offset_of!(StartInfo, rsdp_paddr) == 32);
    assert!(offset_of!(StartInfo, memmap_entries) == 48 && size_of::<StartInfo>() == 56);
    assert!(size_of::<Module>() == 32 && size_of::<MapEntry>() == 24);
};
