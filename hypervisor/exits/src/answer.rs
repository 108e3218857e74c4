//! What the VM decides about an exit.

use spec::{Ticks, Vector};

/// What becomes of the vCPU. General-purpose registers have been changed in place; all else is said here.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[must_use]
#[repr(u8)]
pub enum Answer {
    /// Run on at the same RIP: the instruction, if there was one, is tried again.
    Retry,
    /// The same, once the processor has forgotten the translations of the guest's own tables: it has come here by one that they do not
    /// have any more, and would again.
    RetryAfresh,
    /// The instruction is done: RIP moves past it.
    Advance,
    /// As [`Answer::Advance`], after this change of a register that the vendor crate keeps.
    Write(SystemWrite),
    /// As [`Answer::Advance`], but by a length that our own decoder found, with new flags and, where the
    /// instruction changed it, stack pointer: for instructions that `emul` carried out.
    Emulated {
        /// Bytes to move RIP by; 0 for a repeated string instruction that has more to do
        length: u8,
        /// New RFLAGS
        rflags: u64,
        /// New stack pointer, if the instruction changed it
        rsp: Option<u64>,
    },
    /// Deliver this to the guest; RIP stays.
    Inject(Event),
    /// The instruction is done, and the vCPU sleeps until an interrupt is pending.
    Halt,
    /// The VM ends here.
    Stop(Stop),
}

/// An event for the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Event {
    /// An external interrupt.
    Interrupt(Vector),
    /// A non-maskable interrupt.
    Nmi,
    /// A fault, with its error code where the vector has one.
    Exception {
        /// Which
        vector: Vector,
        /// Error code, for the vectors that push one
        error_code: Option<u32>,
    },
    /// A debug exception, reflected: these bits of DR6 are set as well.
    Debug {
        /// Bits 3:0, BD, BS and RTM where DR6 has them (SDM vol. 3, "Exit Qualification for Debug Exceptions")
        dr6: u64,
    },
    /// A page fault: CR2 is set as well.
    PageFault {
        /// Faulting linear address
        address: u64,
        /// Error code
        error_code: u32,
    },
}

impl Event {
    /// #GP(0)
    pub const GP0: Event = Event::Exception {
        vector: spec::cpu::vector::GP,
        error_code: Some(0),
    };
    /// #UD
    pub const UD: Event = Event::Exception {
        vector: spec::cpu::vector::UD,
        error_code: None,
    };
}

/// A change of a register that lives in the vendor's control structure or in the processor.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SystemWrite {
    /// The stack pointer, which hardware keeps
    Rsp(u64),
    /// CR0, already judged
    Cr0(u64),
    /// CR4, already judged
    Cr4(u64),
    /// IA32_EFER, already judged
    Efer(u64),
    /// IA32_PAT, already judged
    Pat(u64),
    /// XCR0, already judged
    Xcr0(u64),
    /// The guest's TSC runs ahead of the host's by this much, modulo 2^64
    TscOffset(u64),
}

/// Why a VM ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Stop {
    /// The guest asked for power-off.
    PowerOff,
    /// The guest asked for a reset.
    Reset,
    /// The guest's first vCPU shut down (triple fault): a reset, reported.
    TripleFault,
    /// The guest did what we do not carry out; the text says what.
    Unsupported(&'static str),
    /// The guest exits without end, and completes no instruction in between.
    ExitLoop,
    /// A fault of ours met while serving this vCPU.
    Bug(&'static str),
}

/// Until when a vCPU may sleep or run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Until {
    /// Until something is sent to it
    Event,
    /// Until this time at the latest
    Time(Ticks),
}
