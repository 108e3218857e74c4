//! Exit qualifications and the VM-exit instruction information of string I/O (SDM vol. 3, "Exit Qualification" and
//! "Information for VM Exits Due to Instruction Execution").

use crate::cpu::Gpr;
use crate::{Port, Width};
use bitflags::bitflags;

/// Exit qualification for control-register accesses.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct CrAccess(pub u64);

/// The instruction behind a control-register access.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CrAccessKind {
    /// MOV to the control register
    MovTo,
    /// MOV from the control register
    MovFrom,
    /// CLTS
    Clts,
    /// LMSW
    Lmsw,
}

impl CrAccess {
    /// Number of the control register; 0 for CLTS and LMSW.
    #[must_use]
    pub const fn register(self) -> u8 {
        (self.0 & 0xf) as u8
    }

    /// The instruction.
    #[must_use]
    pub const fn kind(self) -> CrAccessKind {
        match (self.0 >> 4) & 3 {
            0 => CrAccessKind::MovTo,
            1 => CrAccessKind::MovFrom,
            2 => CrAccessKind::Clts,
            _ => CrAccessKind::Lmsw,
        }
    }

    /// The general-purpose register of a MOV.
    #[must_use]
    pub const fn gpr(self) -> Gpr {
        Gpr::from_number((self.0 >> 8) as u8)
    }

    /// The operand of LMSW.
    #[must_use]
    pub const fn lmsw_source(self) -> u16 {
        (self.0 >> 16) as u16
    }
}

/// Exit qualification for I/O instructions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct IoAccess(pub u64);

impl IoAccess {
    /// Size of the access; `None` for the encodings that the manual leaves unused.
    #[must_use]
    pub const fn width(self) -> Option<Width> {
        match self.0 & 7 {
            0 => Some(Width::B1),
            1 => Some(Width::B2),
            3 => Some(Width::B4),
            _ => None,
        }
    }

    /// IN or INS, else OUT or OUTS.
    #[must_use]
    pub const fn is_in(self) -> bool {
        self.0 & (1 << 3) != 0
    }

    /// INS or OUTS.
    #[must_use]
    pub const fn is_string(self) -> bool {
        self.0 & (1 << 4) != 0
    }

    /// A REP prefix stands before INS or OUTS.
    #[must_use]
    pub const fn is_repeated(self) -> bool {
        self.0 & (1 << 5) != 0
    }

    /// The port, of DX or of the instruction.
    #[must_use]
    pub const fn port(self) -> Port {
        Port((self.0 >> 16) as u16)
    }
}

/// VM-exit instruction information for INS and OUTS (valid where IA32_VMX_BASIC bit 54 is set).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct StringIoInformation(pub u32);

impl StringIoInformation {
    /// Address size; `None` for the encodings that the manual leaves unused.
    #[must_use]
    pub const fn address_size(self) -> Option<Width> {
        match (self.0 >> 7) & 7 {
            0 => Some(Width::B2),
            1 => Some(Width::B4),
            2 => Some(Width::B8),
            _ => None,
        }
    }

    /// Segment of OUTS's operand: ES, CS, SS, DS, FS, GS, from 0 on. Undefined for INS, which always uses ES.
    #[must_use]
    pub const fn segment(self) -> u8 {
        ((self.0 >> 15) & 7) as u8
    }
}

bitflags! {
    /// Exit qualification for EPT violations.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct EptViolation: u64 {
        /// The access was a data read.
        const READ = 1 << 0;
        /// The access was a data write.
        const WRITE = 1 << 1;
        /// The access was an instruction fetch.
        const FETCH = 1 << 2;
        /// The guest-physical address was readable.
        const READABLE = 1 << 3;
        /// The guest-physical address was writeable.
        const WRITEABLE = 1 << 4;
        /// The guest-physical address was executable.
        const EXECUTABLE = 1 << 5;
        /// The guest-physical address was executable for user-mode linear addresses.
        const USER_EXECUTABLE = 1 << 6;
        /// The guest-linear address field is valid.
        const LINEAR_VALID = 1 << 7;
        /// The access is to the translation of the linear address, not to a paging-structure entry on the way.
        const TRANSLATED = 1 << 8;
        /// NMI unblocking due to IRET
        const NMI_UNBLOCKING = 1 << 12;
        /// The access was asynchronous to instruction execution (trace output and the like).
        const ASYNCHRONOUS = 1 << 16;
        const _ = !0;
    }

    /// Exit qualification for debug exceptions; the pending-debug-exceptions field has the same bits, and
    /// [`DebugBits::ENABLED_BREAKPOINT`] besides.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct DebugBits: u64 {
        /// B0: the condition of breakpoint 0 was met
        const B0 = 1 << 0;
        /// B1
        const B1 = 1 << 1;
        /// B2
        const B2 = 1 << 2;
        /// B3
        const B3 = 1 << 3;
        /// A bus lock was seen (set here where DR6 has it clear)
        const BUS_LOCK = 1 << 11;
        /// At least one breakpoint was met that DR7 enables (pending debug exceptions only)
        const ENABLED_BREAKPOINT = 1 << 12;
        /// BD: a debug register was accessed with DR7.GD set
        const BD = 1 << 13;
        /// BS: single-step
        const BS = 1 << 14;
        /// Inside an RTM region (set here where DR6 has it clear)
        const RTM = 1 << 16;
    }
}
