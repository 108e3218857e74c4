//! Multiboot 1 (the Multiboot Specification, version 0.6.96).
//!
//! A file whose header has the address fields goes where they say, be it ELF or not. Another must be an ELF executable and goes
//! where its program headers say. ELF64 is taken too, as GRUB does (QEMU does not), and starts like the rest in 32-bit mode.

use crate::executable::{Executable, slice};
use crate::place::Placer;
use crate::{Image, LoadError, handoff, start};
use alloc::vec::Vec;
use handoff::{LIMIT, low};
use seam::GuestMem;
use spec::cpu::{Gpr, Gprs};
use spec::linux::E820Kind;
use spec::multiboot::{
    Addresses, HEADER_ALIGN, Header, HeaderFlags, Info, InfoFlags, LOADER_MAGIC, MapEntry, Module,
    SEARCH,
};
use spec::state::StartState;
use spec::{Gpa, PAGE_SIZE};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const LOADER_NAME: &str = "Bulkhead";
/// Where the memory that `mem_upper` counts begins.
const UPPER: u64 = 1 << 20;
/// The most that `mem_lower` counts.
const LOWER_END: u64 = 640 << 10;

/// A header that was found.
struct Found {
    offset: usize,
    flags: u32,
    addresses: Option<Addresses>,
}

pub(crate) fn has_header(file: &[u8]) -> bool {
    find(file).is_some()
}

/// The first header that is whole and adds up.
fn find(file: &[u8]) -> Option<Found> {
    let searched = file.get(..SEARCH).unwrap_or(file);
    (0..searched.len())
        .step_by(HEADER_ALIGN)
        .find_map(|offset| {
            let (header, rest) = Header::read_from_prefix(searched.get(offset..)?).ok()?;
            let sum = header.flags.wrapping_add(header.checksum);
            if header.magic != Header::MAGIC || sum.wrapping_add(header.magic) != 0 {
                return None;
            }
            let addresses = match header.flags & HeaderFlags::ADDRESSES.bits() {
                0 => None,
                _ => Some(Addresses::read_from_prefix(rest).ok()?.0),
            };
            Some(Found {
                offset,
                flags: header.flags,
                addresses,
            })
        })
}

pub(crate) fn load(
    image: &Image<'_>,
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    let file = image.kernel;
    let found = find(file).ok_or(LoadError::NotMultiboot)?;
    // Modules are page-aligned and memory is told of, whether asked for or not.
    let granted = HeaderFlags::PAGE_ALIGN | HeaderFlags::MEMORY_INFO;
    let refused = found.flags & HeaderFlags::REQUIREMENTS & !granted.bits();
    if refused != 0 {
        return Err(LoadError::MultibootRequires(refused));
    }
    let entry = match found.addresses {
        Some(addresses) => put_by_addresses(file, found.offset, addresses, place, mem)?,
        None => {
            let file = Executable::parse(file)?;
            file.put(place, mem)?;
            file.translated_entry()?
        }
    };
    let gdt = handoff::put(start::GDT.as_bytes(), place, mem)?;
    let info = information(image, place, mem)?;
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rax, LOADER_MAGIC.into());
    gprs.set(Gpr::Rbx, info.0);
    Ok(start::flat_32(entry, gdt, gprs))
}

/// Section "The address fields of Multiboot header". Gives the entry point.
fn put_by_addresses(
    file: &[u8],
    header: usize,
    addresses: Addresses,
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<u64, LoadError> {
    let contradiction = || LoadError::MultibootAddresses(addresses);
    let load = u64::from(addresses.load_addr);
    let before = u64::from(addresses.header_addr).checked_sub(load);
    let offset = before
        .and_then(|before| (header as u64).checked_sub(before))
        .ok_or_else(contradiction)?;
    let end = match addresses.load_end_addr {
        0 => load.saturating_add((file.len() as u64).saturating_sub(offset)),
        end => end.into(),
    };
    let len = end.checked_sub(load).ok_or_else(contradiction)?;
    let zeroes = match addresses.bss_end_addr {
        0 => Some(0),
        bss => u64::from(bss).checked_sub(end),
    };
    let zeroes = zeroes.ok_or_else(contradiction)?;
    let bytes = slice(file, "code and data", offset, len)?;
    place.claim(Gpa(load), len.saturating_add(zeroes))?;
    mem.write_from(Gpa(load), bytes)?;
    mem.zero(Gpa(end), zeroes)?;
    let entry = u64::from(addresses.entry_addr);
    if !(load..end).contains(&entry) {
        return Err(LoadError::EntryOutside(entry));
    }
    Ok(entry)
}

/// Puts the information structure and all that it points to.
fn information(
    image: &Image<'_>,
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<Gpa, LoadError> {
    // Behind the kernel, where GRUB has them too: kernels keep themselves in what lies below.
    let behind = place.end_of_taken().max(UPPER);
    let mut modules = Vec::new();
    for module in image.modules {
        let len = module.bytes.len() as u64;
        // One without a byte has a place too.
        let mut lowest = |from| place.lowest(len.max(1), PAGE_SIZE, from, LIMIT);
        let at = lowest(behind).or_else(|| lowest(UPPER));
        let at = at.ok_or(LoadError::NoRoom {
            what: "module",
            len,
        })?;
        mem.write_from(at, module.bytes)?;
        modules.push(Module {
            mod_start: low(at),
            // Placed below the limit, but for the byte past the end.
            mod_end: low(at).saturating_add(len as u32),
            string: low(handoff::put_text(module.cmdline, place, mem)?),
            reserved: 0,
        });
    }
    let map: Vec<MapEntry> = place.map().iter().map(|&range| range.into()).collect();
    let flags = InfoFlags::MEMORY
        | InfoFlags::CMDLINE
        | InfoFlags::MODULES
        | InfoFlags::MEMORY_MAP
        | InfoFlags::LOADER_NAME;
    let info = Info {
        flags: flags.bits(),
        mem_lower: kib(place, 0, LOWER_END),
        mem_upper: kib(place, UPPER, LIMIT),
        cmdline: low(handoff::put_text(image.cmdline, place, mem)?),
        mods_count: modules.len() as u32,
        mods_addr: low(handoff::put(modules.as_bytes(), place, mem)?),
        mmap_length: map.as_bytes().len() as u32,
        mmap_addr: low(handoff::put(map.as_bytes(), place, mem)?),
        boot_loader_name: low(handoff::put_text(LOADER_NAME, place, mem)?),
        ..Info::new_zeroed()
    };
    handoff::put(info.as_bytes(), place, mem)
}

/// KiB of RAM in one piece from `start` on, up to `limit`.
fn kib(place: &Placer<'_>, start: u64, limit: u64) -> u32 {
    let ram = place.map().iter().filter(|r| r.kind == E820Kind::Ram);
    let ends = ram.filter_map(|r| Some((r.start.0, r.end()?.0)));
    let end = ends
        .filter(|&(from, to)| from <= start && start < to)
        .map(|(_, to)| to.min(limit))
        .max();
    end.map_or(0, |end| (end.saturating_sub(start) >> 10) as u32)
}
