//! The walk through the guest's own page tables (SDM vol. 3, "Paging").
//!
//! Known differences from a processor: PAE's four page-directory-pointer entries are read from memory and not
//! from the registers that a load of CR3 filled; address bits past the physical-address width are not taken
//! for reserved but lead outside memory; protection keys are not asked (the processor asked them before it
//! reported the access).

use seam::{AccessError, GuestMem};
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

/// How often a walk starts over because an entry changed before its accessed or dirty flag was set.
const ATTEMPTS: u32 = 16;

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
    let walker = Walker::new(mem, cpu, linear, intent);
    for _ in 0..ATTEMPTS {
        if let Some(gpa) = walker.attempt()? {
            return Ok(gpa);
        }
    }
    Err(WalkError::Busy)
}

/// The paging modes.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Mode {
    Bits32,
    Pae,
    Level4,
    Level5,
}

/// An entry on the way, with the place where its flags are set.
#[derive(Clone, Copy)]
struct Step {
    at: Gpa,
    entry: u64,
    /// Whether it has an accessed flag: PAE's page-directory-pointer entries have none.
    flags: bool,
}

struct Walker<'a, M> {
    mem: &'a M,
    mode: Mode,
    root: u64,
    linear: Gva,
    intent: Intent,
    user: bool,
    write_protect: bool,
    no_execute: bool,
    page_size_extensions: bool,
    /// Supervisor-mode prevention that applies to this access to a user page: SMEP or SMAP
    prevented: bool,
    smep: bool,
}

impl<'a, M: GuestMem> Walker<'a, M> {
    fn new(mem: &'a M, cpu: &CpuState, linear: Gva, intent: Intent) -> Self {
        let cr4 = Cr4::from_bits_retain(cpu.cr4);
        let mode = if !cr4.contains(Cr4::PAE) {
            Mode::Bits32
        } else if cpu.efer & Efer::LMA.bits() == 0 {
            Mode::Pae
        } else if cr4.contains(Cr4::LA57) {
            Mode::Level5
        } else {
            Mode::Level4
        };
        let user = cpu.cpl() == 3;
        let smep = cr4.contains(Cr4::SMEP);
        let smap = cr4.contains(Cr4::SMAP) && cpu.rflags & Rflags::AC.bits() == 0;
        Self {
            mem,
            mode,
            root: match mode {
                Mode::Bits32 => cpu.cr3 & 0xffff_f000,
                Mode::Pae => cpu.cr3 & 0xffff_ffe0,
                Mode::Level4 | Mode::Level5 => cpu.cr3 & Pte::FRAME.bits(),
            },
            linear,
            intent,
            user,
            write_protect: cpu.cr0 & Cr0::WP.bits() != 0,
            no_execute: mode != Mode::Bits32 && cpu.efer & Efer::NXE.bits() != 0,
            page_size_extensions: cr4.contains(Cr4::PSE),
            prevented: !user && if intent == Intent::Fetch { smep } else { smap },
            smep,
        }
    }

    fn fault(&self, cause: PageFaultCode) -> WalkError {
        let mut code = cause;
        code.set(PageFaultCode::WRITE, self.intent == Intent::Write);
        code.set(PageFaultCode::USER, self.user);
        code.set(
            PageFaultCode::FETCH,
            self.intent == Intent::Fetch && (self.no_execute || self.smep),
        );
        WalkError::Fault {
            code,
            address: self.linear,
        }
    }

    /// The entry `index` of a table: four bytes wide in 32-bit paging, where it is read with its neighbour.
    fn read(&self, table: u64, index: u64) -> Result<Step, WalkError> {
        let size = if self.mode == Mode::Bits32 { 4 } else { 8 };
        let at = Gpa(table + index * size);
        let word = self
            .mem
            .read_u64(at.align_down(8))
            .map_err(|_| WalkError::Outside(at))?;
        let entry = if size == 8 {
            word
        } else {
            (word >> (8 * (at.0 & 4))) & 0xffff_ffff
        };
        Ok(Step {
            at,
            entry,
            flags: true,
        })
    }

    /// Sets flags in an entry; `false` if it is no longer what was read.
    fn mark(&self, step: Step, flags: Pte) -> Result<bool, WalkError> {
        let outside = |_: AccessError| WalkError::Outside(step.at);
        let (old, new) = (step.entry, step.entry | flags.bits());
        if old == new || !step.flags {
            return Ok(true);
        }
        if self.mode != Mode::Bits32 {
            return self
                .mem
                .compare_exchange_u64(step.at, old, new)
                .map_err(outside);
        }
        // The neighbour in the same word may change without harm: take it as it is now.
        let (at, shift) = (step.at.align_down(8), 8 * (step.at.0 & 4));
        let word = self.mem.read_u64(at).map_err(outside)?;
        if (word >> shift) & 0xffff_ffff != old {
            return Ok(false);
        }
        self.mem
            .compare_exchange_u64(at, word, word | (new << shift))
            .map_err(outside)
    }

