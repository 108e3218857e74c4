//! The walk through the guest's own page tables (SDM vol. 3, "Paging").
//!
//! Known differences from a processor: PAE's four page-directory-pointer entries are read from memory and not
//! from the registers that a load of CR3 filled; protection keys are not asked (the processor asked them before it
//! reported the access).
#![expect(
    clippy::arithmetic_side_effects,
    reason = "shifts of 12 to 48 bits, and parts of entries that do not overlap"
)]

mod mark;

use mark::Step;
use seam::GuestMem;
use spec::cpu::{Cr0, Cr4, Efer, Rflags};
use spec::pte::{PageFaultCode, Pte};
use spec::state::CpuState;
use spec::{Gpa, Gva};

/// What an access wants to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Intent {
    /// Read data
    Read,
    /// Write data, or read and then write it
    Write,
    /// Fetch an instruction
    Fetch,
}

/// A translation that the processor has made for an access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Translation {
    /// What it translated
    pub linear: Gva,
    /// To what
    pub gpa: Gpa,
    /// For which access it checked the rights
    pub intent: Intent,
}

impl Translation {
    /// Whether it holds for an access to `linear` as well: who may write may read.
    pub(crate) fn allows(&self, linear: Gva, intent: Intent) -> bool {
        let covers =
            self.intent == intent || (self.intent, intent) == (Intent::Write, Intent::Read);
        self.linear == linear && covers
    }
}

/// Why a linear address was not translated.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WalkError {
    /// A page fault
    Fault {
        /// Its error code
        code: PageFaultCode,
        /// The linear address
        address: Gva,
    },
    /// A table lies outside the guest's RAM, here
    Outside(Gpa),
    /// Entries changed under us time and again
    Busy,
}

/// Translates a linear address, and sets accessed and dirty flags as the processor does.
///
/// The address is canonical in IA-32e mode, and below 4 GiB outside it.
///
/// # Errors
/// See [`WalkError`].
pub fn walk(
    mem: &impl GuestMem,
    cpu: &CpuState,
    linear: Gva,
    intent: Intent,
) -> Result<Gpa, WalkError> {
    if cpu.cr0 & Cr0::PG.bits() == 0 {
        return Ok(Gpa(linear.0));
    }
    if cpu.cr4 & Cr4::PAE.bits() == 0 {
        Walker::<_, BITS32>::walk(mem, cpu, linear, intent)
    } else if cpu.efer & Efer::LMA.bits() == 0 {
        Walker::<_, PAE>::walk(mem, cpu, linear, intent)
    } else if cpu.cr4 & Cr4::LA57.bits() == 0 {
        Walker::<_, LEVEL4>::walk(mem, cpu, linear, intent)
    } else {
        Walker::<_, LEVEL5>::walk(mem, cpu, linear, intent)
    }
}

// The paging modes, each named by the lowest bit of the linear address that is part of the index into its first
// table. PAE's page-directory pointers come before that table.
const BITS32: u32 = 22;
const PAE: u32 = 21;
const LEVEL4: u32 = 39;
const LEVEL5: u32 = 48;

/// The lowest bit of the index into the last table.
const PAGE_SHIFT: u32 = 12;

struct Walker<'a, M, const MODE: u32> {
    mem: &'a M,
    cpu: &'a CpuState,
    linear: Gva,
    intent: Intent,
}

impl<'a, M: GuestMem, const MODE: u32> Walker<'a, M, MODE> {
    const INDEX_BITS: u32 = if MODE == BITS32 { 10 } else { 9 };
    const ENTRY_SIZE: u64 = if MODE == BITS32 { 4 } else { 8 };

    fn walk(mem: &'a M, cpu: &'a CpuState, linear: Gva, intent: Intent) -> Result<Gpa, WalkError> {
        let walker = Self {
            mem,
            cpu,
            linear,
            intent,
        };
        let (gpa, is_marked) = walker.follow(|_| {})?;
        if is_marked {
            return Ok(gpa);
        }
        walker.follow_and_mark()
    }

    fn is_user(&self) -> bool {
        self.cpu.cpl() == 3
    }

    fn has(&self, flag: Cr4) -> bool {
        self.cpu.cr4 & flag.bits() != 0
    }

    fn no_execute(&self) -> bool {
        MODE != BITS32 && self.cpu.efer & Efer::NXE.bits() != 0
    }

    #[cold]
    fn fault(&self, cause: PageFaultCode) -> WalkError {
        let mut code = cause;
        code.set(PageFaultCode::WRITE, self.intent == Intent::Write);
        code.set(PageFaultCode::USER, self.is_user());
        code.set(
            PageFaultCode::FETCH,
            self.intent == Intent::Fetch && (self.no_execute() || self.has(Cr4::SMEP)),
        );
        WalkError::Fault {
            code,
            address: self.linear,
        }
    }

    /// The entry at `at`; one of four bytes is read with its neighbour. It is present.
    #[inline(always)]
    fn entry(&self, at: Gpa) -> Result<u64, WalkError> {
        let outside = |_| WalkError::Outside(at);
        let entry = if Self::ENTRY_SIZE == 8 {
            self.mem.read_u64(at).map_err(outside)?
        } else {
            let word = self.mem.read_u64(at.align_down(8)).map_err(outside)?;
            (word >> (8 * (at.0 & 4))) & 0xffff_ffff
        };
        if entry & Pte::PRESENT.bits() == 0 {
            return Err(self.fault(PageFaultCode::empty()));
        }
        Ok(entry)
    }

