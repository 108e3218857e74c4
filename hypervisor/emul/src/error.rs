//! Why an instruction was not carried out.

use crate::fetch::Code;
use crate::walk::WalkError;
use spec::cpu::vector;
use spec::pte::PageFaultCode;
use spec::state::CpuState;
use spec::{Gpa, Gva, Vector};

/// A fault for the guest.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Fault {
    /// Which
    pub vector: Vector,
    /// Its error code; `None` also in real-address mode, which pushes none
    pub error_code: Option<u32>,
    /// The address that goes into CR2, for a page fault
    pub cr2: Option<u64>,
}

impl Fault {
    /// #GP(0), or #GP in real-address mode.
    pub(crate) fn protection(cpu: &CpuState) -> Self {
        Self::zero(cpu, vector::GP)
    }

    /// #SS(0), or #SS in real-address mode.
    pub(crate) fn stack(cpu: &CpuState) -> Self {
        Self::zero(cpu, vector::SS)
    }

    /// #AC(0), which comes at privilege level 3 alone.
    pub(crate) const fn alignment() -> Self {
        Self {
            vector: vector::AC,
            error_code: Some(0),
            cr2: None,
        }
    }

    fn zero(cpu: &CpuState, vector: Vector) -> Self {
        Self {
            vector,
            error_code: (!cpu.is_real()).then_some(0),
            cr2: None,
        }
    }

    pub(crate) fn page(code: PageFaultCode, address: Gva) -> Self {
        Self {
            vector: vector::PF,
            error_code: Some(code.bits()),
            cr2: Some(address.0),
        }
    }
}

/// Why an instruction was not carried out. Registers are as they were; memory and chips too, unless a chip or
/// another processor of the guest took memory away in the middle.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Error {
    /// The guest gets this fault
    Inject(Fault),
    /// The guest's tables or code changed meanwhile: the processor must try the instruction itself again
    Retry,
    /// An instruction that is not emulated, or no instruction. What becomes of it is the caller's choice; an
    /// invalid-opcode fault would be a lie about the processor, so a report with these bytes is the better
    /// answer where the guest's kernel (privilege level 0) ran it.
    Unsupported(Code),
    /// The instruction itself or a page table of the guest lies outside its RAM
    Outside(Gpa),
}

impl From<Fault> for Error {
    fn from(fault: Fault) -> Self {
        Self::Inject(fault)
    }
}

impl From<WalkError> for Error {
    fn from(error: WalkError) -> Self {
        match error {
            WalkError::Fault { code, address } => Self::Inject(Fault::page(code, address)),
            WalkError::Outside(gpa) => Self::Outside(gpa),
            WalkError::Busy => Self::Retry,
        }
    }
}
