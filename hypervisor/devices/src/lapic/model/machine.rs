//! A guest's local APIC as a core runs it: the model, the processor, and the owner that follows the one with the other.

use super::processor::{Physical, Virtual};
use super::*;
use spec::apic::Carrier;

pub(in crate::lapic) const CARRIERS: [Carrier; 3] =
    [Carrier::Software, Carrier::Accelerated, Carrier::Direct];

pub(in crate::lapic) struct Machine {
    pub(in crate::lapic) apic: Lapic,
    /// What the owner would like, and whether the processor has a virtual-APIC page
    best: Carrier,
    accelerated: bool,
    pub(in crate::lapic) now: Ticks,
    /// What the processor is set up for
    runs: Carrier,
    virtual_apic: Virtual,
    physical: Physical,
    /// The guest's EOI and its reads of TMR exit for a level-triggered interrupt in flight.
    withheld: bool,
    /// VM exits
    pub(in crate::lapic) exits: u64,
}

impl Machine {
    pub(in crate::lapic) fn new(apic: Lapic, best: Carrier) -> Self {
        let mut machine = Self {
            apic,
            best,
            accelerated: true,
            now: NOW,
            runs: Carrier::Software,
            virtual_apic: Virtual::new(),
            physical: Physical::IDLE,
            withheld: false,
            exits: 0,
        };
        machine.enter();
        machine
    }

    /// In x2APIC mode, enabled by software, with the timer in TSC-deadline mode and masked: what all three can carry.
    pub(in crate::lapic) fn ready(best: Carrier) -> Self {
        let mut apic = x2apic(0);
        put(&mut apic, register::LVT_TIMER, 0x5_0000);
        let machine = Self::new(apic, best);
        assert_eq!(machine.apic.carrier(), best);
        machine
    }

    pub(in crate::lapic) fn carry(&mut self, best: Carrier, accelerated: bool) {
        (self.best, self.accelerated) = (best, accelerated);
        self.exit(|_, _| ());
    }

    /// A VM exit, what the hypervisor does on it, and the entry.
    fn exit<T>(&mut self, handle: impl FnOnce(&mut Lapic, Ticks) -> T) -> T {
        self.exits += 1;
        let answer = handle(&mut self.apic, self.now);
        self.enter();
        answer
    }

    fn enter(&mut self) {
        self.apic.expire(self.now);
        if self.apic.carrier() != self.runs {
            // INIT, or disabled: it went back to the software by itself, and what the processor holds is nobody's.
            assert_eq!(self.apic.carrier(), Carrier::Software);
            let _ = self.physical.drain();
            self.runs = Carrier::Software;
        }
        if self.apic.suits(self.best, self.accelerated) != self.runs {
            self.take_back();
            let suits = self.apic.suits(self.best, self.accelerated);
            match suits {
                Carrier::Software => {}
                Carrier::Accelerated => {
                    let (status, exits) = self.apic.lend_to_page(self.virtual_apic.page);
                    self.virtual_apic.load(status, exits);
                }
                Carrier::Direct => {
                    self.physical = Physical::lent(self.apic.lend_to_processor(), self.now);
                }
            }
            self.runs = suits;
        }
        match self.runs {
            Carrier::Software => {}
            Carrier::Accelerated => {
                if self.apic.has_requests() {
                    let handed = self.apic.hand_over();
                    self.virtual_apic.request(handed.requesting);
                    if let Some(exits) = handed.eoi_exits {
                        assert_ne!(self.virtual_apic.exits, exits, "told though the same");
                        self.virtual_apic.exits = exits;
                    }
                }
                self.virtual_apic.enter();
            }
            Carrier::Direct => {
                self.physical.program(self.apic.programmed());
                for (i, word) in self.apic.take_requests().into_iter().enumerate() {
                    for bit in (0..64).filter(|bit| word >> bit & 1 == 1) {
                        self.physical.irr.set((64 * i + bit) as u8);
                    }
                }
                self.withheld = self.apic.has_level_in_flight();
            }
        }
        assert!(self.runs == Carrier::Software || !self.apic.has_requests());
    }

