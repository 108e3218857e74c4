//! Puts a guest kernel into guest memory and says how its first vCPU starts.
//!
//! Five kinds of file: a Linux bzImage, entered by the 64-bit boot protocol; an ELF executable with Xen's PVH note; a Multiboot
//! kernel; an ELF64 executable; bytes for one address. Interrupts are off at each start, and there is no stack. A GDT is loaded
//! that has flat 32-bit code at selector 0x08, 64-bit code at 0x10 and data at 0x18.
//!
//! PVH and Multiboot say themselves what their kernels find. The rest, but for a flat binary in real mode, is entered the same
//! way, which is the Linux 64-bit one (`Documentation/arch/x86/boot.rst`, "64-bit Boot Protocol"): RSI holds the address of a
//! zero page that tells of memory map, command line, initial RAM disk and ACPI tables; in 64-bit mode the first 4 GiB are mapped
//! one to one. What is put beside the kernel for it to read lies in low RAM that the map shows as usable: the guest copies what it
//! wants to keep before it uses that memory otherwise.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

extern crate alloc;

mod bzimage;
mod elf64;
mod error;
mod executable;
mod flat;
mod handoff;
mod multiboot;
mod place;
mod pvh;
mod start;

pub use error::LoadError;
pub use spec::kernel::{Format, Start};

use executable::Executable;
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
    /// Files for a Multiboot kernel, in order
    pub modules: &'a [Module<'a>],
}

/// A file that a Multiboot kernel finds in memory.
#[derive(Clone, Copy, Debug)]
pub struct Module<'a> {
    /// The file
    pub bytes: &'a [u8],
    /// Its command line, without a NUL
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
    let format = match image.format {
        Format::Auto => recognise(image.kernel)?,
        named => named,
    };
    if format == Format::Multiboot && image.initrd.is_some() {
        return Err(LoadError::MultibootInitrd);
    }
    if format != Format::Multiboot && !image.modules.is_empty() {
        return Err(LoadError::NoModules);
    }
    let mut place = Placer::new(map);
    match format {
        Format::Auto => Err(LoadError::Unrecognised),
        Format::BzImage => bzimage::load(image, &mut place, rsdp, mem),
        Format::Elf64 => elf64::load(image, &mut place, rsdp, mem),
        Format::Multiboot => multiboot::load(image, &mut place, mem),
        Format::Pvh => pvh::load(image, &mut place, rsdp, mem),
        Format::Flat { load, start } => flat::load(image, load, start, &mut place, rsdp, mem),
    }
}

/// The kind of a file, never [`Format::Auto`].
fn recognise(file: &[u8]) -> Result<Format, LoadError> {
    if bzimage::is_bzimage(file) {
        return Ok(Format::BzImage);
    }
    let multiboot = multiboot::has_header(file);
    if executable::is_elf(file) {
        let note = Executable::parse(file).and_then(|file| pvh::entry(&file));
        return match note {
            Ok(Some(_)) => Ok(Format::Pvh),
            // By its address fields it may go where its ELF headers do not.
            _ if multiboot => Ok(Format::Multiboot),
            Ok(None) => Ok(Format::Elf64),
            Err(error) => Err(error),
        };
    }
    match multiboot {
        true => Ok(Format::Multiboot),
        false => Err(LoadError::Unrecognised),
    }
}
