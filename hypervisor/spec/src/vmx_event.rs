//! The interruption-information format, which VM-entry interruption information, VM-exit interruption information
//! and IDT-vectoring information share (SDM vol. 3, "VM-Entry Controls for Event Injection"), and the guest's
//! non-register state.

use crate::Vector;
use bitflags::bitflags;

/// What kind of event an interruption-information field describes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u8)]
pub enum EventKind {
    /// External interrupt
    ExternalInterrupt = 0,
    /// Reserved
    Reserved = 1,
    /// Non-maskable interrupt
    Nmi = 2,
    /// Hardware exception
    HardwareException = 3,
    /// Software interrupt: INT n
    SoftwareInterrupt = 4,
    /// Privileged software exception: INT1
    PrivilegedSoftwareException = 5,
    /// Software exception: INT3 or INTO
    SoftwareException = 6,
    /// Other event (not delivered through the IDT)
    Other = 7,
}

/// An interruption-information field.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct InterruptionInfo(pub u32);

impl InterruptionInfo {
    const ERROR_CODE: u32 = 1 << 11;
    const NMI_UNBLOCKING: u32 = 1 << 12;
    const VALID: u32 = 1 << 31;
    /// The bits that the VM-entry field may have set; the others are reserved there.
    pub const ENTRY_BITS: u32 = 0x8000_0fff;

    /// A valid field.
    #[must_use]
    pub const fn new(vector: Vector, kind: EventKind, error_code: bool) -> Self {
        let mut bits = Self::VALID | (kind as u32) << 8 | vector.0 as u32;
        if error_code {
            bits |= Self::ERROR_CODE;
        }
        Self(bits)
    }

    /// Vector of the event.
    #[must_use]
    pub const fn vector(self) -> Vector {
        Vector(self.0 as u8)
    }

    /// Its kind.
    #[must_use]
    pub const fn kind(self) -> EventKind {
        match (self.0 >> 8) & 7 {
            0 => EventKind::ExternalInterrupt,
            1 => EventKind::Reserved,
            2 => EventKind::Nmi,
            3 => EventKind::HardwareException,
            4 => EventKind::SoftwareInterrupt,
            5 => EventKind::PrivilegedSoftwareException,
            6 => EventKind::SoftwareException,
            _ => EventKind::Other,
        }
    }

    /// Whether an error code goes with it.
    #[must_use]
    pub const fn has_error_code(self) -> bool {
        self.0 & Self::ERROR_CODE != 0
    }

    /// VM-exit interruption information only: IRET had removed the blocking of NMIs before it faulted.
    #[must_use]
    pub const fn nmi_unblocking(self) -> bool {
        self.0 & Self::NMI_UNBLOCKING != 0
    }

    /// Whether the field describes anything.
    #[must_use]
    pub const fn is_valid(self) -> bool {
        self.0 & Self::VALID != 0
    }
}

bitflags! {
    /// Guest interruptibility state (SDM vol. 3, "Guest Non-Register State").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Interruptibility: u32 {
        /// Blocking by STI
        const STI = 1 << 0;
        /// Blocking by MOV SS
        const MOV_SS = 1 << 1;
        /// Blocking by SMI
        const SMI = 1 << 2;
        /// Blocking by NMI (with virtual NMIs: virtual-NMI blocking)
        const NMI = 1 << 3;
        /// Enclave interruption
        const ENCLAVE = 1 << 4;
        const _ = !0;
    }
}

/// Guest activity states (SDM vol. 3, "Guest Non-Register State").
pub mod activity {
    /// The processor runs.
    pub const ACTIVE: u32 = 0;
    /// It has executed HLT.
    pub const HLT: u32 = 1;
    /// It has shut down.
    pub const SHUTDOWN: u32 = 2;
    /// It waits for a start-up IPI.
    pub const WAIT_FOR_SIPI: u32 = 3;
}