    fn take_back(&mut self) {
        match self.runs {
            Carrier::Software => {}
            Carrier::Accelerated => self.apic.take_from_page(),
            Carrier::Direct => {
                let state = self.physical.drain();
                self.apic.take_from_processor(state, self.now);
            }
        }
        self.runs = Carrier::Software;
    }

    /// The guest writes a register, in whichever mode its APIC is.
    pub(in crate::lapic) fn write(
        &mut self,
        number: u8,
        value: u64,
    ) -> Result<Effect, AccessError> {
        let none = Ok(Effect::None);
        match (self.runs, number) {
            (Carrier::Accelerated, register::TPR) => self.virtual_apic.tpr(value as u8),
            (Carrier::Accelerated, register::SELF_IPI) => {
                if !self.virtual_apic.self_ipi(value as u8) {
                    return Ok(self.exit(|apic, _| apic.apic_write(register::SELF_IPI)));
                }
            }
            (Carrier::Accelerated, register::EOI) => {
                if let Some(vector) = self.virtual_apic.eoi() {
                    return Ok(self.exit(|apic, _| apic.end_virtualized(vector)));
                }
            }
            (Carrier::Direct, register::TPR) => self.physical.tpr = value as u8,
            (Carrier::Direct, register::SELF_IPI) => {
                assert!(value >= 16, "logged where the guest does not see it");
                self.physical.irr.set(value as u8);
            }
            (Carrier::Direct, register::EOI) => {
                if self.withheld {
                    return Ok(self.end_in_flight());
                }
                self.physical.eoi();
            }
            _ => {
                return self.exit(|apic, now| match apic.mode() {
                    Mode::X2Apic => apic.write_msr(msr(number), value, now),
                    _ => apic.write_mmio(u16::from(number) << 4, Width::B4, value, now),
                });
            }
        }
        none
    }

    /// The guest ends an interrupt in the processor's own local APIC by a write that exits.
    fn end_in_flight(&mut self) -> Effect {
        let written = self.apic.write_msr(msr(register::EOI), 0, self.now);
        assert_eq!(written, Ok(Effect::None));
        assert!(self.apic.take_owed_end() && !self.apic.take_owed_end());
        let effect = match self.physical.eoi() {
            Some(vector) => self.apic.end_physical(vector),
            None => Effect::None,
        };
        self.exit(|_, _| ());
        effect
    }

    /// The guest reads a register: 0 where there is none.
    pub(in crate::lapic) fn read(&mut self, number: u8) -> u64 {
        match (self.runs, number) {
            (
                Carrier::Accelerated,
                register::TPR | register::PPR | register::ISR..register::ESR,
            ) => {
                let value = self.virtual_apic.page.get(number).into();
                let model = self.apic.read_msr(msr(number), self.now);
                assert_eq!(model, Ok(value), "through the page and through an exit");
                value
            }
            (Carrier::Direct, register::TPR) => self.physical.tpr.into(),
            (Carrier::Direct, register::PPR) => self.physical.ppr().into(),
            (Carrier::Direct, register::ISR..register::TMR) => {
                self.physical.isr.register(number - register::ISR).into()
            }
            (Carrier::Direct, register::IRR..register::ESR) => {
                self.physical.irr.register(number - register::IRR).into()
            }
            (Carrier::Direct, register::TMR..register::IRR) if !self.withheld => 0,
            (Carrier::Direct, register::TIMER_INITIAL | register::TIMER_CURRENT) => 0,
            _ => match self.apic.mode() {
                Mode::X2Apic => self.apic.read_msr(msr(number), self.now),
                _ => self
                    .apic
                    .read_mmio(u16::from(number) << 4, Width::B4, self.now),
            }
            .unwrap_or(0),
        }
    }

