//! What the processor does by itself while it carries a local APIC, in the manual's words and slowly.

use super::*;
use spec::apic::PhysicalApic;
use std::boxed::Box;
use std::sync::Mutex;
use std::vec::Vec;

/// Pages that are lent to nobody. They have to last for ever, and a fuzzer makes millions of processors.
static PAGES: Mutex<Vec<&'static VirtualApicPage>> = Mutex::new(Vec::new());

/// A set of vectors as plain as can be.
#[derive(Clone)]
pub(in crate::lapic) struct Plain([bool; 256]);

impl Plain {
    pub(in crate::lapic) const EMPTY: Plain = Plain([false; 256]);

    pub(in crate::lapic) fn set(&mut self, vector: u8) {
        self.0[usize::from(vector)] = true;
    }

    fn clear(&mut self, vector: u8) {
        self.0[usize::from(vector)] = false;
    }

    /// The highest member, 0 if there is none.
    fn highest(&self) -> u8 {
        self.0.iter().rposition(|&member| member).unwrap_or(0) as u8
    }

    pub(in crate::lapic) fn register(&self, index: u8) -> u32 {
        (0..32u8).fold(0, |word, bit| {
            word | u32::from(self.0[usize::from(32 * index + bit)]) << bit
        })
    }

    pub(in crate::lapic) fn from_words(words: [u64; 4]) -> Plain {
        Plain(core::array::from_fn(|v| words[v / 64] >> (v % 64) & 1 == 1))
    }

    fn words(&self) -> [u64; 4] {
        core::array::from_fn(|i| {
            u64::from(self.register(2 * i as u8)) | u64::from(self.register(2 * i as u8 + 1)) << 32
        })
    }
}

/// "APIC Virtualization and Virtual Interrupts": a virtual-APIC page, and what of the VMCS goes with it.
pub(in crate::lapic) struct Virtual {
    pub(in crate::lapic) page: &'static VirtualApicPage,
    rvi: u8,
    svi: u8,
    pub(in crate::lapic) exits: [u64; 4],
    /// Recognized, so that it is delivered as soon as the guest can take it
    recognized: bool,
}

impl Drop for Virtual {
    fn drop(&mut self) {
        PAGES.lock().unwrap().push(self.page);
    }
}

impl Virtual {
    pub(in crate::lapic) fn new() -> Self {
        let page = PAGES.lock().unwrap().pop();
        let page = page.unwrap_or_else(|| Box::leak(Box::new(VirtualApicPage::new())));
        (0..=u8::MAX).for_each(|number| page.put(number, 0));
        Self {
            page,
            rvi: 0,
            svi: 0,
            exits: [0; 4],
            recognized: false,
        }
    }

    /// What the owner writes into the VMCS when it lends the page.
    pub(in crate::lapic) fn load(&mut self, status: InterruptStatus, exits: [u64; 4]) {
        (self.rvi, self.svi, self.exits) = (status.requesting, status.in_service, exits);
    }

    /// As the owner raises RVI.
    pub(in crate::lapic) fn request(&mut self, requesting: u8) {
        self.rvi = self.rvi.max(requesting);
    }

    /// VM entry, which reckons anew; the owner must have left RVI and SVI as the page has it.
    pub(in crate::lapic) fn enter(&mut self) {
        assert_eq!(self.rvi, self.highest(register::IRR), "RVI");
        assert_eq!(self.svi, self.highest(register::ISR), "SVI");
        let level = Plain(core::array::from_fn(|v| self.has(register::TMR, v as u8)));
        assert_eq!(self.exits, level.words(), "EOI-exit bitmap");
        self.ppr();
        self.evaluate();
    }

    fn has(&self, first: u8, vector: u8) -> bool {
        self.page.get(first + vector / 32) >> (vector % 32) & 1 == 1
    }

    fn change(&self, first: u8, vector: u8, to: bool) {
        let (number, bit) = (first + vector / 32, 1 << (vector % 32));
        let old = self.page.get(number);
        self.page
            .put(number, if to { old | bit } else { old & !bit });
    }

    fn highest(&self, first: u8) -> u8 {
        (0..=u8::MAX)
            .rev()
            .find(|&v| self.has(first, v))
            .unwrap_or(0)
    }

    /// "PPR Virtualization"
    fn ppr(&self) {
        let tpr = self.page.get(register::TPR) & 0xff;
        let svi = u32::from(self.svi);
        let ppr = if tpr >> 4 >= svi >> 4 {
            tpr
        } else {
            svi & 0xf0
        };
        self.page.put(register::PPR, ppr);
    }

    /// "Evaluation of Pending Virtual Interrupts"
    fn evaluate(&mut self) {
        self.recognized = u32::from(self.rvi >> 4) > self.page.get(register::PPR) >> 4 & 0xf;
    }

    /// "TPR Virtualization"
    pub(in crate::lapic) fn tpr(&mut self, value: u8) {
        self.page.put(register::TPR, value.into());
        self.ppr();
        self.evaluate();
    }

