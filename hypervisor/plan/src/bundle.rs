//! The bundle: what `boot` puts into the hypervisor's ramdisk.
//!
//! ```text
//! 0   8 bytes   magic "BULKHEAD"
//! 8   4 bytes   version of this layout, little endian
//! 12  4 bytes   length of the header, little endian
//! 16            header: postcard of [`Handover`]
//!               each file, from a 4 KiB boundary, at the offset that the header gives
//! ```

mod processors;

pub use processors::{Core, CoreSource, IoApic, IsaOverride, guest_cores};

use crate::Plan;
use alloc::string::String;
use alloc::vec::Vec;
use core::fmt;
use core::ops::Range;
use serde::{Deserialize, Serialize};
use spec::{Hpa, Hz, PAGE_SIZE, Ticks};

/// First bytes of a bundle.
pub const MAGIC: [u8; 8] = *b"BULKHEAD";
/// Version of the layout.
pub const VERSION: u32 = 6;

/// Bytes before the header.
const PREFIX: usize = 16;

/// What `boot` learnt and the hypervisor cannot ask any more once boot services are gone.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct Handover {
    /// What to run
    pub plan: Plan,
    /// The files that the plan names, each once
    pub files: Vec<FileSpan>,
    /// Frequency of the TSC, measured against the firmware's Stall
    pub tsc: Hz,
    /// Wall clock of the firmware
    pub clock: WallClock,
    /// All logical processors, the boot processor first; at least that one
    pub cores: Vec<Core>,
    /// Where `cores` come from
    pub cores_from: CoreSource,
    /// The machine's I/O APICs; none where there is no MADT
    pub io_apics: Vec<IoApic>,
    /// Where the MADT says that ISA interrupts are wired otherwise than one to one
    pub isa_overrides: Vec<IsaOverride>,
    /// Physical address of the firmware's ResetSystem (UEFI 2.10, section 8.5.1), callable with runtime
    /// memory mapped one to one
    pub reset_system: Hpa,
    /// Memory that the firmware keeps for its runtime services: mapped only while they are called
    pub runtime_memory: Vec<MemorySpan>,
}

/// Where one file lies in the bundle.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct FileSpan {
    /// Its path as the plan names it
    pub path: String,
    /// From the start of the bundle, a multiple of 4096
    pub offset: u64,
    /// In bytes
    pub len: u64,
}

/// A range of host-physical memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct MemorySpan {
    /// First byte, a multiple of 4096
    pub start: Hpa,
    /// In bytes, a multiple of 4096
    pub len: u64,
}

/// The firmware's clock at one moment.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct WallClock {
    /// Seconds since 1970-01-01T00:00:00Z; zero if the firmware has no clock
    pub unix_seconds: u64,
    /// The TSC when it read so
    pub at: Ticks,
}

/// Why a bundle cannot be made, or is none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum BundleError {
    /// It would be larger than the address space
    TooLarge,
    /// The memory for it is smaller than what was laid out, or what was laid out has changed since
    Layout,
    /// It does not begin as a bundle does
    Magic,
    /// It has another version of the layout
    Version(u32),
    /// The header is cut off or does not parse
    Header,
    /// The file with this number is not where one can be, or has the path of an earlier one
    File(usize),
    /// The virtual machine with this number needs a file that is not there
    Missing(usize),
}

impl fmt::Display for BundleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::TooLarge => f.write_str("bundle: the files are too large"),
            Self::Layout => f.write_str("bundle: the memory for it is too small"),
            Self::Magic => f.write_str("bundle: wrong magic"),
            Self::Version(got) => write!(f, "bundle: version {got}, not {VERSION}"),
            Self::Header => f.write_str("bundle: malformed header"),
            Self::File(i) => write!(f, "bundle: file {i} has an impossible place or path"),
            Self::Missing(i) => write!(f, "bundle: a file of virtual machine {i} is missing"),
        }
    }
}

impl core::error::Error for BundleError {}

impl Plan {
    /// The paths of all files that the plan names, each once.
    #[must_use]
    pub fn files(&self) -> Vec<&str> {
        let mut paths: Vec<&str> = Vec::new();
        for path in self.vms.iter().flat_map(crate::Vm::files) {
            if !paths.contains(&path) {
                paths.push(path);
            }
        }
        paths
    }
}

impl crate::Vm {
    fn files(&self) -> impl Iterator<Item = &str> {
        let modules = self.modules.iter().map(|module| module.path.as_str());
        core::iter::once(self.kernel.as_str())
            .chain(self.initrd.as_deref())
            .chain(modules)
    }
}