    /// A write that has no effect outside.
    pub(in crate::lapic) fn put(&mut self, number: u8, value: u32) {
        let effect = self.write(number, value.into());
        assert_eq!(
            effect,
            Ok(Effect::None),
            "register {number:#x} = {value:#x}"
        );
    }

    /// A register of 32 bits.
    pub(in crate::lapic) fn get(&mut self, number: u8) -> u32 {
        self.read(number) as u32
    }

    /// The guest ends the interrupt in service.
    pub(in crate::lapic) fn eoi(&mut self) -> Effect {
        self.write(register::EOI, 0).unwrap()
    }

    /// MOV to CR8
    pub(in crate::lapic) fn set_cr8(&mut self, class: u8) {
        match self.runs {
            Carrier::Software => self.exit(|apic, _| apic.set_cr8(class)),
            Carrier::Accelerated => self.virtual_apic.tpr(class << 4),
            Carrier::Direct => self.physical.tpr = class << 4,
        }
    }

    /// The guest writes IA32_APIC_BASE; whether it may.
    pub(in crate::lapic) fn base(&mut self, value: u64) -> bool {
        self.exit(|apic, _| apic.set_base_msr(value)).is_ok()
    }

    pub(in crate::lapic) fn set_deadline(&mut self, value: u64) {
        if self.runs == Carrier::Direct {
            self.physical.set_deadline(value, self.now);
        } else {
            self.exit(|apic, now| apic.set_tsc_deadline(value, now));
        }
    }

    pub(in crate::lapic) fn deadline(&self) -> u64 {
        match self.runs {
            Carrier::Direct => self.physical.deadline,
            _ => self.apic.tsc_deadline(self.now),
        }
    }

    pub(in crate::lapic) fn set_offset(&mut self, offset: u64) {
        self.exit(|apic, now| apic.set_tsc_offset(offset, now));
    }

    /// Time passes, and nothing exits but for the timer.
    pub(in crate::lapic) fn pass(&mut self, ticks: u64) {
        self.now = self.now.after(Ticks(ticks));
        if self.runs == Carrier::Direct {
            assert_eq!(self.apic.next_deadline(), None);
            self.physical.tick(self.now);
        } else if self.apic.next_deadline().is_some_and(|at| at <= self.now) {
            self.exit(|_, _| ());
        }
    }

    /// The guest can take an interrupt: which one it takes.
    pub(in crate::lapic) fn take(&mut self) -> Option<Vector> {
        match self.runs {
            Carrier::Accelerated => self.virtual_apic.deliver(),
            Carrier::Direct => self.physical.deliver(),
            Carrier::Software => {
                // The interrupt window
                self.exit(|_, _| ());
                let vector = self.apic.deliverable()?;
                self.apic.acknowledge(vector);
                Some(vector)
            }
        }
    }

    /// An interrupt from outside, through the hypervisor; whether it was taken in.
    pub(in crate::lapic) fn outside(&mut self, vector: u8, level: bool) -> bool {
        let (taken, wakes, carrier) = self.exit(|apic, _| {
            apic.accept(Vector(vector), level);
            (apic.is_enabled(), apic.deliverable(), apic.carrier())
        });
        if self.apic.carrier() == carrier {
            assert_eq!(wakes, self.apic.deliverable(), "requests that wait count");
        }
        taken
    }

    /// An edge-triggered interrupt from outside, past the hypervisor where that can be.
    pub(in crate::lapic) fn post(&mut self, vector: u8) {
        match self.runs {
            Carrier::Accelerated => self.virtual_apic.posted(vector),
            Carrier::Direct => self.physical.irr.set(vector),
            Carrier::Software => {
                self.outside(vector, false);
            }
        }
    }

    pub(in crate::lapic) fn init(&mut self) {
        self.exit(|apic, _| apic.init());
    }
}
