//! The traits at the edges between pure logic and the machine.
//!
//! Logic crates take these as type parameters, so that each is tested on the host with plain values. Time is not
//! a trait: whoever calls a chip hands it `now`, read once per exit.
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

use spec::{Gpa, Hpa, Vector};

/// Why an access to guest memory or to a chip was not carried out.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum AccessError {
    /// Nothing is there: reads give all ones, writes are dropped.
    Absent,
    /// The chip does not answer accesses of this width or alignment: as for [`AccessError::Absent`].
    Width,
    /// The register is there and refuses the value: #GP for an MSR, a dropped write elsewhere.
    Value,
}

/// A guest's memory, as its own guest-physical map shows it.
///
/// Never lends references: other vCPUs write it while we look. Each call checks its whole range first and
/// carries out nothing if a byte of it is not RAM of this guest.
pub trait GuestMem {
    /// Copies `into.len()` bytes at `gpa` out of guest memory.
    ///
    /// # Errors
    /// [`AccessError::Absent`] if a byte of the range is not this guest's RAM.
    fn read_into(&self, gpa: Gpa, into: &mut [u8]) -> Result<(), AccessError>;

    /// Copies `from` into guest memory at `gpa`.
    ///
    /// # Errors
    /// [`AccessError::Absent`] if a byte of the range is not this guest's RAM.
    fn write_from(&self, gpa: Gpa, from: &[u8]) -> Result<(), AccessError>;

    /// Fills `len` bytes at `gpa` with zeroes.
    ///
    /// # Errors
    /// [`AccessError::Absent`] if a byte of the range is not this guest's RAM.
    fn zero(&self, gpa: Gpa, len: u64) -> Result<(), AccessError>;

    /// Reads the naturally aligned 64-bit word at `gpa` in one access: a page-table entry.
    ///
    /// # Errors
    /// [`AccessError::Absent`] if it is not this guest's RAM, [`AccessError::Width`] if it is not aligned.
    fn read_u64(&self, gpa: Gpa) -> Result<u64, AccessError>;

    /// Sets the aligned 64-bit word at `gpa` to `new` in one atomic step if it still is `old`; says whether it was.
    ///
    /// # Errors
    /// As for [`GuestMem::read_u64`].
    fn compare_exchange_u64(&self, gpa: Gpa, old: u64, new: u64) -> Result<bool, AccessError>;
}

/// A chip's own interrupt pin. The chip sets its level; what it is wired to is the owner's business.
pub trait IrqLine {
    /// Sets the level of the line.
    fn set_level(&mut self, asserted: bool);
}

/// The outside of a serial port: where a UART's bytes go to and come from.
pub trait SerialLine {
    /// Takes one byte for sending; `false` if there is no room now, and then the byte is not taken.
    fn send(&mut self, byte: u8) -> bool;
    /// Gives the next byte received, if there is one.
    fn receive(&mut self) -> Option<u8>;
}

/// How the core that runs a vCPU is made to look at what others have for it.
pub trait Kick {
    /// Has the core of the vCPU with this index look into its mailbox soon, whether it runs a guest, is about to, or sleeps.
    /// What was posted before the call is seen after it. Called with chips' locks held, so it must not wait for another core.
    fn kick(&self, vcpu: u32);

    /// Has a core, named by its local APIC id, look at the posted interrupts of the vCPU that it runs: without an exit where it runs that
    /// vCPU (SDM vol. 3, "Posted-Interrupt Processing"). Must not wait either.
    fn notify(&self, core: u32);

    /// Raises this vector in the local APIC of a core, named by its id, which is lent to a guest. Must not wait either.
    fn raise(&self, core: u32, vector: Vector);

    /// Has the core that watches over watchdogs look at this VM's soon. Must not wait either.
    fn watch(&self);
}

impl core::fmt::Debug for dyn Kick + Send + Sync {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("Kick")
    }
}

/// Where page tables get their frames, 4 KiB each, and how their entries are reached.
pub trait TableMem {
    /// A zeroed frame that nothing else uses; `None` when there are no more.
    fn alloc(&mut self) -> Option<Hpa>;
    /// Gives back a frame that [`TableMem::alloc`] gave and that nothing points to any more.
    fn free(&mut self, frame: Hpa);
    /// The entry `index` (0 to 511) of the table in `frame`.
    fn read(&self, frame: Hpa, index: usize) -> u64;
    /// Sets the entry `index` (0 to 511) of the table in `frame`.
    fn write(&mut self, frame: Hpa, index: usize, entry: u64);
}