    /// "EOI Virtualization": the vector, if it exits.
    pub(in crate::lapic) fn eoi(&mut self) -> Option<Vector> {
        self.page.put(register::EOI, 0);
        let vector = self.svi;
        self.change(register::ISR, vector, false);
        self.svi = self.highest(register::ISR);
        self.ppr();
        if self.exits[usize::from(vector / 64)] >> (vector % 64) & 1 == 1 {
            return Some(Vector(vector));
        }
        self.evaluate();
        None
    }

    /// A write of SELF_IPI: "Self-IPI Virtualization", or `false`: an APIC-write VM exit.
    pub(in crate::lapic) fn self_ipi(&mut self, vector: u8) -> bool {
        self.page.put(register::SELF_IPI, vector.into());
        if vector < 16 {
            return false;
        }
        self.posted(vector);
        true
    }

    /// "Posted-Interrupt Processing", of one vector.
    pub(in crate::lapic) fn posted(&mut self, vector: u8) {
        self.change(register::IRR, vector, true);
        self.request(vector);
        self.evaluate();
    }

    /// "Virtual-Interrupt Delivery"
    pub(in crate::lapic) fn deliver(&mut self) -> Option<Vector> {
        if !self.recognized {
            return None;
        }
        let vector = self.rvi;
        self.change(register::ISR, vector, true);
        self.svi = vector;
        self.page.put(register::PPR, (vector & 0xf0).into());
        self.change(register::IRR, vector, false);
        self.rvi = self.highest(register::IRR);
        self.recognized = false;
        // Not in the manual's list at this place, but nothing else would let a nested one of a higher class in.
        self.evaluate();
        Some(Vector(vector))
    }
}

/// The processor's own local APIC, in x2APIC mode with the timer in TSC-deadline mode.
pub(in crate::lapic) struct Physical {
    pub(in crate::lapic) tpr: u8,
    pub(in crate::lapic) irr: Plain,
    pub(in crate::lapic) isr: Plain,
    svr: u32,
    lvt_timer: u32,
    pub(in crate::lapic) deadline: u64,
}

impl Physical {
    /// As the host has it: nothing of a guest's is in it.
    pub(in crate::lapic) const IDLE: Physical = Physical {
        tpr: 0,
        irr: Plain::EMPTY,
        isr: Plain::EMPTY,
        svr: 0x1ff,
        lvt_timer: 0x5_0000,
        deadline: 0,
    };

    pub(in crate::lapic) fn lent(state: PhysicalApic, now: Ticks) -> Self {
        assert_eq!(state.isr, [0; 4], "it could not be put in service");
        assert_eq!(state.irr[0] & 0xffff, 0);
        let mut apic = Self {
            tpr: state.tpr,
            irr: Plain::from_words(state.irr),
            ..Self::IDLE
        };
        apic.program(Programmed {
            lvt_timer: state.lvt_timer,
            svr: state.svr,
        });
        apic.set_deadline(state.deadline, now);
        apic
    }

    /// All of it back, and then it is the host's again.
    pub(in crate::lapic) fn drain(&mut self) -> PhysicalApic {
        let was = core::mem::replace(self, Self::IDLE);
        PhysicalApic {
            tpr: was.tpr,
            svr: was.svr,
            lvt_timer: was.lvt_timer,
            deadline: was.deadline,
            irr: was.irr.words(),
            isr: was.isr.words(),
        }
    }

    /// What a processor does not take raises #GP, here in the hypervisor.
    pub(in crate::lapic) fn program(&mut self, programmed: Programmed) {
        let Programmed { lvt_timer, svr } = programmed;
        assert_eq!(lvt_timer & !0x7_00ff, 0, "reserved bits of LVT timer");
        assert_eq!(lvt_timer & 0x6_0000, 0x4_0000, "TSC-deadline mode");
        assert_eq!(svr & !0xff, 0x100, "SVR: on, and nothing reserved");
        (self.lvt_timer, self.svr) = (lvt_timer, svr);
    }

    pub(in crate::lapic) fn ppr(&self) -> u8 {
        let (tpr, serving) = (self.tpr, self.isr.highest());
        if tpr & 0xf0 >= serving & 0xf0 {
            tpr
        } else {
            serving & 0xf0
        }
    }

    pub(in crate::lapic) fn deliver(&mut self) -> Option<Vector> {
        let vector = self.irr.highest();
        if vector & 0xf0 <= self.ppr() & 0xf0 {
            return None;
        }
        self.irr.clear(vector);
        self.isr.set(vector);
        Some(Vector(vector))
    }

    pub(in crate::lapic) fn eoi(&mut self) -> Option<Vector> {
        let vector = self.isr.highest();
        self.isr.clear(vector);
        (vector != 0).then_some(Vector(vector))
    }

    pub(in crate::lapic) fn set_deadline(&mut self, value: u64, now: Ticks) {
        self.deadline = value;
        self.tick(now);
    }

    pub(in crate::lapic) fn tick(&mut self, now: Ticks) {
        if self.deadline != 0 && self.deadline <= now.0 {
            self.deadline = 0;
            if self.lvt_timer & 0x1_0000 == 0 {
                assert!(self.lvt_timer & 0xff >= 16, "an error nobody sees");
                self.irr.set(self.lvt_timer as u8);
            }
        }
    }
}
