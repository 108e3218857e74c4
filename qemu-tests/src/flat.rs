//! A tiny guest as a flat binary: its segments as they lie in memory, without the ELF file around them.

use anyhow::{Context, Result, ensure};
use elf::ElfBytes;
use elf::abi::PT_LOAD;
use elf::endian::LittleEndian;

/// The largest binary: a linker script gone wrong spreads segments over the whole address space.
const LARGEST: u64 = 16 << 20;

/// The bytes from the lowest loaded address to the highest.
pub(crate) fn flatten(file: &[u8]) -> Result<Vec<u8>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let segments = elf.segments().context("no program headers")?;
    let loaded = || {
        segments
            .iter()
            .filter(|s| s.p_type == PT_LOAD && s.p_memsz > 0)
    };
    let start = loaded()
        .map(|s| s.p_paddr)
        .min()
        .context("nothing to load")?;
    let end = loaded()
        .filter_map(|s| s.p_paddr.checked_add(s.p_memsz))
        .max()
        .unwrap_or(start);
    ensure!(
        end - start <= LARGEST,
        "the segments lie from {start:#x} to {end:#x}"
    );
    let mut flat = vec![0; usize::try_from(end - start)?];
    for segment in loaded() {
        let bytes = elf.segment_data(&segment)?;
        let at = usize::try_from(segment.p_paddr - start)?;
        let place = flat
            .get_mut(at..at + bytes.len())
            .context("a segment is cut short")?;
        place.copy_from_slice(bytes);
    }
    Ok(flat)
}
