//! ELF executables of either class (System V ABI, "Object Files" and "Program Loading"; i386 and AMD64 supplements).

use crate::LoadError;
use crate::handoff::LIMIT;
use crate::place::Placer;
use elf::abi;
use elf::endian::LittleEndian;
use elf::file::{Class, FileHeader, parse_ident};
use elf::note::{Note, NoteAny, NoteIterator};
use elf::parse::{ParseAt, ParseError};
use elf::segment::{ProgramHeader, SegmentTable};
use seam::GuestMem;
use spec::Gpa;

/// More segments of a kind than a linker makes; the places of those that are loaded are compared with each other.
const MAX_SEGMENTS: usize = 64;

pub(crate) fn is_elf(file: &[u8]) -> bool {
    file.starts_with(&abi::ELFMAGIC)
}

/// An executable for x86 whose headers are sound.
pub(crate) struct Executable<'a> {
    file: &'a [u8],
    header: FileHeader<LittleEndian>,
    segments: SegmentTable<'a, LittleEndian>,
}

impl<'a> Executable<'a> {
    pub(crate) fn parse(file: &'a [u8]) -> Result<Self, LoadError> {
        let header = file_header(file)?;
        let segments = program_headers(file, &header)?;
        let this = Self {
            file,
            header,
            segments,
        };
        for kind in [abi::PT_LOAD, abi::PT_NOTE] {
            if this.of_kind(kind).count() > MAX_SEGMENTS {
                return Err(LoadError::ElfTooManySegments(MAX_SEGMENTS));
            }
        }
        Ok(this)
    }

    /// Whether it is an ELF64 file.
    pub(crate) fn is_64_bit(&self) -> bool {
        self.header.class == Class::ELF64
    }

    /// Puts all that is to be loaded to its physical addresses.
    pub(crate) fn put(&self, place: &mut Placer<'_>, mem: &impl GuestMem) -> Result<(), LoadError> {
        if self.of_kind(abi::PT_INTERP).next().is_some() {
            return Err(LoadError::ElfInterpreter);
        }
        if self.of_kind(abi::PT_DYNAMIC).next().is_some() {
            return Err(LoadError::ElfDynamic);
        }
        if self.loaded().next().is_none() {
            return Err(LoadError::ElfNothingToLoad);
        }
        for segment in self.loaded() {
            let at = Gpa(segment.p_paddr);
            let rest = segment
                .p_memsz
                .checked_sub(segment.p_filesz)
                .ok_or(LoadError::ElfSegmentSize(at))?;
            let bytes = slice(self.file, "segment", segment.p_offset, segment.p_filesz)?;
            place.claim(at, segment.p_memsz)?;
            mem.write_from(at, bytes)?;
            let end = at.checked_add(segment.p_filesz);
            mem.zero(end.ok_or(LoadError::ElfSegmentSize(at))?, rest)?;
        }
        Ok(())
    }

    /// The entry point taken as a physical address.
    pub(crate) fn entry(&self) -> Result<u64, LoadError> {
        self.executable(self.header.e_entry)
    }

    /// The physical address of the entry point, which may be a virtual one: that of the segment that holds it.
    pub(crate) fn translated_entry(&self) -> Result<u64, LoadError> {
        let entry = self.header.e_entry;
        let virtually = self.code().find_map(|segment| {
            let offset = entry.checked_sub(segment.p_vaddr)?;
            let inside = offset < segment.p_memsz;
            segment.p_paddr.checked_add(offset).filter(|_| inside)
        });
        self.executable(virtually.unwrap_or(entry))
    }

    /// `physical`, if it is in code that was loaded below what a start can reach.
    pub(crate) fn executable(&self, physical: u64) -> Result<u64, LoadError> {
        let holds = |segment: ProgramHeader| {
            let offset = physical.checked_sub(segment.p_paddr);
            offset.is_some_and(|offset| offset < segment.p_memsz)
        };
        if physical < LIMIT && self.code().any(holds) {
            return Ok(physical);
        }
        Err(LoadError::EntryOutside(physical))
    }

    /// What the first note of this name and kind holds. Notes behind a damaged one are not seen.
    pub(crate) fn note(&self, name: &str, kind: u64) -> Result<Option<&'a [u8]>, LoadError> {
        for segment in self.of_kind(abi::PT_NOTE) {
            let bytes = slice(self.file, "notes", segment.p_offset, segment.p_filesz)?;
            // "Note Section": entries are aligned to 4 bytes, or to 8 if the segment says so.
            let align = if segment.p_align == 8 { 8 } else { 4 };
            let found =
                NoteIterator::new(LittleEndian, self.header.class, align, bytes).find_map(|note| {
                    match note {
                        Note::Unknown(NoteAny { n_type, name, desc }) => Some((n_type, name, desc)),
                        _ => None,
                    }
                    .filter(|(n_type, n_name, _)| {
                        *n_type == kind && n_name.strip_suffix(b"\0") == Some(name.as_bytes())
                    })
                });
            if let Some((_, _, desc)) = found {
                return Ok(Some(desc));
            }
        }
        Ok(None)
    }

    fn of_kind(&self, kind: u32) -> impl Iterator<Item = ProgramHeader> {
        self.segments.iter().filter(move |s| s.p_type == kind)
    }

    fn loaded(&self) -> impl Iterator<Item = ProgramHeader> {
        self.of_kind(abi::PT_LOAD).filter(|s| s.p_memsz != 0)
    }

    fn code(&self) -> impl Iterator<Item = ProgramHeader> {
        self.loaded().filter(|s| s.p_flags & abi::PF_X != 0)
    }
}

fn file_header(file: &[u8]) -> Result<FileHeader<LittleEndian>, LoadError> {
    if !is_elf(file) {
        return Err(LoadError::NotElf);
    }
    let short = |needed| LoadError::Truncated {
        what: "ELF header",
        needed,
        len: file.len() as u64,
    };
    let ident = file.get(..abi::EI_NIDENT).ok_or(short(64))?;
    let class = *ident.get(abi::EI_CLASS).ok_or(short(64))?;
    let wrong = |machine| LoadError::ElfMachine { class, machine };
    let ident = parse_ident::<LittleEndian>(ident).map_err(|e| match e {
        ParseError::UnsupportedElfClass(_) | ParseError::UnsupportedElfEndianness(_) => wrong(0),
        _ => LoadError::ElfHeaders,
    })?;
    let (len, machine) = match ident.1 {
        Class::ELF32 => (52, abi::EM_386),
        Class::ELF64 => (64, abi::EM_X86_64),
    };
    let tail = file.get(abi::EI_NIDENT..len);
    let tail = tail.ok_or(short(len as u64))?;
    let header = FileHeader::parse_tail(ident, tail).map_err(|_| LoadError::ElfHeaders)?;
    if header.e_machine != machine {
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
    let size = ProgramHeader::size_for(header.class);
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
        usize::from(header.e_phnum).saturating_mul(size) as u64,
    )?;
    Ok(SegmentTable::new(LittleEndian, header.class, bytes))
}

/// `len` bytes of the file from `offset` on.
pub(crate) fn slice<'a>(
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
