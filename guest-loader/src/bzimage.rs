//! Linux bzImage by the 64-bit boot protocol (`Documentation/arch/x86/boot.rst`).

use crate::handoff::{self, LIMIT};
use crate::place::Placer;
use crate::{Image, LoadError, Start, start};
use core::mem::offset_of;
use seam::GuestMem;
use spec::linux::SetupHeader;
use spec::state::StartState;
use spec::{Gpa, PAGE_SIZE};
use zerocopy::{FromBytes, FromZeros, IntoBytes};

const SECTOR: u64 = 512;
/// boot.rst: "If this field contains 0, the real value is 4."
const DEFAULT_SETUP_SECTS: u8 = 4;
/// The header of version 2.12 ends with `handover_offset`.
const SHORTEST: usize = SetupHeader::OFFSET + offset_of!(SetupHeader, handover_offset);
const LONGEST: usize = SetupHeader::OFFSET + size_of::<SetupHeader>();

pub(crate) fn is_bzimage(file: &[u8]) -> bool {
    raw_header(file).is_ok()
}

fn raw_header(file: &[u8]) -> Result<SetupHeader, LoadError> {
    file.get(SetupHeader::OFFSET..)
        .and_then(|from| SetupHeader::read_from_prefix(from).ok())
        .map(|(hdr, _)| hdr)
        .filter(|h| h.boot_flag == SetupHeader::BOOT_FLAG && h.header == SetupHeader::MAGIC)
        .ok_or(LoadError::NotBzImage)
}

/// The header of a file that this loader can start, without the bytes past the end that it states.
pub(crate) fn header(file: &[u8]) -> Result<SetupHeader, LoadError> {
    let raw = raw_header(file)?;
    if raw.version < SetupHeader::VERSION_XLOADFLAGS {
        return Err(LoadError::OldProtocol(raw.version));
    }
    let end = SetupHeader::JUMP_END + usize::from(raw.jump[1]);
    if !(SHORTEST..=LONGEST).contains(&end) {
        return Err(LoadError::HeaderLength(end));
    }
    let mut hdr = SetupHeader::new_zeroed();
    let stated = end.saturating_sub(SetupHeader::OFFSET);
    let bytes = hdr.as_mut_bytes().iter_mut().zip(raw.as_bytes());
    bytes.take(stated).for_each(|(to, from)| *to = *from);
    if hdr.xloadflags & SetupHeader::XLF_KERNEL_64 == 0 {
        return Err(LoadError::No64BitEntry);
    }
    if hdr.loadflags & SetupHeader::LOADED_HIGH == 0 {
        return Err(LoadError::NotLoadedHigh);
    }
    let align = hdr.kernel_alignment;
    if !align.is_power_of_two() || u64::from(align) < PAGE_SIZE {
        return Err(LoadError::Alignment(align));
    }
    Ok(hdr)
}

pub(crate) fn load(
    image: &Image<'_>,
    place: &mut Placer<'_>,
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    let mut hdr = header(image.kernel)?;
    let code = protected_mode_code(image.kernel, &hdr)?;
    // It unpacks itself in place, in init_size bytes from where it runs.
    let len = (code.len() as u64).max(u64::from(hdr.init_size));
    let at = put_kernel(len, &hdr, place)?;
    hdr.code32_start = handoff::low(at);
    mem.write_from(at, code)?;
    let tables = handoff::write(hdr, image, place, rsdp, mem)?;
    let entry = at.checked_add(SetupHeader::ENTRY_64);
    let entry = entry.ok_or(LoadError::EntryOutside(at.0))?;
    Ok(start::entered(Start::Long, entry.0, tables))
}

/// The part of the file behind the real-mode code, as long as the header says; signatures may follow it.
fn protected_mode_code<'a>(file: &'a [u8], hdr: &SetupHeader) -> Result<&'a [u8], LoadError> {
    let sectors = match hdr.setup_sects {
        0 => DEFAULT_SETUP_SECTS,
        n => n,
    };
    let start = u64::from(sectors).saturating_add(1).saturating_mul(SECTOR);
    let len = u64::from(hdr.syssize) * 16;
    let end = start.saturating_add(len);
    if len <= SetupHeader::ENTRY_64 {
        return Err(LoadError::EntryOutside(SetupHeader::ENTRY_64));
    }
    file.get(start as usize..end as usize)
        .ok_or(LoadError::Truncated {
            what: "protected-mode code",
            needed: end,
            len: file.len() as u64,
        })
}

/// At the preferred address, or else, if the kernel is relocatable, at the lowest aligned one above it: below it
/// the kernel would move itself up to the preferred address again.
fn put_kernel(len: u64, hdr: &SetupHeader, place: &mut Placer<'_>) -> Result<Gpa, LoadError> {
    let preferred = Gpa(hdr.pref_address);
    let fits = preferred.checked_add(len).is_some_and(|e| e.0 <= LIMIT);
    if fits && place.claim(preferred, len).is_ok() {
        return Ok(preferred);
    }
    let elsewhere = match hdr.relocatable_kernel {
        0 => None,
        _ => place.lowest(len, hdr.kernel_alignment.into(), preferred.0, LIMIT),
    };
    elsewhere.ok_or(LoadError::NoRoom {
        what: "kernel, which unpacks itself in place",
        len,
    })
}
