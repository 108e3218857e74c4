//! Extended page tables (SDM vol. 3, "The Extended Page Table Mechanism (EPT)").

use crate::{Hpa, memory_type::MemoryType};
use bitflags::bitflags;

bitflags! {
    /// An EPT entry of any level (SDM vol. 3, "EPT Translation Mechanism", tables of the formats).
    ///
    /// An entry whose three low bits are zero is not present, whatever its other bits say.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct EptEntry: u64 {
        /// Reads are allowed
        const READ = 1 << 0;
        /// Writes are allowed; without `READ` this is an EPT misconfiguration
        const WRITE = 1 << 1;
        /// Instruction fetches are allowed (from supervisor-mode addresses alone, with mode-based execute control)
        const EXECUTE = 1 << 2;
        /// Memory type of a page
        const MEMORY_TYPE = 7 << 3;
        /// The guest's PAT is ignored: the memory type above is the effective one
        const IGNORE_PAT = 1 << 6;
        /// The entry maps a page; at level 1 ignored
        const PAGE = 1 << 7;
        /// Accessed, where the EPTP enables it
        const ACCESSED = 1 << 8;
        /// Dirty, where the EPTP enables it
        const DIRTY = 1 << 9;
        /// Fetches from user-mode addresses are allowed, with mode-based execute control
        const EXECUTE_USER = 1 << 10;
        /// Frame of the table or page; bits from the physical-address width on are reserved
        const FRAME = 0x000f_ffff_ffff_f000;
        /// An EPT violation here is not turned into a virtualization exception
        const SUPPRESS_VE = 1 << 63;
    }
}

impl EptEntry {
    /// Where the memory type begins.
    pub const MEMORY_TYPE_SHIFT: u32 = 3;
    /// Any of them makes the entry present.
    pub const PRESENT: Self = Self::READ.union(Self::WRITE).union(Self::EXECUTE);
}

/// An EPT pointer (SDM vol. 3, "Extended-Page-Table Pointer (EPTP)").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct Eptp(u64);

impl Eptp {
    /// Page-walk length less one, in bits 5:3: four levels.
    const FOUR_LEVELS: u64 = 3 << 3;
    /// Enables accessed and dirty flags.
    const ACCESSED_DIRTY: u64 = 1 << 6;

    /// The pointer to four-level tables at `root` (a frame), which the processor itself reads as `cache` says;
    /// with `accessed_dirty` it sets those flags, and treats its reads of guest page tables as writes.
    #[must_use]
    pub const fn new(root: Hpa, cache: MemoryType, accessed_dirty: bool) -> Self {
        let flags = if accessed_dirty {
            Self::ACCESSED_DIRTY
        } else {
            0
        };
        Self((root.0 & EptEntry::FRAME.bits()) | Self::FOUR_LEVELS | flags | cache as u64)
    }

    /// The value of the VMCS field.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

/// The type of an INVEPT (SDM vol. 3, "INVEPT: Invalidate Translations Derived from EPT").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u64)]
pub enum InveptType {
    /// Mappings of one EPTP, bits 51:12 of it
    SingleContext = 1,
    /// All
    AllContexts = 2,
}

/// The memory operand of INVEPT.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(C, align(16))]
pub struct InveptDescriptor {
    /// Whose mappings, for [`InveptType::SingleContext`]
    pub eptp: Eptp,
    /// Must be zero
    pub reserved: u64,
}

const _: () = {
    assert!(size_of::<InveptDescriptor>() == 16);
    assert!(core::mem::offset_of!(InveptDescriptor, eptp) == 0);
    assert!(core::mem::offset_of!(InveptDescriptor, reserved) == 8);
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_eptp_is_laid_out_as_the_manual_says() {
        let root = Hpa(0x1234_5000);
        let plain = Eptp::new(root, MemoryType::WriteBack, false);
        assert_eq!(plain.bits(), 0x1234_501e);
        assert_eq!(
            Eptp::new(root, MemoryType::Uncacheable, true).bits(),
            0x1234_5058
        );
    }
}