impl Handover {
    /// Gives each file, of a path and a length, its place behind the header, and returns the length of the whole
    /// bundle. All else in `self` must be in place, since the header's length depends on it.
    ///
    /// # Errors
    /// [`BundleError::TooLarge`].
    pub fn lay_out(
        &mut self,
        files: impl IntoIterator<Item = (String, u64)>,
    ) -> Result<u64, BundleError> {
        // No offset takes more room in the header than this one.
        let placed = |(path, len)| FileSpan {
            path,
            offset: u64::MAX,
            len,
        };
        self.files = files.into_iter().map(placed).collect();
        let header = postcard::to_allocvec(self).map_err(|_| BundleError::Header)?;
        let mut end = (PREFIX as u64).checked_add(header.len() as u64);
        for file in &mut self.files {
            file.offset = end
                .and_then(|end| end.checked_next_multiple_of(PAGE_SIZE))
                .ok_or(BundleError::TooLarge)?;
            end = file.offset.checked_add(file.len);
        }
        end.filter(|end| usize::try_from(*end).is_ok())
            .ok_or(BundleError::TooLarge)
    }

    /// Writes the header into `bundle`, into which the files have been or will be put where
    /// [`Handover::lay_out`] wants them.
    ///
    /// # Errors
    /// [`BundleError::Layout`].
    pub fn seal(&self, bundle: &mut [u8]) -> Result<(), BundleError> {
        let start = self.files.iter().map(|f| f.offset).min();
        let room = match start {
            Some(first) => usize::try_from(first).map_err(|_| BundleError::Layout)?,
            None => bundle.len(),
        };
        let head = bundle.get_mut(..room).ok_or(BundleError::Layout)?;
        let (prefix, rest) = head
            .split_at_mut_checked(PREFIX)
            .ok_or(BundleError::Layout)?;
        let header = postcard::to_slice(self, rest).map_err(|_| BundleError::Layout)?;
        let len = u32::try_from(header.len()).map_err(|_| BundleError::Layout)?;
        let words = [VERSION.to_le_bytes(), len.to_le_bytes()];
        let start = MAGIC.iter().chain(words.as_flattened());
        prefix
            .iter_mut()
            .zip(start)
            .for_each(|(to, from)| *to = *from);
        Ok(())
    }
}

impl Handover {
    /// The processors that the plan's core numbers mean, in order.
    #[must_use]
    pub fn guest_cores(&self) -> Vec<&Core> {
        guest_cores(&self.cores, self.plan.smt)
    }
}

impl FileSpan {
    /// Where the file lies in a bundle of `len` bytes; `None` if it does not.
    #[must_use]
    pub fn range(&self, len: usize) -> Option<Range<usize>> {
        let start = usize::try_from(self.offset).ok()?;
        let end = start.checked_add(usize::try_from(self.len).ok()?)?;
        (self.offset.is_multiple_of(PAGE_SIZE) && end <= len).then_some(start..end)
    }
}

/// A bundle, opened: every file lies inside it, and what the plan names is there.
#[derive(Clone, Debug)]
pub struct Bundle<'b> {
    handover: Handover,
    bytes: &'b [u8],
}

impl<'b> Bundle<'b> {
    /// Opens a bundle.
    ///
    /// # Errors
    /// Every [`BundleError`] but those of making one.
    pub fn open(bytes: &'b [u8]) -> Result<Self, BundleError> {
        let (magic, rest) = bytes.split_first_chunk().ok_or(BundleError::Magic)?;
        if *magic != MAGIC {
            return Err(BundleError::Magic);
        }
        let (version, rest) = rest.split_first_chunk().ok_or(BundleError::Header)?;
        let version = u32::from_le_bytes(*version);
        if version != VERSION {
            return Err(BundleError::Version(version));
        }
        let (len, rest) = rest.split_first_chunk().ok_or(BundleError::Header)?;
        let header = usize::try_from(u32::from_le_bytes(*len))
            .ok()
            .and_then(|len| rest.get(..len))
            .ok_or(BundleError::Header)?;
        let (handover, rest) =
            postcard::take_from_bytes::<Handover>(header).map_err(|_| BundleError::Header)?;
        if !rest.is_empty() || handover.cores.is_empty() {
            return Err(BundleError::Header);
        }
        for (i, file) in handover.files.iter().enumerate() {
            let place = file.range(bytes.len()).ok_or(BundleError::File(i))?;
            let mut before = handover.files.iter().take(i);
            let known = before.any(|f| f.path == file.path);
            if known || place.start < PREFIX.saturating_add(header.len()) {
                return Err(BundleError::File(i));
            }
        }
        let bundle = Self { handover, bytes };
        for (i, vm) in bundle.handover.plan.vms.iter().enumerate() {
            if vm.files().any(|path| bundle.file(path).is_none()) {
                return Err(BundleError::Missing(i));
            }
        }
        Ok(bundle)
    }

    /// What was handed over.
    #[must_use]
    pub fn handover(&self) -> &Handover {
        &self.handover
    }

    /// The content of a file, by the path that the plan gives.
    #[must_use]
    pub fn file(&self, path: &str) -> Option<&'b [u8]> {
        let file = self.handover.files.iter().find(|f| f.path == path)?;
        self.bytes.get(file.range(self.bytes.len())?)
    }

    /// The same bytes for as long as the bundle is there, if `part` is a part of it.
    #[must_use]
    pub fn lasting(&self, part: &[u8]) -> Option<&'b [u8]> {
        let from = (part.as_ptr() as usize).checked_sub(self.bytes.as_ptr() as usize)?;
        self.bytes.get(from..from.checked_add(part.len())?)
    }
}

#[cfg(test)]
mod tests;
