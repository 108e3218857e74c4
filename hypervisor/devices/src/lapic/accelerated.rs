//! A local APIC that the processor carries on a virtual-APIC page (SDM vol. 3, "APIC Virtualization and Virtual Interrupts").

use super::carried::Carried;
use super::page::VirtualApicPage;
use super::vectors::VectorSet;
use super::{Effect, Lapic, Mode, address, registers};
use spec::Vector;
use spec::apic::{Carrier, register};

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

impl Lapic {
    /// From the software to the processor, which goes on with what it finds in `page`; the guest interrupt status and the EOI-exit
    /// bitmap that go with it.
    ///
    /// Nothing else may use the page until [`Lapic::carrier`] is another again.
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "each arm begins with the number that it takes away"
    )]
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
            if self.tmr.highest() != 0 {
                self.tmr = VectorSet::EMPTY;
            }
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

    /// VTMR with what is not handed over yet.
    fn carried_tmr(&self, page: &VirtualApicPage) -> VectorSet {
        page.vectors(register::TMR)
            .without(&self.irr)
            .union(&self.tmr)
    }

    /// What a register reads as that the page holds.
    #[cold]
    #[inline(never)]
    #[expect(
        clippy::arithmetic_side_effects,
        reason = "each arm begins with the number that it takes away"
    )]
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
}
