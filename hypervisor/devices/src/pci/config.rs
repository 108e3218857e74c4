//! Configuration space of one function.

use seam::AccessError;
use spec::Width;
use spec::pci::{COMPATIBLE_SIZE, register};

const WORDS: usize = COMPATIBLE_SIZE as usize / 4;

/// The registers of one function, each bit of them fixed or free to write. Header type 0.
///
/// Extended configuration space, from 0x100 on, reads as zero: the function has no extended capability (PCIe 5.0,
/// section 7.6, "PCI Express Extended Capabilities").
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ConfigSpace {
    values: [u32; WORDS],
    writable: [u32; WORDS],
}

impl ConfigSpace {
    /// A function with these registers of identity, and nothing else: `id` is device and vendor, `class` the class code of
    /// 24 bits, `subsystem` its own vendor and device, zero if it has none.
    #[must_use]
    pub const fn new(id: u32, class: u32, subsystem: u32) -> Self {
        let mut space = Self {
            values: [0; WORDS],
            writable: [0; WORDS],
        };
        space.define(register::ID, id, 0);
        space.define(register::CLASS, class << 8, 0);
        // Written by operating systems and used by nothing: PCIe 5.0, section 7.5.1.1.7, "Cache Line Size Register".
        space.define(register::CACHE_LINE, 0, 0xff);
        space.define(register::SUBSYSTEM, subsystem, 0);
        space
    }

    /// Makes the double word at `at` hold `value`, of which the guest can change the bits in `writable`: a base address
    /// register is one whose low bits are not. Beyond the first 256 bytes nothing can be defined.
    #[expect(clippy::indexing_slicing, reason = "held against the length")]
    pub const fn define(&mut self, at: u16, value: u32, writable: u32) {
        let i = at as usize / 4;
        if i < WORDS {
            self.values[i] = value;
            self.writable[i] = writable;
        }
    }

    /// Reads `width` at the register `at`.
    ///
    /// # Errors
    /// [`AccessError::Width`] unless the access lies within one double word.
    pub fn read(&self, at: u16, width: Width) -> Result<u64, AccessError> {
        let shift = shift(at, width)?;
        let word = self.values.get(usize::from(at / 4)).copied().unwrap_or(0);
        Ok(u64::from(word >> shift) & width.ones())
    }

    /// Writes `width` at the register `at`. Bits that are read-only keep their value.
    ///
    /// # Errors
    /// As for [`ConfigSpace::read`]; nothing was written.
    pub fn write(&mut self, at: u16, width: Width, value: u64) -> Result<(), AccessError> {
        let shift = shift(at, width)?;
        let i = usize::from(at / 4);
        if let (Some(word), Some(writable)) = (self.values.get_mut(i), self.writable.get(i)) {
            let mask = (width.ones() << shift) as u32 & writable;
            *word = *word & !mask | (value << shift) as u32 & mask;
        }
        Ok(())
    }
}

/// How far up in its double word an access begins, in bits.
fn shift(at: u16, width: Width) -> Result<u32, AccessError> {
    let first = at % 4;
    if u64::from(first).saturating_add(width.bytes()) > 4 {
        return Err(AccessError::Width);
    }
    Ok(8 * u32::from(first))
}
