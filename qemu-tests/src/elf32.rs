//! A tiny guest as an ELF file for 32-bit x86, which is what most Multiboot kernels are.

use anyhow::{Context, Result};
use elf::ElfBytes;
use elf::abi::{EM_386, ET_EXEC, PT_LOAD};
use elf::endian::LittleEndian;

/// Bytes of the file header and of one program header (System V ABI, "ELF Header" and "Program Header").
const HEADER: usize = 52;
const PROGRAM_HEADER: usize = 32;

/// The same segments at the same offsets and addresses, behind smaller headers.
pub(crate) fn narrow(file: &[u8]) -> Result<Vec<u8>> {
    let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
    let segments: Vec<_> = elf
        .segments()
        .context("no program headers")?
        .iter()
        .filter(|s| s.p_type == PT_LOAD)
        .collect();
    let mut out = b"\x7fELF\x01\x01\x01".to_vec();
    out.resize(16, 0);
    let halves = |out: &mut Vec<u8>, halves: &[u16]| {
        out.extend(halves.iter().flat_map(|half| half.to_le_bytes()));
    };
    let words = |out: &mut Vec<u8>, words: &[u64]| -> Result<()> {
        for word in words {
            out.extend(u32::try_from(*word)?.to_le_bytes());
        }
        Ok(())
    };
    halves(&mut out, &[ET_EXEC, EM_386]);
    words(&mut out, &[1, elf.ehdr.e_entry, HEADER as u64, 0, 0])?;
    let count = u16::try_from(segments.len())?;
    halves(
        &mut out,
        &[HEADER as u16, PROGRAM_HEADER as u16, count, 0, 0, 0],
    );
    for s in &segments {
        words(
            &mut out,
            &[PT_LOAD.into(), s.p_offset, s.p_vaddr, s.p_paddr],
        )?;
        words(
            &mut out,
            &[s.p_filesz, s.p_memsz, s.p_flags.into(), s.p_align],
        )?;
    }
    for s in &segments {
        let (bytes, at) = (elf.segment_data(s)?, usize::try_from(s.p_offset)?);
        out.resize(out.len().max(at + bytes.len()), 0);
        let place = out
            .get_mut(at..at + bytes.len())
            .context("a segment lies outside the file")?;
        place.copy_from_slice(bytes);
    }
    Ok(out)
}
