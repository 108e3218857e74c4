//! A local APIC lent to the one guest of its core, which reaches TPR, EOI, SELF_IPI and the deadline without an exit.
//!
//! While it is lent, root code keeps interrupts masked, so that whatever arrives waits for the guest. Messages still get here: NMI
//! kicks, and fixed interrupts, which are the guest's.
// UNSAFETY: reads IA32_TSC_DEADLINE.
#![allow(unsafe_code)]

use super::{Access, HOST_SVR, LocalApic, Timer};
use crate::core_local::CoreLocal;
use crate::{idle, msr, tsc};
use spec::apic::{FIRST_VECTOR, Lvt, PhysicalApic, Svr, register};
use spec::msr::TSC_DEADLINE;
use spec::{Ticks, Vector};

/// A bit for each vector.
pub type VectorSet = [u64; 4];

/// Steps of a drain: two for each vector that there is, and as many again for what others send meanwhile. It ends there, so that a
/// storm cannot hold the core; what is left then is noted as any interrupt.
const STEPS: usize = 1024;

impl LocalApic {
    /// Whether this one can be lent: it is in x2APIC mode, where the guest's accesses are those of MSRs, and has a TSC deadline.
    #[must_use]
    pub fn can_lend(&self) -> bool {
        matches!((self.access, self.timer), (Access::X2apic, Timer::Deadline))
    }

    /// Makes it the guest's: stops the host's timer, ends what is pending or in service for the host, and puts the guest's state in.
    /// Interrupts are masked, and stay so in root operation until [`LocalApic::take_back`]. Only if [`LocalApic::can_lend`].
    ///
    /// Returns the host's interrupts but the timer's that were pending or noted: they have been ended, and are yet to be served.
    #[must_use]
    pub fn lend(&mut self, core: &CoreLocal, state: &PhysicalApic) -> VectorSet {
        self.stop();
        let mut of_host = self.drain(core);
        remove(&mut of_host, self.timer_vector);
        self.write(register::TPR, state.tpr.into());
        self.program(state.lvt_timer, state.svr);
        // In x2APIC mode a deadline does not overtake the LVT (SDM vol. 3, "TSC-Deadline Mode").
        self.set_timer(
            (state.deadline != 0).then_some(Ticks(state.deadline)),
            tsc::now(),
        );
        for vector in vectors(&state.irr) {
            self.self_ipi(vector);
        }
        of_host
    }

    /// Makes it the host's again, with nothing of the guest left in it: what was requested or in service is in the state returned,
    /// also what has arrived meanwhile. Whoever sends fixed interrupts to this core has been told before that it is no longer lent;
    /// one that is still under way may arrive later, and is noted then. Nothing may have been noted before.
    #[must_use]
    pub fn take_back(&mut self, core: &CoreLocal) -> PhysicalApic {
        let mut state = PhysicalApic {
            tpr: self.read(register::TPR) as u8,
            svr: self.read(register::SVR),
            lvt_timer: self.read(register::LVT_TIMER) & !Lvt::STATUS.bits(),
            deadline: self.deadline(),
            irr: [0; 4],
            isr: [0; 4],
        };
        self.stop();
        state.irr = gather(|word| self.read(register::IRR + word));
        state.isr = gather(|word| self.read(register::ISR + word));
        // Disabling it instead would not do: what is pending is held ("Local APIC State After It Has Been Software Disabled").
        // Clearing IA32_APIC_BASE.EN would reset it, but nobody may send to it meanwhile ("Enabling or Disabling the Local APIC"),
        // and a kick would be lost.
        self.write(register::SVR, HOST_SVR);
        self.write(register::TPR, 0);
        for (word, late) in state.irr.iter_mut().zip(self.drain(core)) {
            *word |= late;
        }
        self.write(register::LVT_TIMER, self.deadline_mode());
        state.deadline = left(&state, tsc::now());
        state
    }

    /// Raises an interrupt of the guest's. A vector that no interrupt can have is not raised.
    #[inline]
    pub fn self_ipi(&mut self, vector: Vector) {
        if vector.0 >= FIRST_VECTOR {
            self.write(register::SELF_IPI, vector.0.into());
        }
    }

    /// Follows a write of the guest's to its LVT timer or spurious-interrupt vector register. The guest's timer is in TSC-deadline
    /// mode; in any other it is masked.
    pub fn program(&mut self, lvt_timer: u32, svr: u32) {
        // In this order: while it is disabled, every LVT entry stays masked.
        self.write(register::SVR, lent_svr(svr));
        self.write(register::LVT_TIMER, lent_timer(lvt_timer));
    }

