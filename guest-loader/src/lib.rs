//! Puts a guest kernel into guest memory and says how its first vCPU starts.
//!
//! Three kinds of file: a Linux bzImage, entered by the 64-bit boot protocol; an ELF64 executable; bytes for one
//! address. All but a flat binary in real mode are entered the same way, which is the Linux 64-bit one
//! (`Documentation/arch/x86/boot.rst`, "64-bit Boot Protocol"): RSI holds the address of a zero page that tells
//! of memory map, command line, initial RAM disk and ACPI tables; interrupts are off; there is no stack. A GDT
//! is loaded that has flat 32-bit code at selector 0x08, 64-bit code at 0x10 and data at 0x18, and in 64-bit mode
//! the first 4 GiB are mapped one to one. GDT, page tables, zero page and command line lie in low RAM that the
//! map shows as usable: the guest copies what it wants to keep before it uses that memory otherwise.
#![no_std]

extern crate alloc;

mod bzimage;
mod elf64;
mod error;
mod flat;
mod handoff;
mod place;
mod start;

pub use error::LoadError;
pub use spec::kernel::{Format, Start};

use place::Placer;
use seam::GuestMem;
use spec::Gpa;
use spec::linux::MemoryRange;
use spec::state::StartState;

/// What is to be started.
#[derive(Clone, Copy, Debug)]
pub struct Image<'a> {
    /// Kind of the kernel file
    pub format: Format,
    /// The kernel file
    pub kernel: &'a [u8],
    /// The initial RAM disk
    pub initrd: Option<&'a [u8]>,
    /// Kernel command line, without a NUL
    pub cmdline: &'a str,
}

/// Puts `image` into the guest's memory, which `map` describes, and gives the state in which its first vCPU
/// starts. Writes only to the [`spec::linux::E820Kind::Ram`] ranges of `map`; `rsdp` is where the ACPI tables begin.
///
/// # Errors
/// A [`LoadError`] that says what is wrong with the file, or what does not fit. Guest memory may have been
/// written to by then.
pub fn load(
    image: &Image<'_>,
    map: &[MemoryRange],
    rsdp: Gpa,
    mem: &impl GuestMem,
) -> Result<StartState, LoadError> {
    let mut place = Placer::new(map);
    match image.format {
        Format::Auto if elf64::is_elf(image.kernel) => elf64::load(image, &mut place, rsdp, mem),
        Format::Auto if bzimage::is_bzimage(image.kernel) => {
            bzimage::load(image, &mut place, rsdp, mem)
        }
        Format::Auto => Err(LoadError::Unrecognised),
        Format::BzImage => bzimage::load(image, &mut place, rsdp, mem),
        Format::Elf64 => elf64::load(image, &mut place, rsdp, mem),
        Format::Multiboot | Format::Pvh => Err(LoadError::Unrecognised),
        Format::Flat { load, start } => flat::load(image, load, start, &mut place, rsdp, mem),
    }
}
