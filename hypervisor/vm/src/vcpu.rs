//! What belongs to one vCPU and is owned by the core that runs it.

use crate::{Mailbox, Statistics};
use devices::Lapic;
use spec::{Ticks, Vector};

/// The software state of a vCPU. Registers that hardware keeps are in the vendor's control structure.
#[derive(Debug)]
pub struct Vcpu {
    /// Its number in the VM, and its APIC id
    pub index: u32,
    /// Local APIC
    pub lapic: Lapic,
    /// The guest's TSC is the host's plus this, modulo 2^64
    pub(crate) tsc_offset: u64,
    /// IA32_TSC_ADJUST
    pub(crate) tsc_adjust: u64,
    /// CR4.OSXSAVE, which CPUID shows; the guest's changes of it exit
    pub(crate) osxsave: bool,
    /// XCR0
    pub(crate) xcr0: u64,
    /// An NMI waits for its window.
    pub(crate) nmi: bool,
    /// It has executed HLT and nothing has woken it. Set by whoever carries out [`exits::Answer::Halt`]: a single-step
    /// trap on HLT, which only the vendor's state knows of, ends it at once.
    pub halted: bool,
    /// The page-directory-pointer-table entries that the last write to CR0 or CR4 has loaded, where it loads them
    pub pdptes: [u64; 4],
    /// Why the last instruction that was not emulated was not, with its bytes or the address: for the report of a VM
    /// that stops over it
    pub unemulated: Option<emul::Error>,
    /// What it has done to emulated memory last
    pub(crate) instructions: emul::Cache,
    /// What its exits were and cost
    pub statistics: Statistics,
}

/// What the core is to do for a vCPU before it enters it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// Deliver an NMI
    pub nmi: bool,
    /// Deliver this interrupt, and tell [`Vcpu::taken`]
    pub interrupt: Option<Vector>,
}

impl Vcpu {
    /// A vCPU as after power-on. `clock_shift` is the policy's.
    #[must_use]
    pub fn new(index: u32, clock_shift: u8) -> Self {
        Self {
            index,
            lapic: Lapic::new(index, index == 0, clock_shift),
            tsc_offset: 0,
            tsc_adjust: 0,
            osxsave: false,
            xcr0: 1,
            nmi: false,
            halted: false,
            pdptes: [0; 4],
            unemulated: None,
            instructions: emul::Cache::default(),
            statistics: Statistics::default(),
        }
    }

    /// Takes in what came from outside and what its own timer has for it, and says what to deliver.
    #[inline]
    pub fn wants(&mut self, mailbox: &Mailbox, now: Ticks) -> Wants {
        if !mailbox.is_empty() {
            self.nmi |= mailbox.take(&mut self.lapic);
        }
        if self.lapic.next_deadline().is_some_and(|d| d <= now) {
            self.lapic.expire(now);
        }
        Wants {
            nmi: self.nmi,
            interrupt: self.lapic.deliverable(),
        }
    }

    /// The interrupt that [`Vcpu::wants`] named is on its way into the guest.
    #[inline]
    pub fn taken(&mut self, vector: Vector) {
        self.lapic.acknowledge(vector);
        self.halted = false;
    }

    /// The NMI is on its way into the guest.
    pub fn nmi_taken(&mut self) {
        self.nmi = false;
        self.halted = false;
    }

    /// Whether an NMI waits for the guest to be able to take it.
    #[must_use]
    pub fn nmi_waits(&self) -> bool {
        self.nmi
    }

    /// When the core must look at this vCPU again at the latest, for its own timer.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<Ticks> {
        self.lapic.next_deadline()
    }
}
