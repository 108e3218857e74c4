//! Kinds of kernel files, as the plan names them and the guest loader takes them.

use crate::Gpa;
use serde::{Deserialize, Serialize};

/// What kind of file a kernel is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Format {
    /// By what the file says of itself: bzImage by its magic numbers; else ELF, taken as PVH if it has the note, as Multiboot if
    /// it has the header, as ELF64 otherwise; else Multiboot
    Auto,
    /// Linux bzImage, version 2.12 or later of the boot protocol, with a 64-bit entry point
    BzImage,
    /// ELF64 executable for x86-64, entered in 64-bit mode at its entry point taken as a physical address
    Elf64,
    /// Multiboot 1 (specification 0.6.96), an ELF or a file whose header says where it goes, entered in protected mode
    Multiboot,
    /// ELF with Xen's note for a start in protected mode without Xen (PVH), XEN_ELFNOTE_PHYS32_ENTRY
    Pvh,
    /// Bytes for one address
    Flat {
        /// Where the first byte goes and execution starts
        load: Gpa,
        /// The mode in which it starts
        start: Start,
    },
}

/// The processor mode in which a flat binary starts.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub enum Start {
    /// Real-address mode, CS:IP = load >> 4 : load & 15, all else as after reset (SDM vol. 3, "Processor State
    /// After Reset") but for EDX, which is zero
    Real,
    /// Protected mode, flat 32-bit segments, no paging
    Protected,
    /// 64-bit mode, the first 4 GiB mapped one to one
    Long,
}
