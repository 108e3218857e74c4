//! Why the hypervisor's file is refused.

use super::CONFIG_SECTION;
use ::elf::ParseError;
use core::fmt;

/// Why an ELF file is not loaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ElfError {
    /// The headers do not parse as ELF64, little endian
    Malformed,
    /// Not a position-independent executable for x86-64
    Kind,
    /// It asks for a program interpreter or for thread-local storage
    Unsupported(&'static str),
    /// A segment's place or size in the file or in memory is impossible
    Segment(u64),
    /// A segment is writable and executable
    WriteExecute(u64),
    /// The entry point is not in an executable segment
    Entry(u64),
    /// The relocation table is not where the dynamic section says
    RelocationTable,
    /// A relocation of another type than R_X86_64_RELATIVE
    RelocationType(u32),
    /// A relocation outside of the writable segments, or one that points out of the image
    Relocation(u64),
    /// The section `.bootloader-config` is missing or does not parse
    Config,
}

impl fmt::Display for ElfError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Malformed => f.write_str("not a well-formed ELF64 file"),
            Self::Kind => f.write_str("not a position-independent x86-64 executable"),
            Self::Unsupported(what) => write!(f, "asks for {what}"),
            Self::Segment(at) => {
                write!(f, "the segment at {at:#x} has an impossible place or size")
            }
            Self::WriteExecute(at) => {
                write!(f, "the segment at {at:#x} is writable and executable")
            }
            Self::Entry(at) => write!(f, "the entry point {at:#x} is not in an executable segment"),
            Self::RelocationTable => f.write_str("the relocation table is malformed"),
            Self::RelocationType(n) => {
                write!(
                    f,
                    "relocation type {n}; only R_X86_64_RELATIVE (8) is carried out"
                )
            }
            Self::Relocation(at) => write!(f, "the relocation at {at:#x} leaves the image"),
            Self::Config => write!(f, "no valid section {CONFIG_SECTION}"),
        }
    }
}

impl From<ParseError> for ElfError {
    fn from(_: ParseError) -> Self {
        Self::Malformed
    }
}
