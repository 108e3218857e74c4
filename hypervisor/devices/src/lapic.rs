//! The local APIC in software (SDM vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)").
//!
//! It belongs to one vCPU and is touched by no one else. What its accesses ask of others it says in an [`Effect`];
//! what it asks of its own vCPU shows in [`Lapic::deliverable`] and [`Lapic::next_deadline`], which the owner
//! reads before each entry.

mod accelerated;
mod address;
mod carried;
mod direct;
mod icr;
mod lvt;
#[cfg(any(test, feature = "model"))]
pub mod model;
mod page;
mod priority;
mod registers;
#[cfg(test)]
mod tests;
mod timer;
mod vectors;

pub use accelerated::{Handed, InterruptStatus};
pub use address::Address;
pub use direct::Programmed;
pub use icr::Ipi;
pub use page::VirtualApicPage;
pub use timer::MAX_CLOCK_SHIFT;

use crate::interrupt::{Delivery, Destination};
use carried::Carried;
use lvt::Table;
use seam::AccessError;
use spec::apic::{DEFAULT_BASE, Esr, FIRST_VECTOR, Lvt, Svr};
use spec::msr::ApicBase;
use spec::{Ticks, Vector};
use timer::Timer;
use vectors::VectorSet;

/// What an access asks of the rest of the machine.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub enum Effect {
    /// Nothing
    None,
    /// A level-triggered interrupt of this vector has ended: tell the I/O APICs.
    Eoi(Vector),
    /// Send this; what a vCPU sends to itself alone never gets here.
    Ipi(Ipi),
}

/// How the registers are reached (SDM vol. 3, "x2APIC State Transitions").
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Mode {
    /// Not at all
    Disabled,
    /// In memory
    XApic,
    /// As MSRs
    X2Apic,
}

/// One local APIC.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Lapic {
    // The part that every entry looks at comes first.
    irr: VectorSet,
    isr: VectorSet,
    tpr: u8,
    /// Processor priority: follows from TPR and ISR, kept because every entry asks for it
    ppr: u8,
    mode: Mode,
    carried: Carried,
    timer: Timer,
    lvt: Table,
    tmr: VectorSet,
    svr: Svr,
    icr: u64,
    id: u32,
    /// LDR and DFR of xAPIC mode; an x2APIC derives the one and has no other
    ldr: u32,
    dfr: u32,
    /// Errors since the last write to ESR, and what that write latched for reading
    errors: Esr,
    esr: Esr,
    base: ApicBase,
    bootstrap: bool,
    /// An EOI that exited has still to be written to the processor's local APIC
    owes_end: bool,
}

impl Lapic {
    /// The local APIC of the vCPU with this id, just after power-up: xAPIC mode, disabled by software.
    ///
    /// `clock_shift`: the timer's clock is the TSC divided by 2 to this power, at most [`MAX_CLOCK_SHIFT`];
    /// CPUID.15H must tell the same ratio.
    #[must_use]
    pub const fn new(id: u32, bootstrap: bool, clock_shift: u8) -> Self {
        Self {
            irr: VectorSet::EMPTY,
            isr: VectorSet::EMPTY,
            tpr: 0,
            ppr: 0,
            mode: Mode::XApic,
            carried: Carried::Software,
            timer: Timer::new(clock_shift),
            lvt: Table::RESET,
            tmr: VectorSet::EMPTY,
            svr: Svr::VECTOR,
            icr: 0,
            id,
            ldr: 0,
            dfr: u32::MAX,
            errors: Esr::empty(),
            esr: Esr::empty(),
            base: if bootstrap {
                ApicBase::EN.union(ApicBase::BSP)
            } else {
                ApicBase::EN
            },
            bootstrap,
            owes_end: false,
        }
    }

    /// Power-up or reset: all but id and clock as at creation. Tell the TSC offset anew afterwards.
    pub const fn reset(&mut self) {
        let mut timer = self.timer;
        timer.reset();
        *self = Self {
            timer,
            ..Self::new(self.id, self.bootstrap, 0)
        };
        self.timer.forget_tsc_offset();
    }

    /// INIT: the mode stays, and so does IA32_APIC_BASE ("Local APIC State After It Receives an INIT-Deassert IPI",
    /// "x2APIC After INIT").
    pub const fn init(&mut self) {
        let mut timer = self.timer;
        timer.reset();
        *self = Self {
            timer,
            mode: self.mode,
            base: self.base,
            ..Self::new(self.id, self.bootstrap, 0)
        };
    }

    /// How the registers are reached now.
    #[inline]
    #[must_use]
    pub const fn mode(&self) -> Mode {
        self.mode
    }

    /// IA32_APIC_BASE
    #[must_use]
    pub const fn base_msr(&self) -> u64 {
        DEFAULT_BASE.0 | self.base.bits()
    }

    /// Writes IA32_APIC_BASE ("x2APIC State Transitions"). Disabling loses all state.
    ///
    /// # Errors
    /// [`AccessError::Value`] for reserved bits, for the transitions that the SDM forbids, and for another base
    /// address: the registers of this platform do not move.
    pub fn set_base_msr(&mut self, value: u64) -> Result<(), AccessError> {
        let base =
            ApicBase::from_bits(value.wrapping_sub(DEFAULT_BASE.0)).ok_or(AccessError::Value)?;
        let mode = match (base.contains(ApicBase::EN), base.contains(ApicBase::EXTD)) {
            (false, false) => Mode::Disabled,
            (true, false) => Mode::XApic,
            (true, true) => Mode::X2Apic,
            (false, true) => return Err(AccessError::Value),
        };
        match (self.mode, mode) {
            (Mode::Disabled, Mode::X2Apic) | (Mode::X2Apic, Mode::XApic) => {
                return Err(AccessError::Value);
            }
            (Mode::XApic | Mode::X2Apic, Mode::Disabled) => self.init(),
            // The destination field lies elsewhere in the other mode.
            (Mode::XApic, Mode::X2Apic) => self.icr = 0,
            _ => {}
        }
        self.base = base;
        self.mode = mode;
        Ok(())
    }

