//! What belongs to one vCPU and is owned by the core that runs it.

use crate::{Kind, Mailbox, Recorder, mailbox::Taken};
use devices::Lapic;
use spec::apic::Carrier;
use spec::state::Activity;
use spec::{Ticks, Vector};

/// The software state of a vCPU: a value that its core owns, made anew when its VM starts. Registers that hardware keeps are in
/// the vendor's control structure.
#[derive(Debug)]
pub struct Vcpu {
    /// Its number in the VM, and its APIC id
    pub index: u32,
    /// Whether it runs instructions. Whoever carries out [`exits::Answer::Halt`] sets [`Activity::Halted`]: a single-step trap
    /// on HLT, which only the vendor's state knows of, ends it at once. All else happens here.
    pub activity: Activity,
    /// An NMI waits for its window, or for the start of a vCPU that waits for it.
    pub(crate) nmi: bool,
    /// Local APIC
    pub lapic: Lapic,
    /// What may carry the local APIC has changed, or could have: its owner looks before it enters the vCPU again, and clears this
    pub unsettled: bool,
    /// The guest's TSC is the host's plus this, modulo 2^64
    pub(crate) tsc_offset: u64,
    /// IA32_TSC_ADJUST
    pub(crate) tsc_adjust: u64,
    /// CR4.OSXSAVE, which CPUID shows; the guest's changes of it exit
    pub(crate) osxsave: bool,
    /// XCR0
    pub(crate) xcr0: u64,
    /// A start-up that has come and is not carried out yet
    start_up: Option<u8>,
    /// The page-directory-pointer-table entries that the last write to CR0 or CR4 has loaded, where it loads them
    pub pdptes: [u64; 4],
    /// Why the last instruction that was not emulated was not, with its bytes or the address: for the report of a VM
    /// that stops over it
    pub unemulated: Option<emul::Error>,
    /// Its last exits, for that report too
    pub flight: Recorder,
    /// What it has done to emulated memory last
    pub(crate) instructions: emul::Cache,
}

/// What the core is to do for a vCPU before it enters it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// Deliver an NMI, and tell [`Vcpu::nmi_taken`]
    pub nmi: bool,
    /// Deliver this interrupt, and tell [`Vcpu::taken`]; none where the processor does that
    pub interrupt: Option<Vector>,
    /// Load the state of [`crate::Vm::start_up`] with this vector, and tell [`Vcpu::started_up`]
    pub start_up: Option<u8>,
}

impl Wants {
    /// Whether there is anything to do.
    #[inline]
    #[must_use]
    pub const fn any(&self) -> bool {
        self.nmi || self.interrupt.is_some() || self.start_up.is_some()
    }
}

/// As many exits without an instruction in between are without an end: a delivery through an IDT, stacks and tables that all fault
/// takes a handful, and where another processor's writes have an instruction tried again they do not come in step for ever.
const ENDLESS: u32 = 1 << 16;

/// How often in a row code that does not look like what came there is tried again before it is taken for that.
const TRIES: u32 = 1 << 10;

impl Vcpu {
    /// A vCPU as after power-on: the first runs, the others wait to be started. `clock_shift` is the policy's.
    #[must_use]
    pub fn new(index: u32, clock_shift: u8) -> Self {
        Self {
            index,
            activity: if index == 0 {
                Activity::Active
            } else {
                Activity::WaitForSipi
            },
            nmi: false,
            lapic: Lapic::new(index, index == 0, clock_shift),
            unsettled: false,
            tsc_offset: 0,
            tsc_adjust: 0,
            osxsave: false,
            xcr0: 1,
            start_up: None,
            pdptes: [0; 4],
            unemulated: None,
            flight: Recorder::default(),
            instructions: emul::Cache::default(),
        }
    }

    /// Takes in what came from outside and what its own timer has for it, and says what to deliver.
    // Every exit comes here, and mostly finds nothing: a call would cost more than the look.
    #[inline(always)]
    pub fn wants(&mut self, mailbox: &Mailbox, now: Ticks) -> Wants {
        if !mailbox.is_empty() {
            let taken = mailbox.take(&mut self.lapic);
            self.signals(taken);
        }
        if self.activity == Activity::WaitForSipi {
            // Interrupts are not taken, and an NMI is held (SDM vol. 3, "Activity State", of VM entries, has the list of what
            // that state blocks). The timer was stopped by the INIT.
            return Wants {
                start_up: self.start_up,
                ..Wants::default()
            };
        }
        self.lapic.expire(now);
        Wants {
            nmi: self.nmi,
            interrupt: match self.lapic.carrier() {
                Carrier::Software => self.lapic.deliverable(),
                Carrier::Accelerated | Carrier::Direct => None,
            },
            start_up: None,
        }
    }

    /// Whether its local APIC has an interrupt for it, whoever carries that.
    #[inline]
    #[must_use]
    pub fn has_interrupt(&self) -> bool {
        self.lapic.interrupts()
    }

    fn signals(&mut self, taken: Taken) {
        if taken.init {
            self.init();
        }
        self.nmi |= taken.nmi;
        // One that runs ignores a start-up, and one that is about to run ignores another.
        if self.activity == Activity::WaitForSipi && self.start_up.is_none() {
            self.start_up = taken.start_up;
        }
    }

    /// INIT, but for what the taking of it from the mailbox has done to the local APIC. The TSC and IA32_TSC_ADJUST, PAT and XCR0
    /// stay (SDM vol. 3, table "IA-32 and Intel 64 Processor States Following Power-up, Reset, or INIT"). What is pending goes, as does
    /// what software keeps of registers that INIT clears.
    fn init(&mut self) {
        self.activity = Activity::WaitForSipi;
        self.unsettled = true;
        self.start_up = None;
        self.nmi = false;
        self.osxsave = false;
        self.pdptes = [0; 4];
        self.unemulated = None;
    }

    /// The state of the start-up that [`Vcpu::wants`] named is loaded: the vCPU runs.
    pub fn started_up(&mut self) {
        self.activity = Activity::Active;
        self.start_up = None;
    }

    /// The interrupt that [`Vcpu::wants`] named is on its way into the guest.
    #[inline]
    pub fn taken(&mut self, vector: Vector) {
        self.lapic.acknowledge(vector);
        self.activity = Activity::Active;
    }

    /// The NMI is on its way into the guest.
    pub fn nmi_taken(&mut self) {
        self.nmi = false;
        self.activity = Activity::Active;
    }

    /// Whether an NMI waits for the guest to be able to take it.
    #[must_use]
    pub fn nmi_waits(&self) -> bool {
        self.nmi
    }

    /// Notes that it has completed no instruction by the exit that its flight recorder has kept last; says whether it has done nothing
    /// else for too long.
    #[must_use]
    pub fn is_stuck(&mut self, kind: Kind) -> bool {
        self.flight.repeats(kind) >= ENDLESS
    }

    /// Whether code that does not look like what came here is worth another try: what another processor changes is another the next time.
    #[must_use]
    pub(crate) fn tries_afresh(&self) -> bool {
        self.flight.row() < TRIES
    }

    /// When the core must look at this vCPU again at the latest, for its own timer.
    #[inline]
    #[must_use]
    pub fn deadline(&self) -> Option<Ticks> {
        self.lapic.next_deadline()
    }

    /// What the guest's TSC is ahead of the host's, modulo 2^64.
    #[must_use]
    pub const fn tsc_offset(&self) -> u64 {
        self.tsc_offset
    }

    /// XCR0 as the guest has set it.
    #[must_use]
    pub const fn xcr0(&self) -> u64 {
        self.xcr0
    }
}
