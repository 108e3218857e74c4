//! Why a kernel is not loaded.

use seam::AccessError;
use spec::Gpa;
use spec::multiboot::Addresses;

/// Why a kernel is not loaded. The text continues a sentence such as "kernel `vmlinuz` is refused: ".
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
#[allow(
    missing_docs,
    reason = "each variant's text says what it is; the fields are named in it"
)]
pub enum LoadError {
    #[error("it is neither a bzImage nor an ELF file, and has no Multiboot header")]
    Unrecognised,
    #[error("it is empty")]
    Empty,

    #[error("it is not a bzImage: the boot flag 0xAA55 at 0x1fe or \"HdrS\" at 0x202 is missing")]
    NotBzImage,
    #[error("it ends before its {what}, which needs {needed} bytes; the file has {len}")]
    Truncated {
        what: &'static str,
        needed: u64,
        len: u64,
    },
    #[error("it has boot protocol {}.{}, and 2.12 or later is needed", .0 >> 8, .0 & 0xff)]
    OldProtocol(u16),
    #[error("it has no 64-bit entry point (XLF_KERNEL_64 is not set)")]
    No64BitEntry,
    #[error("it is a zImage, for loading below 1 MiB; only bzImage is supported")]
    NotLoadedHigh,
    #[error("its setup header ends at {0:#x}, outside of 0x264 to 0x290")]
    HeaderLength(usize),
    #[error("its alignment {0:#x} is not a power of two from 4 KiB up")]
    Alignment(u32),
    #[error("its entry point is at {0:#x}, outside of the kernel")]
    EntryOutside(u64),

    #[error("it is not an ELF file: the magic number is missing")]
    NotElf,
    #[error("it is not an ELF file for little-endian x86 (class {class}, machine {machine})")]
    ElfMachine { class: u8, machine: u16 },
    #[error("it is an ELF file for 32-bit x86, which starts by PVH or Multiboot only")]
    ElfNot64Bit,
    #[error("its ELF type is {0}; only a non-relocatable executable (ET_EXEC, 2) can be loaded")]
    ElfType(u16),
    #[error("its ELF headers are damaged")]
    ElfHeaders,
    #[error("it asks for a program interpreter (PT_INTERP)")]
    ElfInterpreter,
    #[error("it wants dynamic linking or relocation (PT_DYNAMIC)")]
    ElfDynamic,
    #[error("it has no segment to load (PT_LOAD)")]
    ElfNothingToLoad,
    #[error("it has more than {0} segments to load")]
    ElfTooManySegments(usize),
    #[error("its segment at {0} is larger in the file than in memory")]
    ElfSegmentSize(Gpa),

    #[error("it has no PVH entry point (Xen's note PHYS32_ENTRY, 18, is missing)")]
    NotPvh,
    #[error("its PVH entry point has {0} bytes, which should be 4 or 8")]
    PvhNote(usize),

    #[error("it has no Multiboot header in its first 8 KiB")]
    NotMultiboot,
    #[error(
        "its Multiboot header requires what this machine has not (flags {0:#x}; 0x4 is for video modes)"
    )]
    MultibootRequires(u32),
    #[error(
        "the addresses of its Multiboot header do not go together (header {:#x}, load {:#x} to {:#x}, zeroes to {:#x})",
        .0.header_addr, .0.load_addr, .0.load_end_addr, .0.bss_end_addr
    )]
    MultibootAddresses(Addresses),
    #[error("it starts by Multiboot, which has modules and no initial RAM disk")]
    MultibootInitrd,
    #[error("it takes no modules, which only Multiboot has")]
    NoModules,

    #[error("a flat binary in real mode starts below 1 MiB, and its address is {0}")]
    RealModeAddress(Gpa),
    #[error("a flat binary starts below 4 GiB, and its address is {0}")]
    FlatAddress(Gpa),
    #[error("a flat binary in real mode takes no initial RAM disk and no command line")]
    RealModeExtras,

    #[error("{len:#x} bytes at {start} are not wholly RAM of the guest")]
    NotRam { start: Gpa, len: u64 },
    #[error("{len:#x} bytes at {start} overlap what is already there")]
    Overlap { start: Gpa, len: u64 },
    #[error("there is no room for the {what} ({len:#x} bytes) in the guest's memory")]
    NoRoom { what: &'static str, len: u64 },
    #[error("its command line has {len} bytes, and the kernel takes {max}")]
    CmdlineTooLong { len: usize, max: u32 },
    #[error("the guest's memory map has more than {0} entries")]
    MapTooLong(usize),
    #[error("the guest's memory refused an access ({0:?})")]
    Memory(AccessError),
}

impl From<AccessError> for LoadError {
    fn from(e: AccessError) -> Self {
        Self::Memory(e)
    }
}