    /// One walk, with each entry told to `pass`: where it leads, and whether all flags that it sets are set.
    #[inline(always)]
    fn follow(&self, mut pass: impl FnMut(Step)) -> Result<(Gpa, bool), WalkError> {
        let mut table = match MODE {
            BITS32 => self.cpu.cr3 & 0xffff_f000,
            PAE => self.pointed()?,
            _ => self.cpu.cr3 & Pte::FRAME.bits(),
        };
        let mut shift = MODE;
        let reserved = self.reserved();
        let (mut common, mut any) = (Pte::all(), Pte::empty());
        for _ in 0..5 {
            let index = (self.linear.0 >> shift) & ((1 << Self::INDEX_BITS) - 1);
            let at = Gpa(table | (index * Self::ENTRY_SIZE));
            let bits = self.entry(at)?;
            pass(Step { at, entry: bits });
            let entry = Pte::from_bits_retain(bits);
            common &= entry;
            any |= entry;
            let is_leaf =
                shift == PAGE_SHIFT || (entry.contains(Pte::PAGE) && self.maps_large(shift));
            let hole = if is_leaf {
                self.hole(shift)
            } else if shift > 30 {
                // No entry of these levels maps a page.
                Pte::PAGE.bits()
            } else {
                0
            };
            if bits & (reserved | hole) != 0 {
                return Err(self.fault(PageFaultCode::PROTECTION | PageFaultCode::RESERVED));
            }
            if is_leaf {
                if !self.allowed(common, any) {
                    return Err(self.fault(PageFaultCode::PROTECTION));
                }
                let is_marked = common.contains(Pte::ACCESSED)
                    && (self.intent != Intent::Write || entry.contains(Pte::DIRTY));
                return Ok((self.translated(bits, shift), is_marked));
            }
            table = bits & Pte::FRAME.bits();
            shift -= Self::INDEX_BITS;
        }
        // Each mode ends at its last table, after five at most.
        Err(WalkError::Busy)
    }

    /// The page directory that PAE's page-directory-pointer entry names. It has no flags but PRESENT.
    fn pointed(&self) -> Result<u64, WalkError> {
        let at = Gpa((self.cpu.cr3 & 0xffff_ffe0) + ((self.linear.0 >> 30) & 3) * 8);
        let entry = self.entry(at)?;
        if entry & (0x1e6 | u64::MAX << 52 | self.beyond()) != 0 {
            return Err(self.fault(PageFaultCode::PROTECTION | PageFaultCode::RESERVED));
        }
        Ok(entry & Pte::FRAME.bits())
    }

    /// Whether bit 7 of an entry means a page: in the last table but one, in IA-32e mode also in that above.
    fn maps_large(&self, shift: u32) -> bool {
        match MODE {
            BITS32 => self.has(Cr4::PSE),
            PAE => shift == PAE,
            _ => shift <= 30,
        }
    }

    /// The bits of a frame that lie beyond physical addresses.
    fn beyond(&self) -> u64 {
        Pte::FRAME.bits()
            & u64::MAX
                .checked_shl(self.cpu.physical_bits.into())
                .unwrap_or(0)
    }

    /// The bits that are reserved in every entry.
    fn reserved(&self) -> u64 {
        let high = match MODE {
            BITS32 => return 0,
            PAE => 0x7ff << 52 | self.beyond(),
            _ => self.beyond(),
        };
        if self.no_execute() {
            high
        } else {
            high | Pte::NO_EXECUTE.bits()
        }
    }

    /// The bits that are reserved in an entry that maps a page of `1 << shift` bytes: those between the PAT bit, 12,
    /// and the frame. Of a 4 MiB page bit 21, and those of bits 20:13 that lie beyond: they are bits 39:32 of the address (PSE-36).
    fn hole(&self, shift: u32) -> u64 {
        match (MODE, shift) {
            (_, PAGE_SHIFT) => 0,
            (BITS32, _) => (1 << 22) - (1 << (self.cpu.physical_bits.clamp(32, 40) - 19)),
            _ => (1 << shift) - (1 << 13),
        }
    }

    /// Whether the rights suffice: `common` has what all entries have, `any` what one has.
    fn allowed(&self, common: Pte, any: Pte) -> bool {
        let is_user_page = common.contains(Pte::USER);
        let mode = if self.is_user() {
            is_user_page
        } else {
            !is_user_page || !self.is_prevented()
        };
        mode && match self.intent {
            Intent::Read => true,
            Intent::Write => {
                let is_checked = self.is_user() || self.cpu.cr0 & Cr0::WP.bits() != 0;
                common.contains(Pte::WRITE) || !is_checked
            }
            Intent::Fetch => !(self.no_execute() && any.contains(Pte::NO_EXECUTE)),
        }
    }

    /// Whether SMEP or SMAP keeps a supervisor from a user page.
    fn is_prevented(&self) -> bool {
        match self.intent {
            Intent::Fetch => self.has(Cr4::SMEP),
            _ => self.has(Cr4::SMAP) && self.cpu.rflags & Rflags::AC.bits() == 0,
        }
    }

    /// The address that the entry of a page of `1 << shift` bytes gives.
    fn translated(&self, entry: u64, shift: u32) -> Gpa {
        let inside = (1 << shift) - 1;
        let frame = if MODE == BITS32 && shift != PAGE_SHIFT {
            (entry & 0xffc0_0000) | ((entry & 0x001f_e000) << 19)
        } else {
            entry & Pte::FRAME.bits() & !inside
        };
        Gpa(frame | (self.linear.0 & inside))
    }
}