    /// IA32_TSC_DEADLINE, in the guest's time: 0 when disarmed, passed, or not in that mode.
    #[must_use]
    pub fn tsc_deadline(&self, now: Ticks) -> u64 {
        self.timer.tsc_deadline(now)
    }

    /// Writes IA32_TSC_DEADLINE, in the guest's time: a time that has passed fires at once, 0 disarms.
    /// Without effect while the processor's own local APIC is lent, which has the register then.
    #[inline]
    pub fn set_tsc_deadline(&mut self, value: u64, now: Ticks) {
        if matches!(self.carried, Carried::Processor) {
            return;
        }
        // The old deadline may have passed without anyone having looked.
        self.expire(now);
        self.timer.set_tsc_deadline(value, now);
        self.expire(now);
    }

    /// The guest's TSC is the host's plus `offset`, modulo 2^64, from `now` on; 0 at creation. Only the
    /// TSC deadline is in the guest's time; everything else here is in the host's.
    pub fn set_tsc_offset(&mut self, offset: u64, now: Ticks) {
        self.expire(now);
        self.timer.set_tsc_offset(offset, now);
        self.expire(now);
    }

    /// When [`Lapic::expire`] has to be called at the latest; `None` if nothing would come of it: the timer stands
    /// still, is masked, or its interrupt is pending already. A guest with an absurdly short period thus gets an
    /// exit for each interrupt it takes, not for each period. Where the processor carries the APIC, interrupts are taken without an
    /// exit: there one that is pending does not count, and looks are some distance apart instead.
    #[inline]
    #[must_use]
    pub fn next_deadline(&self) -> Option<Ticks> {
        let deadline = self.timer.deadline()?;
        if !self.is_software() && self.timer.repeats() {
            return self.next_deadline_of_carried();
        }
        let entry = self.lvt.timer();
        let vector = (entry & Lvt::VECTOR).bits() as u8;
        let idle = entry.contains(Lvt::MASKED)
            || self.irr.contains(vector)
            || (vector < FIRST_VECTOR && self.errors.contains(Esr::RECEIVE_ILLEGAL_VECTOR));
        (!idle).then_some(deadline)
    }

    /// Lets the timer fire if it is due by `now`. Periods that were missed count as one.
    #[inline]
    pub fn expire(&mut self, now: Ticks) {
        if self.timer.expire(now) {
            self.raise(self.lvt.timer());
        }
    }

    /// Takes in an interrupt from outside. Level-triggered ones tell the I/O APICs when they end. An APIC that is
    /// disabled, be it by software, takes none.
    pub fn accept(&mut self, vector: Vector, level: bool) {
        if self.is_enabled() {
            self.receive(vector.0, level);
        }
    }

    /// Whether interrupts from outside are taken: enabled globally and by software.
    #[must_use]
    pub const fn is_enabled(&self) -> bool {
        self.svr.contains(Svr::ENABLE) && !matches!(self.mode, Mode::Disabled)
    }

    /// Requests the interrupt of an entry of the local vector table, unless it is masked.
    fn raise(&mut self, entry: Lvt) {
        if !entry.contains(Lvt::MASKED) {
            self.receive((entry & Lvt::VECTOR).bits() as u8, false);
        }
    }

    #[inline]
    fn receive(&mut self, vector: u8, level: bool) {
        if vector < FIRST_VECTOR {
            self.fail(Esr::RECEIVE_ILLEGAL_VECTOR);
            return;
        }
        self.irr.insert(vector);
        if level {
            self.tmr.insert(vector);
        } else {
            self.tmr.remove(vector);
        }
    }

    /// Logs an error, with an interrupt the first time since ESR was last written ("Error Handling"). That
    /// interrupt may itself have an illegal vector, which is logged in turn and ends there.
    fn fail(&mut self, error: Esr) {
        if self.errors.contains(error) {
            return;
        }
        self.errors |= error;
        let entry = self.lvt.error();
        if entry.contains(Lvt::MASKED) {
            return;
        }
        match (entry & Lvt::VECTOR).bits() as u8 {
            ..FIRST_VECTOR => self.errors |= Esr::RECEIVE_ILLEGAL_VECTOR,
            vector => self.receive(vector, false),
        }
    }

    /// Sends, or delivers at once what is for this APIC alone. Only fixed interrupts can be sent to oneself
    /// ("Valid Combinations for the ... Interrupt Command Register").
    fn command(&mut self, icr: spec::apic::Icr, destination: Destination) -> Effect {
        match icr::decode(icr, destination) {
            icr::Command::Send(Ipi {
                delivery: Delivery::Fixed(vector) | Delivery::LowestPriority(vector),
                destination: to @ Destination::Physical(_),
            }) if self.matches(to) => {
                self.accept(vector, false);
            }
            icr::Command::ToSelf(Delivery::Fixed(vector)) => self.accept(vector, false),
            icr::Command::Send(ipi) => return Effect::Ipi(ipi),
            icr::Command::IllegalVector => self.fail(Esr::SEND_ILLEGAL_VECTOR),
            icr::Command::ToSelf(_) | icr::Command::Nothing => {}
        }
        Effect::None
    }
}
