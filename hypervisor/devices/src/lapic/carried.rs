//! Who carries the local APIC, and how it changes hands.
//!
//! While another than this model carries it, `irr` holds what was requested here and not handed over yet, and `isr` nothing; the
//! truth is in the virtual-APIC page or in the processor's own local APIC. LVT, SVR, ESR, ICR and ID stay here, and the timer
//! too but under [`Carrier::Direct`].

use super::page::VirtualApicPage;
use super::vectors::VectorSet;
use super::{Effect, Lapic, Mode, address, registers};
use spec::apic::{Carrier, Esr, FIRST_VECTOR, Lvt, Svr, register};
use spec::{Ticks, Vector};

/// The carrier and what it needs.
#[derive(Clone, Copy, Debug)]
pub(super) enum Carried {
    Software,
    Page(&'static VirtualApicPage),
    Processor,
}

impl PartialEq for Carried {
    /// The same page, whatever is in it.
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Page(a), Self::Page(b)) => core::ptr::eq(*a, *b),
            _ => core::mem::discriminant(self) == core::mem::discriminant(other),
        }
    }
}

impl Eq for Carried {}

/// "Guest interrupt status" (SDM vol. 3, "Guest Non-Register State"): the highest vector of each kind, 0 for none.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct InterruptStatus {
    /// RVI
    pub requesting: u8,
    /// SVI
    pub in_service: u8,
}

/// What the processor is to be told of new requests in the page.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
pub struct Handed {
    /// The highest of them, 0 if there were none: RVI is to be no lower.
    pub requesting: u8,
    /// The EOI-exit bitmap, if it changed
    pub eoi_exits: Option<[u64; 4]>,
}

/// What the processor's local APIC is to hold, or held, for the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhysicalApic {
    /// Task priority
    pub tpr: u8,
    /// Spurious-interrupt vector register; taken back, it says nothing new
    pub svr: u32,
    /// LVT timer; taken back, it says nothing new
    pub lvt_timer: u32,
    /// IA32_TSC_DEADLINE: guest and host have the same time.
    pub deadline: u64,
    /// Requested, bit v for vector v
    pub irr: [u64; 4],
    /// In service
    pub isr: [u64; 4],
}

/// What of the processor's local APIC follows the guest's registers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Programmed {
    /// LVT timer
    pub lvt_timer: u32,
    /// Spurious-interrupt vector register
    pub svr: u32,
}

impl Lapic {
    /// Who carries it now.
    #[inline]
    #[must_use]
    pub const fn carrier(&self) -> Carrier {
        match self.carried {
            Carried::Software => Carrier::Software,
            Carried::Page(_) => Carrier::Accelerated,
            Carried::Processor => Carrier::Direct,
        }
    }

    /// Who can carry it as it is now, at most `best`. It changes only by what the guest writes to its APIC, INIT, a TSC offset, and
    /// the end of an interrupt.
    #[must_use]
    pub fn suits(&self, best: Carrier, has_accelerated: bool) -> Carrier {
        if best == Carrier::Direct && self.why_not_direct().is_none() {
            Carrier::Direct
        } else if best != Carrier::Software
            && has_accelerated
            && self.mode == Mode::X2Apic
            // The processor would take a SELF_IPI whatever SVR says.
            && self.is_enabled()
        {
            Carrier::Accelerated
        } else {
            Carrier::Software
        }
    }

    /// Whether an interrupt is in service, as far as is known without asking the processor's own local APIC.
    #[must_use]
    pub fn is_serving(&self) -> bool {
        let highest = match self.carried {
            Carried::Page(page) => page.vectors(register::ISR).highest(),
            Carried::Software | Carried::Processor => self.isr.highest(),
        };
        highest != 0
    }

    /// Whether an EOI of the guest has exited that is still to be written to the processor's local APIC, of which the owner tells by
    /// [`Lapic::end_physical`]. Asked once.
    pub fn take_owed_end(&mut self) -> bool {
        core::mem::take(&mut self.owes_end)
    }

