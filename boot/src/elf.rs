//! The hypervisor's ELF file: a static position-independent executable for x86-64.
//!
//! The file is checked whole in [`Image::parse`]; what [`Image::load`] writes stays inside the memory it is given.

mod error;
#[cfg(test)]
mod tests;

pub use error::ElfError;

use ::elf::ElfBytes;
use ::elf::abi::{
    DT_JMPREL, DT_NULL, DT_REL, DT_RELA, DT_RELAENT, DT_RELASZ, EM_X86_64, ET_DYN, PF_W, PF_X,
    PT_DYNAMIC, PT_GNU_RELRO, PT_INTERP, PT_LOAD, PT_TLS, R_X86_64_RELATIVE,
};
use ::elf::dynamic::DynamicTable;
use ::elf::endian::LittleEndian;
use ::elf::file::Class;
use ::elf::relocation::{Rela, RelaIterator};
use ::elf::segment::ProgramHeader;
use alloc::vec::Vec;
use core::ops::Range;
use paging::Rights;
use spec::PAGE_SIZE;

/// The most that an image may span: far above ours, far below the 2 GiB that its code can address.
const SPAN_MAX: u64 = 64 << 20;
/// Bytes of one `Elf64_Rela` (System V ABI, "Relocation").
const RELA_SIZE: u64 = 24;
/// Relative relocations without addends, packed (System V ABI, "Relative Relocation Table").
const DT_RELR: i64 = 36;
/// Where `bootloader_api::entry_point!` puts the kernel's wishes.
const CONFIG_SECTION: &str = ".bootloader-config";

/// One loadable segment, in offsets from the start of the image.
struct Segment<'f> {
    /// What it occupies, whole pages
    pages: Range<u64>,
    /// Its first byte
    start: u64,
    /// Its size; past the bytes of the file come zeroes
    len: u64,
    bytes: &'f [u8],
    rights: Rights,
}

/// A checked ELF file.
pub struct Image<'f> {
    segments: Vec<Segment<'f>>,
    /// To be read-only once relocated, whole pages
    relro: Range<u64>,
    relocations: Option<Range<u64>>,
    entry: u64,
    config: &'f [u8],
}

impl<'f> Image<'f> {
    /// Checks `file`.
    ///
    /// # Errors
    /// Any [`ElfError`] that does not need the loaded image.
    pub fn parse(file: &'f [u8]) -> Result<Self, ElfError> {
        let elf = ElfBytes::<LittleEndian>::minimal_parse(file)?;
        if elf.ehdr.class != Class::ELF64
            || elf.ehdr.e_type != ET_DYN
            || elf.ehdr.e_machine != EM_X86_64
        {
            return Err(ElfError::Kind);
        }
        let mut segments: Vec<Segment<'f>> = Vec::new();
        let mut relro = 0..0;
        let mut relocations = None;
        for header in elf.segments().ok_or(ElfError::Malformed)?.iter() {
            match header.p_type {
                PT_LOAD => {
                    let segment = Segment::parse(&elf, &header)?;
                    if segments
                        .last()
                        .is_some_and(|l| l.pages.end > segment.pages.start)
                    {
                        return Err(ElfError::Segment(header.p_vaddr));
                    }
                    segments.push(segment);
                }
                PT_DYNAMIC => relocations = relocation_table(elf.segment_data(&header)?)?,
                // The linker begins a segment with it and pads its end to a page. Rounding as the C library's
                // loader does: whatever the file, nothing behind it becomes read-only.
                PT_GNU_RELRO => {
                    let r = range(&header)?;
                    relro = r.start - r.start % PAGE_SIZE..r.end - r.end % PAGE_SIZE;
                }
                PT_INTERP => return Err(ElfError::Unsupported("a program interpreter")),
                PT_TLS => return Err(ElfError::Unsupported("thread-local storage")),
                _ => {}
            }
        }
        let entry = elf.ehdr.e_entry;
        if !segments.iter().any(|s| s.rights.x && s.contains(entry, 1)) {
            return Err(ElfError::Entry(entry));
        }
        let section = elf
            .section_header_by_name(CONFIG_SECTION)?
            .ok_or(ElfError::Config)?;
        let (config, None) = elf.section_data(&section)? else {
            return Err(ElfError::Config);
        };
        Ok(Self {
            segments,
            relro,
            relocations,
            entry,
            config,
        })
    }

    /// Bytes that the image occupies in memory, a multiple of 4096.
    #[must_use]
    pub fn span(&self) -> u64 {
        self.segments.last().map_or(0, |s| s.pages.end)
    }

    /// Offset of the entry point.
    #[must_use]
    pub fn entry(&self) -> u64 {
        self.entry
    }

