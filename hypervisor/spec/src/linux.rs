//! The Linux/x86 boot protocol's layouts: `Documentation/arch/x86/boot.rst` and `zero-page.rst` of the kernel.

use crate::{Gpa, PAGE_SIZE};
use core::mem::{offset_of, size_of};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// What a range of guest-physical memory is, with the number that e820 gives it (ACPI 6.5, "Address Range Types").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u32)]
pub enum E820Kind {
    /// Memory that the guest may use as it likes
    Ram = 1,
    /// Memory or registers that the guest must leave alone
    Reserved = 2,
}

/// A range of guest-physical memory and what it is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MemoryRange {
    /// First byte
    pub start: Gpa,
    /// In bytes
    pub len: u64,
    /// What it is
    pub kind: E820Kind,
}

impl MemoryRange {
    /// The first byte past the range, or `None` past the end of the address space.
    #[must_use]
    pub const fn end(&self) -> Option<Gpa> {
        self.start.checked_add(self.len)
    }
}

/// `struct boot_e820_entry`
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, packed)]
pub struct E820Entry {
    /// First byte
    pub addr: u64,
    /// In bytes
    pub size: u64,
    /// An [`E820Kind`]
    pub kind: u32,
}

impl From<MemoryRange> for E820Entry {
    fn from(r: MemoryRange) -> Self {
        Self {
            addr: r.start.0,
            size: r.len,
            kind: r.kind as u32,
        }
    }
}

/// `struct setup_header`, which is at [`SetupHeader::OFFSET`] both in the kernel's file and in the zero page.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, packed)]
#[allow(
    missing_docs,
    reason = "the names are those of boot.rst, which describes each"
)]
pub struct SetupHeader {
    pub setup_sects: u8,
    pub root_flags: u16,
    pub syssize: u32,
    pub ram_size: u16,
    pub vid_mode: u16,
    pub root_dev: u16,
    pub boot_flag: u16,
    /// A short jump: its opcode, and its displacement, by which the header's length is known
    pub jump: [u8; 2],
    pub header: [u8; 4],
    pub version: u16,
    pub realmode_swtch: u32,
    pub start_sys_seg: u16,
    pub kernel_version: u16,
    pub type_of_loader: u8,
    pub loadflags: u8,
    pub setup_move_size: u16,
    pub code32_start: u32,
    pub ramdisk_image: u32,
    pub ramdisk_size: u32,
    pub bootsect_kludge: u32,
    pub heap_end_ptr: u16,
    pub ext_loader_ver: u8,
    pub ext_loader_type: u8,
    pub cmd_line_ptr: u32,
    pub initrd_addr_max: u32,
    pub kernel_alignment: u32,
    pub relocatable_kernel: u8,
    pub min_alignment: u8,
    pub xloadflags: u16,
    pub cmdline_size: u32,
    pub hardware_subarch: u32,
    pub hardware_subarch_data: u64,
    pub payload_offset: u32,
    pub payload_length: u32,
    pub setup_data: u64,
    pub pref_address: u64,
    pub init_size: u32,
    pub handover_offset: u32,
    pub kernel_info_offset: u32,
    /// Room up to the field that follows the header in the zero page
    pub rest: [u8; 0x24],
}

impl SetupHeader {
    /// Where the header is in the file and in the zero page.
    pub const OFFSET: usize = 0x1f1;
    /// From here the jump's displacement counts: the header ends at `JUMP_END + jump[1]`.
    pub const JUMP_END: usize = 0x202;
    /// Value of `boot_flag`
    pub const BOOT_FLAG: u16 = 0xaa55;
    /// Value of `header`
    pub const MAGIC: [u8; 4] = *b"HdrS";
    /// The first version with `xloadflags`: 2.12
    pub const VERSION_XLOADFLAGS: u16 = 0x020c;
    /// `loadflags`: the protected-mode code is loaded at 1 MiB or above
    pub const LOADED_HIGH: u8 = 1 << 0;
    /// `xloadflags`: there is a 64-bit entry point at offset [`SetupHeader::ENTRY_64`]
    pub const XLF_KERNEL_64: u16 = 1 << 0;
    /// Distance of the 64-bit entry point from the start of the protected-mode code
    pub const ENTRY_64: u64 = 0x200;
    /// `type_of_loader`: a boot loader without a number of its own
    pub const LOADER_UNDEFINED: u8 = 0xff;
}

/// The most entries that the zero page has room for.
pub const E820_MAX: usize = 128;

/// `struct boot_params`, the zero page: the fields that a loader of our kind fills in.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable)]
#[repr(C, packed)]
#[allow(
    missing_docs,
    reason = "the names are those of zero-page.rst, which describes each"
)]
pub struct BootParams {
    pub screen_to_ist: [u8; 0x70],
    pub acpi_rsdp_addr: u64,
    pub drives_to_scratch: [u8; 0x170],
    pub e820_entries: u8,
    pub edd_to_sentinel: [u8; 8],
    pub hdr: SetupHeader,
    pub edd_mbr_sig_buffer: [u8; 0x40],
    pub e820_table: [E820Entry; E820_MAX],
    pub edd_to_end: [u8; 0x330],
}

#[expect(clippy::arithmetic_side_effects, reason = "met by the compiler")]
const _: () = {
    assert!(size_of::<E820Entry>() == 20);
    assert!(offset_of!(SetupHeader, boot_flag) + SetupHeader::OFFSET == 0x1fe);
    assert!(offset_of!(SetupHeader, header) + SetupHeader::OFFSET == SetupHeader::JUMP_END);
    assert!(offset_of!(SetupHeader, version) + SetupHeader::OFFSET == 0x206);
    assert!(offset_of!(SetupHeader, type_of_loader) + SetupHeader::OFFSET == 0x210);
    assert!(offset_of!(SetupHeader, code32_start) + SetupHeader::OFFSET == 0x214);
    assert!(offset_of!(SetupHeader, cmd_line_ptr) + SetupHeader::OFFSET == 0x228);
    assert!(offset_of!(SetupHeader, xloadflags) + SetupHeader::OFFSET == 0x236);
    assert!(offset_of!(SetupHeader, setup_data) + SetupHeader::OFFSET == 0x250);
    assert!(offset_of!(SetupHeader, init_size) + SetupHeader::OFFSET == 0x260);
    assert!(offset_of!(SetupHeader, kernel_info_offset) + SetupHeader::OFFSET == 0x268);
    assert!(offset_of!(BootParams, acpi_rsdp_addr) == 0x70);
    assert!(offset_of!(BootParams, e820_entries) == 0x1e8);
    assert!(offset_of!(BootParams, hdr) == SetupHeader::OFFSET);
    assert!(offset_of!(BootParams, edd_mbr_sig_buffer) == 0x290);
    assert!(offset_of!(BootParams, e820_table) == 0x2d0);
    assert!(size_of::<BootParams>() as u64 == PAGE_SIZE);
};
