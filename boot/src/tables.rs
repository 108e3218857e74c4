//! The way from ACPI's root pointer to one of its tables (ACPI 6.5, section 5.2).
//!
//! The crate `acpi` needs a nightly compiler from version 6 on, and believes the lengths that it finds; here all
//! is read from copies of memory that is there.

use alloc::vec::Vec;
use core::fmt;
use spec::Hpa;

/// The root pointer (ACPI 6.5, table 5.3).
mod rsdp {
    pub(super) const SIGNATURE: &[u8; 8] = b"RSD PTR ";
    /// Its own length, 4 bytes
    pub(super) const LENGTH: usize = 20;
    /// Address of the list of tables, 8 bytes
    pub(super) const XSDT: usize = 24;
    /// Bytes of it
    pub(super) const SIZE: usize = 36;
}

/// What each table begins with (ACPI 6.5, table 5.4).
pub(crate) mod header {
    /// Length of the table, 4 bytes
    pub(super) const LENGTH: usize = 4;
    /// Bytes of it
    pub(crate) const SIZE: usize = 36;
}

/// What a table is called in its first bytes.
pub type Signature = [u8; 4];

/// The list of tables.
const XSDT: Signature = *b"XSDT";

/// Longest table that is looked at: the largest known list of processors takes a tenth.
const MAX_TABLE: u32 = 1 << 20;

/// What is wrong with a table.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Broken {
    /// It is not in memory
    Nowhere(&'static str, Hpa),
    /// It does not begin as it should
    Signature(&'static str),
    /// Its length cannot be
    Length(&'static str),
    /// Its bytes do not add up to zero
    Checksum(&'static str),
    /// The MADT's entry at this offset is cut off or too short
    Entry(usize),
    /// The MADT does not list the processor that runs
    BootProcessor(u32),
}

impl fmt::Display for Broken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nowhere(what, at) => {
                write!(f, "{what} should be at {:#x}, which is not memory", at.0)
            }
            Self::Signature(what) => write!(f, "{what} does not begin with its signature"),
            Self::Length(what) => write!(f, "{what} has an impossible length"),
            Self::Checksum(what) => write!(f, "{what} has a wrong checksum"),
            Self::Entry(at) => write!(f, "MADT has a malformed entry at offset {at}"),
            Self::BootProcessor(id) => write!(f, "MADT does not list cpu {id}, which runs this"),
        }
    }
}

/// The first table with a signature; `None` if there is none. `copy` gives bytes of physical memory, where there
/// is memory.
///
/// # Errors
/// What is wrong with the root pointer, the list of tables, or the table.
pub fn find(
    root: Hpa,
    signature: Signature,
    copy: impl Fn(Hpa, usize) -> Option<Vec<u8>>,
) -> Result<Option<Vec<u8>>, Broken> {
    let root_pointer = copy(root, rsdp::SIZE).ok_or(Broken::Nowhere("RSDP", root))?;
    if !root_pointer.starts_with(rsdp::SIGNATURE) {
        return Err(Broken::Signature("RSDP"));
    }
    // Firmware that has the configuration table of ACPI 2.0 has this revision, and these fields.
    if u32_at(&root_pointer, rsdp::LENGTH) != Some(rsdp::SIZE as u32) {
        return Err(Broken::Length("RSDP"));
    }
    if !adds_up(&root_pointer) {
        return Err(Broken::Checksum("RSDP"));
    }
    let list = u64_at(&root_pointer, rsdp::XSDT).map_or(Hpa(0), Hpa);
    let list = table("XSDT", list, XSDT, &copy)?;
    let (addresses, _) = list.get(header::SIZE..).unwrap_or(&[]).as_chunks();
    let found = addresses
        .iter()
        .map(|address| Hpa(u64::from_le_bytes(*address)))
        .find(|at| copy(*at, 4).is_some_and(|head| head == signature));
    // Only the MADT is ever asked for.
    found
        .map(|at| table("MADT", at, signature, &copy))
        .transpose()
}

/// A whole table, its form checked as far as all have the same.
fn table(
    what: &'static str,
    at: Hpa,
    signature: Signature,
    copy: impl Fn(Hpa, usize) -> Option<Vec<u8>>,
) -> Result<Vec<u8>, Broken> {
    let header = copy(at, header::SIZE).ok_or(Broken::Nowhere(what, at))?;
    if !header.starts_with(&signature) {
        return Err(Broken::Signature(what));
    }
    let len = u32_at(&header, header::LENGTH)
        .filter(|len| (header.len() as u32..=MAX_TABLE).contains(len))
        .ok_or(Broken::Length(what))?;
    let table = copy(at, len as usize).ok_or(Broken::Nowhere(what, at))?;
    if !adds_up(&table) {
        return Err(Broken::Checksum(what));
    }
    Ok(table)
}

fn adds_up(bytes: &[u8]) -> bool {
    bytes.iter().copied().fold(0, u8::wrapping_add) == 0
}

/// The number at an offset, if it lies inside.
pub(crate) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    let number = bytes.get(at..)?.first_chunk()?;
    Some(u32::from_le_bytes(*number))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    let number = bytes.get(at..)?.first_chunk()?;
    Some(u64::from_le_bytes(*number))
}

#[cfg(test)]
pub(crate) mod tests;