    /// The bytes of the section `.bootloader-config`.
    #[must_use]
    pub fn config(&self) -> &'f [u8] {
        self.config
    }

    /// The pages of the loaded image and what they allow; pages between segments are in none.
    pub fn pages(&self) -> impl Iterator<Item = (Range<u64>, Rights)> {
        self.segments.iter().flat_map(|s| {
            let cut = |at: u64| at.clamp(s.pages.start, s.pages.end);
            let (from, to) = if s.rights.w {
                (cut(self.relro.start), cut(self.relro.end))
            } else {
                (s.pages.end, s.pages.end)
            };
            [
                (s.pages.start..from, s.rights),
                (from..to, Rights::R),
                (to.max(from)..s.pages.end, s.rights),
            ]
            .into_iter()
            .filter(|(pages, _)| !pages.is_empty())
        })
    }

    /// Copies the segments into `memory`, which is [`Image::span`] bytes of zeroes, and relocates them to run at
    /// virtual address `base`.
    ///
    /// # Errors
    /// [`ElfError::RelocationTable`], [`ElfError::RelocationType`], [`ElfError::Relocation`].
    pub fn load(&self, memory: &mut [u8], base: u64) -> Result<(), ElfError> {
        for s in &self.segments {
            slice_mut(memory, s.start, s.bytes.len() as u64)
                .ok_or(ElfError::Segment(s.start))?
                .copy_from_slice(s.bytes);
        }
        let Some(table) = self.relocations.clone() else {
            return Ok(());
        };
        // A copy, since the relocations write to the memory that it lies in.
        let table = memory
            .get(index(table.start)..index(table.end))
            .ok_or(ElfError::RelocationTable)?
            .to_vec();
        for Rela {
            r_offset,
            r_sym,
            r_type,
            r_addend,
        } in RelaIterator::new(LittleEndian, Class::ELF64, &table)
        {
            if r_type != R_X86_64_RELATIVE || r_sym != 0 {
                return Err(ElfError::RelocationType(r_type));
            }
            let target = u64::try_from(r_addend)
                .ok()
                .filter(|to| *to <= self.span())
                .and_then(|to| base.checked_add(to));
            let writable = self
                .segments
                .iter()
                .any(|s| s.rights.w && s.contains(r_offset, 8));
            match (target, slice_mut(memory, r_offset, 8)) {
                (Some(target), Some(word)) if writable => {
                    word.copy_from_slice(&target.to_le_bytes());
                }
                _ => return Err(ElfError::Relocation(r_offset)),
            }
        }
        Ok(())
    }
}

impl<'f> Segment<'f> {
    fn parse(elf: &ElfBytes<'f, LittleEndian>, header: &ProgramHeader) -> Result<Self, ElfError> {
        let at = range(header)?;
        let rights = match (header.p_flags & PF_W != 0, header.p_flags & PF_X != 0) {
            (true, true) => return Err(ElfError::WriteExecute(at.start)),
            (true, false) => Rights::RW,
            (false, true) => Rights::RX,
            (false, false) => Rights::R,
        };
        let bytes = elf.segment_data(header)?;
        if at.is_empty() || bytes.len() as u64 > header.p_memsz {
            return Err(ElfError::Segment(at.start));
        }
        Ok(Self {
            pages: at.start - at.start % PAGE_SIZE..at.end.next_multiple_of(PAGE_SIZE),
            start: at.start,
            len: header.p_memsz,
            bytes,
            rights,
        })
    }

    fn contains(&self, at: u64, len: u64) -> bool {
        at.checked_sub(self.start)
            .and_then(|offset| offset.checked_add(len))
            .is_some_and(|end| end <= self.len)
    }
}

/// What a program header occupies in memory, below [`SPAN_MAX`].
fn range(header: &ProgramHeader) -> Result<Range<u64>, ElfError> {
    header
        .p_vaddr
        .checked_add(header.p_memsz)
        .filter(|end| *end <= SPAN_MAX)
        .map(|end| header.p_vaddr..end)
        .ok_or(ElfError::Segment(header.p_vaddr))
}

/// Where the dynamic section says that the relocations are, in offsets from the start of the image.
fn relocation_table(dynamic: &[u8]) -> Result<Option<Range<u64>>, ElfError> {
    let (mut start, mut size) = (None, 0);
    for entry in DynamicTable::new(LittleEndian, Class::ELF64, dynamic).iter() {
        match entry.d_tag {
            DT_NULL => break,
            DT_RELA => start = Some(entry.d_ptr()),
            DT_RELASZ => size = entry.d_val(),
            DT_RELAENT if entry.d_val() != RELA_SIZE => return Err(ElfError::RelocationTable),
            DT_REL => return Err(ElfError::Unsupported("relocations without addends")),
            DT_RELR => return Err(ElfError::Unsupported("packed relocations")),
            DT_JMPREL => return Err(ElfError::Unsupported("a procedure linkage table")),
            _ => {}
        }
    }
    let Some(start) = start else { return Ok(None) };
    start
        .checked_add(size)
        .filter(|end| size % RELA_SIZE == 0 && *end <= SPAN_MAX)
        .map(|end| Some(start..end))
        .ok_or(ElfError::RelocationTable)
}

/// `at`, at most [`SPAN_MAX`], as an index; boot runs on 64-bit processors only.
fn index(at: u64) -> usize {
    at as usize
}

fn slice_mut(memory: &mut [u8], start: u64, len: u64) -> Option<&mut [u8]> {
    let end = start.checked_add(len)?;
    memory.get_mut(usize::try_from(start).ok()?..usize::try_from(end).ok()?)
}
