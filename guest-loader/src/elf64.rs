//! ELF64 executables (System V ABI, "Object Files" and "Program Loading"; AMD64 supplement).

use crate::handoff::{self, LIMIT};
use crate::place::Placer;
use crate::{Image, LoadError, Start, start};
use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::parse::{ParseAt, ParseError};
use elf::segment::{ProgramHeader, SegmentTable};
use seam::GuestMem;
use spec::Gpa;
use spec::state::StartState;

/// More segments than a linker makes; the places of all are compared with each other.
const MAX_SEGMENTS: usize = 64;

pub(crate) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(&abi::ELFMAGIC)
}

pub(crate) fn load(
    image: &Image<'_>,
    place: &mut Placer<'_>,
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    let file = image.kernel;
    let header = file_header(file)?;
    let mut loaded = 0;
    let mut entry_found = false;
    for segment in program_headers(file, &header)?.iter() {
        match segment.p_type {
            abi::PT_INTERP => return Err(LoadError::ElfInterpreter),
            abi::PT_DYNAMIC => return Err(LoadError::ElfDynamic),
            abi::PT_LOAD if segment.p_memsz == 0 => {}
            abi::PT_LOAD => {
                loaded += 1;
                if loaded > MAX_SEGMENTS {
                    return Err(LoadError::ElfTooManySegments(MAX_SEGMENTS));
                }
                put_segment(file, &segment, place, mem)?;
                entry_found |= holds_entry(&segment, header.e_entry);
            }
            _ => {}
        }
    }
    if loaded == 0 {
        return Err(LoadError::ElfNothingToLoad);
    }
    if !entry_found {
        return Err(LoadError::EntryOutside(header.e_entry));
    }
    let tables = handoff::write(handoff::bare_header(), image, place, rsdp, mem)?;
    Ok(start::entered(Start::Long, header.e_entry, tables))
}

fn file_header(file: &[u8]) -> Result<FileHeader<LittleEndian>, LoadError> {
    if !is_elf(file) {
        return Err(LoadError::NotElf);
    }
    let short = LoadError::Truncated {
        what: "ELF header",
        needed: 64,
        len: file.len() as u64,
    };
    let ident = file.get(..abi::EI_NIDENT).ok_or(short)?;
    let class = ident[abi::EI_CLASS];
    let wrong = |machine| LoadError::ElfMachine { class, machine };
    let ident = parse_ident::<LittleEndian>(ident).map_err(|e| match e {
        ParseError::UnsupportedElfClass(_) | ParseError::UnsupportedElfEndianness(_) => wrong(0),
        _ => LoadError::ElfHeaders,
    })?;
    if ident.1 != Class::ELF64 {
        return Err(wrong(0));
    }
    let tail = file.get(abi::EI_NIDENT..64).ok_or(short)?;
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| LoadError::ElfHeaders)?;
    if header.e_machine != abi::EM_X86_64 {
        return Err(wrong(header.e_machine));
    }
    if header.e_type != abi::ET_EXEC {
        return Err(LoadError::ElfType(header.e_type));
    }
    Ok(header)
}

fn program_headers<'a>(
    file: &'a [u8],
    header: &FileHeader<LittleEndian>,
) -> Result<SegmentTable<'a, LittleEndian>, LoadError> {
    let size = ProgramHeader::size_for(Class::ELF64);
    if header.e_phnum == 0 {
        return Err(LoadError::ElfNothingToLoad);
    }
    if usize::from(header.e_phentsize) != size {
        return Err(LoadError::ElfHeaders);
    }
    let bytes = slice(
        file,
        "program headers",
        header.e_phoff,
        (usize::from(header.e_phnum) * size) as u64,
    )?;
    Ok(SegmentTable::new(LittleEndian, Class::ELF64, bytes))
}

fn put_segment(
    file: &[u8],
    segment: &ProgramHeader,
    place: &mut Placer<'_>,
    mem: &impl GuestMem,
) -> Result<(), LoadError> {
    let at = Gpa(segment.p_paddr);
    let rest = segment
        .p_memsz
        .checked_sub(segment.p_filesz)
        .ok_or(LoadError::ElfSegmentSize(at))?;
    let bytes = slice(file, "segment", segment.p_offset, segment.p_filesz)?;
    place.claim(at, segment.p_memsz)?;
    mem.write_from(at, bytes)?;
    // The claim has shown that p_paddr + p_memsz does not wrap.
    mem.zero(Gpa(at.0 + segment.p_filesz), rest)?;
    Ok(())
}

/// Whether `entry`, a physical address below what the start maps, lies in this segment and may be executed.
fn holds_entry(segment: &ProgramHeader, entry: u64) -> bool {
    let offset = entry.checked_sub(segment.p_paddr);
    entry < LIMIT && segment.p_flags & abi::PF_X != 0 && offset.is_some_and(|o| o < segment.p_memsz)
}

fn slice<'a>(
    file: &'a [u8],
    what: &'static str,
    offset: u64,
    len: u64,
) -> Result<&'a [u8], LoadError> {
    let end = offset.saturating_add(len);
    let range = usize::try_from(offset).ok().zip(usize::try_from(end).ok());
    range
        .and_then(|(from, to)| file.get(from..to))
        .ok_or(LoadError::Truncated {
            what,
            needed: end,
            len: file.len() as u64,
        })
}