    /// One walk; `None` if an entry changed meanwhile.
    fn attempt(&self) -> Result<Option<Gpa>, WalkError> {
        let mut steps = [None; 5];
        let (mut user, mut write, mut execute) = (true, true, true);
        let mut table = self.root;
        let (mut level, index_bits) = match self.mode {
            Mode::Bits32 => (2, 10),
            Mode::Pae => (3, 9),
            Mode::Level4 => (4, 9),
            Mode::Level5 => (5, 9),
        };
        for slot in &mut steps {
            let shift = 12 + index_bits * (level - 1);
            let pointer = self.mode == Mode::Pae && level == 3;
            let mask = if pointer { 3 } else { (1 << index_bits) - 1 };
            let mut step = self.read(table, (self.linear.0 >> shift) & mask)?;
            step.flags = !pointer;
            let entry = Pte::from_bits_retain(step.entry);
            if !entry.contains(Pte::PRESENT) {
                return Err(self.fault(PageFaultCode::empty()));
            }
            let leaf = level == 1 || (entry.contains(Pte::PAGE) && self.large(level));
            if self.reserved(entry, level, leaf) {
                return Err(self.fault(PageFaultCode::PROTECTION | PageFaultCode::RESERVED));
            }
            if !pointer {
                user &= entry.contains(Pte::USER);
                write &= entry.contains(Pte::WRITE);
                execute &= !(self.no_execute && entry.contains(Pte::NO_EXECUTE));
            }
            *slot = Some(step);
            if leaf {
                if !self.allowed(user, write, execute) {
                    return Err(self.fault(PageFaultCode::PROTECTION));
                }
                return self.finish(&steps, self.frame(entry, level, shift));
            }
            table = (entry & Pte::FRAME).bits();
            level -= 1;
        }
        // Level 1 is a leaf and no mode has more than five levels.
        Err(WalkError::Busy)
    }

    /// Whether bit 7 of an entry of this level means a page.
    fn large(&self, level: u32) -> bool {
        match self.mode {
            Mode::Bits32 => self.page_size_extensions,
            Mode::Pae => level == 2,
            Mode::Level4 | Mode::Level5 => level == 2 || level == 3,
        }
    }

    /// Whether a reserved bit is set.
    fn reserved(&self, entry: Pte, level: u32, leaf: bool) -> bool {
        let bits = entry.bits();
        match self.mode {
            // A 4 MiB page: bit 21; bits 20:13 are bits 39:32 of the address (PSE-36).
            Mode::Bits32 => leaf && level == 2 && bits & (1 << 21) != 0,
            Mode::Pae if level == 3 => bits & 0x1e6 != 0 || bits >> 52 != 0,
            _ => {
                let no_execute = entry.contains(Pte::NO_EXECUTE) && !self.no_execute;
                let root = level >= 4 && entry.contains(Pte::PAGE);
                // Between the PAT bit, 12, and the frame of a large page.
                let hole = leaf && level > 1 && bits & ((1 << (3 + 9 * level)) - (1 << 13)) != 0;
                let pae = self.mode == Mode::Pae && bits & (0x7ff << 52) != 0;
                no_execute || root || hole || pae
            }
        }
    }

    fn allowed(&self, user: bool, write: bool, execute: bool) -> bool {
        let mode = if self.user {
            user
        } else {
            !(user && self.prevented)
        };
        mode && match self.intent {
            Intent::Read => true,
            Intent::Write => write || (!self.user && !self.write_protect),
            Intent::Fetch => execute,
        }
    }

    fn frame(&self, entry: Pte, level: u32, shift: u32) -> Gpa {
        let inside = (1 << shift) - 1;
        let frame = if self.mode == Mode::Bits32 && level == 2 {
            (entry.bits() & 0xffc0_0000) | ((entry.bits() & 0x001f_e000) << 19)
        } else {
            (entry & Pte::FRAME).bits() & !inside
        };
        Gpa(frame | (self.linear.0 & inside))
    }

    /// Sets the flags of all entries on the way, from the root on, the dirty flag in the last.
    fn finish(&self, steps: &[Option<Step>; 5], gpa: Gpa) -> Result<Option<Gpa>, WalkError> {
        let mut steps = steps.iter().flatten().peekable();
        while let Some(step) = steps.next() {
            let mut flags = Pte::ACCESSED;
            flags.set(
                Pte::DIRTY,
                steps.peek().is_none() && self.intent == Intent::Write,
            );
            if !self.mark(*step, flags)? {
                return Ok(None);
            }
        }
        Ok(Some(gpa))
    }
}
