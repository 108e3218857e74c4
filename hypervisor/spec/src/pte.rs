//! Entries of the processor's own paging structures (SDM vol. 3, "Paging").

use bitflags::bitflags;

bitflags! {
    /// An entry of PAE, 4-level or 5-level paging, of any level; 32-bit paging has the low twelve bits in common.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Pte: u64 {
        /// The entry counts
        const PRESENT = 1 << 0;
        /// Writes are allowed
        const WRITE = 1 << 1;
        /// User-mode accesses are allowed
        const USER = 1 << 2;
        /// Page-level write-through: bit 0 of the PAT index
        const WRITE_THROUGH = 1 << 3;
        /// Page-level cache disable: bit 1 of the PAT index
        const CACHE_DISABLE = 1 << 4;
        /// Accessed
        const ACCESSED = 1 << 5;
        /// Dirty, in an entry that maps a page
        const DIRTY = 1 << 6;
        /// The entry maps a page, at level 2 and above; at level 1 this bit is bit 2 of the PAT index
        const PAGE = 1 << 7;
        /// The translation outlives a load of CR3
        const GLOBAL = 1 << 8;
        /// Frame of the table or page; bits from the physical-address width on are reserved
        const FRAME = 0x000f_ffff_ffff_f000;
        /// Fetches are not allowed (with IA32_EFER.NXE; reserved without)
        const NO_EXECUTE = 1 << 63;
    }

    /// The error code of a page fault (SDM vol. 3, "Page-Fault Exceptions").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct PageFaultCode: u32 {
        /// The entry was present: rights or a reserved bit are the cause
        const PROTECTION = 1 << 0;
        /// A write
        const WRITE = 1 << 1;
        /// A user-mode access
        const USER = 1 << 2;
        /// A reserved bit is set in an entry
        const RESERVED = 1 << 3;
        /// An instruction fetch
        const FETCH = 1 << 4;
        /// Protection keys are the cause
        const KEY = 1 << 5;
    }
}