    /// What keeps the processor's own local APIC from being lent to the guest, or from staying so; `None`: nothing.
    #[must_use]
    pub fn why_not_direct(&self) -> Option<&'static str> {
        let timer = self.lvt.timer();
        Some(if self.mode != Mode::X2Apic {
            "the guest keeps xAPIC mode"
        } else if !self.is_enabled() {
            "disabled by software"
        } else if !timer.contains(Lvt::TSC_DEADLINE) {
            "the local APIC timer is not in TSC-deadline mode"
        } else if !timer.contains(Lvt::MASKED)
            && ((timer & Lvt::VECTOR).bits() as u8) < FIRST_VECTOR
        {
            // The processor would log the error where the guest does not see it.
            "the local APIC timer's vector is an exception's"
        } else if self.timer.tsc_offset() != 0 {
            "the guest's TSC is not the host's"
        } else if self.is_serving() {
            "an interrupt is in service"
        } else {
            return None;
        })
    }

    /// Whether something was requested that the carrier does not know of.
    #[inline]
    #[must_use]
    pub const fn has_requests(&self) -> bool {
        self.irr.highest() != 0
    }

    /// From the software to the processor, which goes on with what it finds in `page`; the guest interrupt status and the EOI-exit
    /// bitmap that go with it.
    ///
    /// Nothing else may use the page until [`Lapic::carrier`] is another again.
    pub fn lend_to_page(&mut self, page: &'static VirtualApicPage) -> (InterruptStatus, [u64; 4]) {
        debug_assert!(self.carrier() == Carrier::Software && self.mode == Mode::X2Apic);
        for number in 0..=register::SELF_IPI {
            let value = match number {
                register::ID => self.id,
                register::VERSION => registers::VERSION,
                register::TPR => self.tpr.into(),
                register::PPR => self.ppr.into(),
                register::LDR => address::x2apic_logical(self.id),
                register::SVR => self.svr.bits(),
                register::ISR..register::TMR => self.isr.register(number - register::ISR),
                register::TMR..register::IRR => self.tmr.register(number - register::TMR),
                register::IRR..register::ESR => self.irr.register(number - register::IRR),
                // Reads and writes of all others exit.
                _ => 0,
            };
            page.put(number, value);
        }
        let status = InterruptStatus {
            requesting: self.irr.highest(),
            in_service: self.isr.highest(),
        };
        let exits = self.tmr.words();
        self.lent(Carried::Page(page));
        (status, exits)
    }

    /// What was requested goes into the page.
    pub fn hand_over(&mut self) -> Handed {
        let mut handed = Handed {
            requesting: 0,
            eoi_exits: None,
        };
        if let Carried::Page(page) = self.carried {
            handed.requesting = self.irr.highest();
            if page.request(&self.irr, &self.tmr) {
                handed.eoi_exits = Some(page.vectors(register::TMR).words());
            }
            self.irr = VectorSet::EMPTY;
            self.tmr = VectorSet::EMPTY;
        }
        handed
    }

    /// Back to the software with all that the page holds.
    pub fn take_from_page(&mut self) {
        if let Carried::Page(page) = self.carried {
            self.tpr = page.tpr();
            self.isr = page.vectors(register::ISR);
            self.tmr = self.carried_tmr(page);
            self.irr = page.vectors(register::IRR).union(&self.irr);
            self.carried = Carried::Software;
            self.update_priority();
        }
    }

    /// The processor has ended this interrupt in the page, and its bit of the EOI-exit bitmap was set.
    pub fn end_virtualized(&mut self, vector: Vector) -> Effect {
        match self.carried {
            Carried::Page(page) if self.carried_tmr(page).contains(vector.0) => Effect::Eoi(vector),
            _ => Effect::None,
        }
    }

    /// The processor has written a register of the page and leaves what comes of it to us: of those that a guest in x2APIC
    /// mode can write so, only SELF_IPI with a vector below 16 ("Self-IPI Virtualization").
    pub fn apic_write(&mut self, number: u8) -> Effect {
        if let Carried::Page(page) = self.carried
            && number == register::SELF_IPI
        {
            self.self_ipi(page.get(number) as u8);
        }
        Effect::None
    }

    /// From the software to the processor's own local APIC, and what that is to hold. Only where [`Lapic::suits`] says so.
    pub fn lend_to_processor(&mut self) -> PhysicalApic {
        debug_assert!(self.carrier() == Carrier::Software && self.why_not_direct().is_none());
        let Programmed { lvt_timer, svr } = self.programmed();
        let state = PhysicalApic {
            tpr: self.tpr,
            svr,
            lvt_timer,
            deadline: self.timer.lend(),
            irr: self.irr.words(),
            isr: self.isr.words(),
        };
        let level = self.tmr.intersection(&self.irr);
        self.lent(Carried::Processor);
        self.tmr = level;
        state
    }

    /// What was requested, to be raised in the processor's own local APIC: bit v for vector v.
    pub fn take_requests(&mut self) -> [u64; 4] {
        // The marks of level-triggered ones stay until their end.
        core::mem::replace(&mut self.irr, VectorSet::EMPTY).words()
    }

    /// Whether the guest has a level-triggered interrupt to end, which the processor takes for an edge-triggered one: then its EOI
    /// has to exit, and its reads of TMR should.
    #[inline]
    #[must_use]
    pub const fn has_level_in_flight(&self) -> bool {
        self.tmr.highest() != 0
    }

    /// An EOI that exited has ended this interrupt in the processor's own local APIC.
    pub fn end_physical(&mut self, vector: Vector) -> Effect {
        if self.carried == Carried::Processor && self.tmr.contains(vector.0) {
            self.tmr.remove(vector.0);
            Effect::Eoi(vector)
        } else {
            Effect::None
        }
    }

    /// What of the processor's local APIC the guest's last write may have changed. Without the bits that a processor may refuse.
    #[must_use]
    pub const fn programmed(&self) -> Programmed {
        const TIMER: Lvt = Lvt::VECTOR.union(Lvt::MASKED).union(Lvt::TSC_DEADLINE);
        Programmed {
            lvt_timer: self.lvt.timer().intersection(TIMER).bits(),
            svr: self.svr.intersection(Svr::VECTOR.union(Svr::ENABLE)).bits(),
        }
    }

    /// Back to the software with what the processor's own local APIC held. A deadline that has passed meanwhile fires.
    pub fn take_from_processor(&mut self, state: PhysicalApic, now: Ticks) {
        if self.carried == Carried::Processor {
            self.carried = Carried::Software;
            self.tpr = state.tpr;
            self.isr = VectorSet::from_words(state.isr);
            self.irr = VectorSet::from_words(state.irr).union(&self.irr);
            self.update_priority();
            self.set_tsc_deadline(state.deadline, now);
        }
    }

    fn lent(&mut self, to: Carried) {
        self.carried = to;
        self.irr = VectorSet::EMPTY;
        self.isr = VectorSet::EMPTY;
        self.tmr = VectorSet::EMPTY;
        (self.tpr, self.ppr) = (0, 0);
    }

    /// VTMR with what is not handed over yet.
    fn carried_tmr(&self, page: &VirtualApicPage) -> VectorSet {
        page.vectors(register::TMR)
            .without(&self.irr)
            .union(&self.tmr)
    }

    /// What a register reads as that the page holds.
    #[cold]
    #[inline(never)]
    pub(super) fn read_page(&self, page: &VirtualApicPage, number: u8) -> Option<u32> {
        Some(match number {
            register::TPR => page.tpr().into(),
            register::PPR => page.ppr().into(),
            register::ISR..register::TMR => page.get(number),
            register::TMR..register::IRR => self.carried_tmr(page).register(number - register::TMR),
            register::IRR..register::ESR => {
                page.get(number) | self.irr.register(number - register::IRR)
            }
            _ => return None,
        })
    }

    /// When the timer's interrupt has to be requested at the latest. That the last one is still there says nothing: the guest takes it
    /// without an exit, and the next has to come all the same.
    #[cold]
    #[inline(never)]
    pub(super) fn next_deadline_of_carried(&self) -> Option<Ticks> {
        let entry = self.lvt.timer();
        let vector = (entry & Lvt::VECTOR).bits() as u8;
        let idle = entry.contains(Lvt::MASKED)
            || (vector < FIRST_VECTOR && self.errors.contains(Esr::RECEIVE_ILLEGAL_VECTOR));
        (!idle).then(|| self.timer.rested_deadline()).flatten()
    }

    /// What a vCPU that does not run, such as one that halts, would be given next.
    #[cold]
    #[inline(never)]
    pub(super) fn deliverable_by_carrier(&self) -> Option<Vector> {
        let Carried::Page(page) = self.carried else {
            return None;
        };
        let highest = page
            .vectors(register::IRR)
            .highest()
            .max(self.irr.highest());
        (highest >> 4 > page.ppr() >> 4).then_some(Vector(highest))
    }
}
