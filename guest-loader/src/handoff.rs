//! What the kernel finds in memory when it starts: tables, zero page, command line, initial RAM disk.

use crate::place::Placer;
use crate::start::{self, GDT, TABLE_PAGES, Tables};
use crate::{Image, LoadError};
use alloc::vec::Vec;
use seam::GuestMem;
use spec::linux::{BootParams, E820_MAX, SetupHeader};
use spec::{Gpa, PAGE_SIZE};
use zerocopy::{FromZeros, IntoBytes};

/// Pointers of the zero page have 32 bits, and the start maps as much.
pub(crate) const LIMIT: u64 = 1 << 32;
/// The last byte at which an initial RAM disk may end where the kernel does not say: what Linux's own header says.
pub(crate) const INITRD_MAX: u32 = 0x7fff_ffff;
/// What the largest field of a structure wants.
const STRUCTURE_ALIGN: u64 = 8;

/// Writes all that `image`'s kernel finds beside itself; `hdr` goes into the zero page with what this loader
/// adds. The kernel itself has its place already.
#[expect(
    clippy::arithmetic_side_effects,
    reason = "eight pages and a command line of less than 4 GiB, which were placed below it"
)]
pub(crate) fn write(
    mut hdr: SetupHeader,
    image: &Image<'_>,
    place: &mut Placer<'_>,
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<Tables, LoadError> {
    let cmdline = image.cmdline.as_bytes();
    if cmdline.len() as u64 > u64::from(hdr.cmdline_size) {
        return Err(LoadError::CmdlineTooLong {
            len: cmdline.len(),
            max: hdr.cmdline_size,
        });
    }
    // One block: GDT, page tables, zero page, command line with its NUL. Not in page 0, which guests keep for
    // the real-mode interrupt table and for catching null pointers.
    let pages = 1 + TABLE_PAGES + 1;
    let len = pages * PAGE_SIZE + cmdline.len() as u64 + 1;
    let what = "tables, zero page and command line";
    let gdt = place
        .lowest(len, PAGE_SIZE, PAGE_SIZE, LIMIT)
        .ok_or(LoadError::NoRoom { what, len })?;
    let page = |n: u64| Gpa(gdt.0 + n * PAGE_SIZE);
    let tables = Tables {
        gdt,
        pml4: page(1),
        zero_page: page(1 + TABLE_PAGES),
    };
    let cmd_line_ptr = page(pages);

    hdr.type_of_loader = SetupHeader::LOADER_UNDEFINED;
    hdr.cmd_line_ptr = low(cmd_line_ptr);
    // A list in the file would be addresses in the guest's memory that nothing has been put at.
    hdr.setup_data = 0;
    (hdr.ramdisk_image, hdr.ramdisk_size) = match image.initrd {
        Some(initrd) if !initrd.is_empty() => {
            let at = put_initrd(initrd, hdr.initrd_addr_max, place, mem)?;
            (low(at), initrd.len() as u32)
        }
        _ => (0, 0),
    };

    let mut params = BootParams::new_zeroed();
    params.hdr = hdr;
    params.acpi_rsdp_addr = rsdp.0;
    let map = place.map();
    if map.len() > E820_MAX {
        return Err(LoadError::MapTooLong(E820_MAX));
    }
    params.e820_entries = map.len() as u8;
    for (entry, range) in params.e820_table.iter_mut().zip(map) {
        *entry = (*range).into();
    }

    mem.write_from(tables.gdt, GDT.as_bytes())?;
    for n in 0..TABLE_PAGES {
        let table = start::identity_table(tables.pml4, n);
        mem.write_from(page(1 + n), table.as_bytes())?;
    }
    mem.write_from(tables.zero_page, params.as_bytes())?;
    mem.write_from(cmd_line_ptr, cmdline)?;
    mem.zero(Gpa(cmd_line_ptr.0 + cmdline.len() as u64), 1)?;
    Ok(tables)
}

/// Puts a structure that the kernel finds by its address into low RAM, as [`write`] does with its own.
pub(crate) fn put(
    bytes: &[u8],
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<Gpa, LoadError> {
    let len = bytes.len() as u64;
    let at = place
        .lowest(len.max(1), STRUCTURE_ALIGN, PAGE_SIZE, LIMIT)
        .ok_or(LoadError::NoRoom {
            what: "boot information",
            len,
        })?;
    mem.write_from(at, bytes)?;
    Ok(at)
}

/// As [`put`], a text and a NUL.
pub(crate) fn put_text(
    text: &str,
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<Gpa, LoadError> {
    let mut bytes = Vec::from(text);
    bytes.push(0);
    put(&bytes, place, mem)
}

/// The highest free pages whose last byte is at most `addr_max`: out of the way of the kernel, which grows upwards.
pub(crate) fn put_initrd(
    initrd: &[u8],
    addr_max: u32,
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<Gpa, LoadError> {
    let len = initrd.len() as u64;
    let at = len
        .checked_next_multiple_of(PAGE_SIZE)
        .and_then(|pages| place.highest(pages, u64::from(addr_max) + 1));
    let at = at.ok_or(LoadError::NoRoom {
        what: "initial RAM disk",
        len,
    })?;
    mem.write_from(at, initrd)?;
    Ok(at)
}

/// An address that was placed below [`LIMIT`].
pub(crate) fn low(gpa: Gpa) -> u32 {
    debug_assert!(gpa.0 < LIMIT);
    gpa.0 as u32
}

/// The setup header for a kernel that has none of its own.
pub(crate) fn bare_header() -> SetupHeader {
    SetupHeader {
        boot_flag: SetupHeader::BOOT_FLAG,
        header: SetupHeader::MAGIC,
        version: SetupHeader::VERSION_XLOADFLAGS,
        loadflags: SetupHeader::LOADED_HIGH,
        // What Linux on x86 takes and what its own header says.
        cmdline_size: 2047,
        initrd_addr_max: INITRD_MAX,
        ..SetupHeader::new_zeroed()
    }
}