    /// Ends the guest's interrupt in service that has the highest priority, and says which that was.
    pub fn end_in_service(&mut self) -> Option<Vector> {
        let vector = self.highest(register::ISR)?;
        self.eoi();
        Some(vector)
    }

    /// Stops the timer, whosever it is.
    fn stop(&mut self) {
        self.set_timer(None, Ticks(0));
        self.write(
            register::LVT_TIMER,
            self.deadline_mode() | Lvt::MASKED.bits(),
        );
    }

    /// Ends what is in service, and takes and ends what is requested, until there is nothing. Returns what was taken, or noted
    /// before.
    fn drain(&mut self, core: &CoreLocal) -> VectorSet {
        for _ in 0..STEPS {
            if self.highest(register::ISR).is_some() {
                self.eoi();
            } else if self.highest(register::IRR).is_some() {
                // Of vectors from 16 up, which alone can be there, the handlers note each.
                idle::breathe();
            } else {
                break;
            }
        }
        let mut taken = [0; 4];
        while let Some(vector) = core.take() {
            insert(&mut taken, vector);
        }
        taken
    }

    /// The highest vector in ISR or IRR, whose first word is `first`.
    fn highest(&self, first: u8) -> Option<Vector> {
        highest(|word| self.read(first + word))
    }

    fn deadline(&self) -> u64 {
        match self.timer {
            // SAFETY: CPUID shows TSC-deadline mode.
            Timer::Deadline => unsafe { msr::read(TSC_DEADLINE) },
            Timer::OneShot { .. } => 0,
        }
    }
}

/// What of a guest's spurious-interrupt vector register may be in the processor's.
fn lent_svr(value: u32) -> u32 {
    value & (Svr::ENABLE | Svr::VECTOR).bits()
}

/// What of a guest's LVT timer may be in the processor's: TSC-deadline mode in any case, for in others IA32_TSC_DEADLINE, which the
/// guest writes, is ignored; masked if the guest's could not raise an interrupt by a deadline.
fn lent_timer(value: u32) -> u32 {
    let mode = Lvt::from_bits_retain(value) & (Lvt::PERIODIC | Lvt::TSC_DEADLINE);
    let mut lent = Lvt::from_bits_retain(value) & (Lvt::VECTOR | Lvt::MASKED) | Lvt::TSC_DEADLINE;
    if mode != Lvt::TSC_DEADLINE || (lent & Lvt::VECTOR).bits() < u32::from(FIRST_VECTOR) {
        lent |= Lvt::MASKED;
    }
    lent.bits()
}

/// The deadline of a timer that has been stopped: none if it passed and its interrupt is requested. One that passed without, between
/// the reading of the register and the stop, is still to be raised.
fn left(state: &PhysicalApic, now: Ticks) -> u64 {
    let vector = Vector((state.lvt_timer & Lvt::VECTOR.bits()) as u8);
    if state.deadline <= now.0 && contains(&state.irr, vector) {
        0
    } else {
        state.deadline
    }
}

/// The eight words of ISR or IRR as a set.
fn gather(read: impl Fn(u8) -> u32) -> VectorSet {
    [0, 2, 4, 6].map(|word| u64::from(read(word)) | u64::from(read(word + 1)) << 32)
}

/// The highest vector in the eight words of ISR or IRR. Those below 16 are left aside: no processor has them there, but where a
/// hypervisor that we run under keeps one, it never delivers it.
fn highest(read: impl Fn(u8) -> u32) -> Option<Vector> {
    (0..8u8).rev().find_map(|word| {
        let bit = read(word).checked_ilog2()? as u8;
        let vector = 32 * word + bit;
        (vector >= FIRST_VECTOR).then_some(Vector(vector))
    })
}

fn place(vector: Vector) -> (usize, u64) {
    (usize::from(vector.0 >> 6), 1 << (vector.0 & 63))
}

#[expect(clippy::indexing_slicing, reason = "two bits index four words")]
fn contains(set: &VectorSet, vector: Vector) -> bool {
    let (word, bit) = place(vector);
    set[word] & bit != 0
}

#[expect(clippy::indexing_slicing, reason = "two bits index four words")]
fn insert(set: &mut VectorSet, vector: Vector) {
    let (word, bit) = place(vector);
    set[word] |= bit;
}

#[expect(clippy::indexing_slicing, reason = "two bits index four words")]
fn remove(set: &mut VectorSet, vector: Vector) {
    let (word, bit) = place(vector);
    set[word] &= !bit;
}

/// The vectors in a set, the lowest first.
pub fn vectors(set: &VectorSet) -> impl Iterator<Item = Vector> {
    (0..=u8::MAX).map(Vector).filter(|&v| contains(set, v))
}

#[cfg(test)]
mod tests;
