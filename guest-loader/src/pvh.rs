//! ELF executables of either class with Xen's note for a start in protected mode (Xen, `docs/misc/pvh.pandoc`).

use crate::executable::Executable;
use crate::place::Placer;
use crate::{Image, LoadError, handoff, start};
use alloc::vec::Vec;
use seam::GuestMem;
use spec::Gpa;
use spec::cpu::{Gpr, Gprs};
use spec::pvh::{MapEntry, Module, NOTE_NAME, NOTE_PHYS32_ENTRY, StartInfo};
use spec::state::StartState;
use zerocopy::IntoBytes;

/// Where the file's note says that it starts, if it has one.
pub(crate) fn entry(file: &Executable<'_>) -> Result<Option<u64>, LoadError> {
    let Some(desc) = file.note(NOTE_NAME, NOTE_PHYS32_ENTRY)? else {
        return Ok(None);
    };
    // As wide as a pointer of the kernel, whatever the class of its file.
    let address = match (<[u8; 4]>::try_from(desc), <[u8; 8]>::try_from(desc)) {
        (Ok(four), _) => u32::from_le_bytes(four).into(),
        (_, Ok(eight)) => u64::from_le_bytes(eight),
        _ => return Err(LoadError::PvhNote(desc.len())),
    };
    Ok(Some(address))
}

pub(crate) fn load(
    image: &Image<'_>,
    place: &mut Placer<'_>,
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    let file = Executable::parse(image.kernel)?;
    let entry = entry(&file)?.ok_or(LoadError::NotPvh)?;
    file.put(place, mem)?;
    let entry = file.executable(entry)?;

    let gdt = handoff::put(start::GDT.as_bytes(), place, mem)?;
    let initrd = match image.initrd {
        // Linux takes the first module for its initial RAM disk, and has 32 bits for its address.
        Some(initrd) if !initrd.is_empty() => Some(Module {
            paddr: handoff::put_initrd(initrd, handoff::INITRD_MAX, place, mem)?.0,
            size: initrd.len() as u64,
            cmdline_paddr: 0,
            reserved: 0,
        }),
        _ => None,
    };
    let modules: Vec<Module> = initrd.into_iter().collect();
    let map: Vec<MapEntry> = place.map().iter().map(|&range| range.into()).collect();
    let info = StartInfo {
        magic: StartInfo::MAGIC,
        version: StartInfo::VERSION,
        flags: 0,
        nr_modules: modules.len() as u32,
        modlist_paddr: match modules.is_empty() {
            true => 0,
            false => handoff::put(modules.as_bytes(), place, mem)?.0,
        },
        cmdline_paddr: handoff::put_text(image.cmdline, place, mem)?.0,
        rsdp_paddr: rsdp.0,
        memmap_paddr: handoff::put(map.as_bytes(), place, mem)?.0,
        memmap_entries: map.len() as u32,
        reserved: 0,
    };
    let mut gprs = Gprs::default();
    gprs.set(Gpr::Rbx, handoff::put(info.as_bytes(), place, mem)?.0);
    Ok(start::flat_32(entry, gdt, gprs))
}
