//! The I/O APIC: Intel 82093AA data sheet (290566-001), section 3, and the EOI register of the I/O Controller Hubs
//! (Intel ICH10 data sheet 319973, section 13.5, "APIC Registers").

use bitflags::bitflags;

/// Offsets in the memory window.
pub mod offset {
    /// IOREGSEL: which register the data window shows
    pub const SELECT: u16 = 0x00;
    /// IOWIN: the data window
    pub const WINDOW: u16 = 0x10;
    /// EOI (version 0x20): the vector whose remote IRR bits go
    pub const EOI: u16 = 0x40;
}

/// Register numbers behind IOREGSEL.
pub mod register {
    /// Identification: bits 27:24
    pub const ID: u8 = 0x00;
    /// Version, bits 7:0; number of the last redirection entry, bits 23:16
    pub const VERSION: u8 = 0x01;
    /// Arbitration identification: bits 27:24
    pub const ARBITRATION: u8 = 0x02;
    /// Low half of the first redirection entry; the high half follows, then the next entry
    pub const REDIRECTION: u8 = 0x10;
}

/// Bytes in the memory window, as the MADT has it.
pub const WINDOW_SIZE: u64 = 0x1000;

/// Input pins.
pub const PINS: u8 = 24;

/// The version with an EOI register.
pub const VERSION: u8 = 0x20;

bitflags! {
    /// Redirection table entry (82093AA, section 3.2.4, "IOREDTBL").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Redirection: u64 {
        /// Interrupt vector
        const VECTOR = 0xff;
        /// Delivery mode, three bits, as in the local APIC's ICR
        const DELIVERY = 7 << 8;
        /// Destination mode: logical
        const LOGICAL = 1 << 11;
        /// Delivery status, read-only
        const STATUS = 1 << 12;
        /// Active low
        const ACTIVE_LOW = 1 << 13;
        /// Remote IRR, read-only: a level interrupt was sent and not yet ended
        const REMOTE_IRR = 1 << 14;
        /// Level-triggered
        const LEVEL = 1 << 15;
        /// Masked
        const MASKED = 1 << 16;
        /// Destination
        const DESTINATION = 0xff << 56;
    }
}

impl Redirection {
    /// The bits that software may write; the others are reserved or read-only.
    pub const WRITABLE: Redirection = Redirection::all()
        .difference(Redirection::STATUS)
        .difference(Redirection::REMOTE_IRR);
}
