//! The local APIC: SDM vol. 3, chapter "Advanced Programmable Interrupt Controller (APIC)".
//!
//! Its MSR numbers and IA32_APIC_BASE are in [`crate::msr`].

use crate::Gpa;
use bitflags::bitflags;
use core::fmt;

/// Who carries a vCPU's local APIC: keeps its IRR, ISR and task priority, delivers its interrupts and takes their ends.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub enum Carrier {
    /// The hypervisor: each access exits
    Software,
    /// The processor on the virtual-APIC page (SDM vol. 3, "APIC Virtualization and Virtual Interrupts")
    Accelerated,
    /// The processor's own local APIC, lent to the one vCPU of its core
    Direct,
}

impl fmt::Display for Carrier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Software => "software",
            Self::Accelerated => "accelerated",
            Self::Direct => "direct",
        })
    }
}

/// What the processor's own local APIC is to hold, or held, for the guest to which it is lent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct PhysicalApic {
    /// Task priority
    pub tpr: u8,
    /// Spurious-interrupt vector register, of which the processor's gets the vector and the enable flag; taken back, it says nothing new
    pub svr: u32,
    /// LVT timer, of which the processor's gets the vector and the mask; taken back, it says nothing new
    pub lvt_timer: u32,
    /// IA32_TSC_DEADLINE: guest and host have the same time.
    pub deadline: u64,
    /// Requested, bit v for vector v
    pub irr: [u64; 4],
    /// In service; lending leaves it aside, for nothing may be
    pub isr: [u64; 4],
}

/// Where a local APIC's registers lie in memory after reset ("Local APIC Status and Location").
pub const DEFAULT_BASE: Gpa = Gpa(0xfee0_0000);

/// Vectors below this one are the processor's own; an interrupt that has one is an error ("Valid Interrupt Vectors").
pub const FIRST_VECTOR: u8 = 16;

/// Destination of an x2APIC message to everyone ("Broadcast/Self Delivery Mode").
pub const X2APIC_BROADCAST: u32 = u32::MAX;
/// Destination of an xAPIC message to everyone.
pub const XAPIC_BROADCAST: u32 = 0xff;

/// Register numbers: bits 11:4 of the memory offset, and the distance from MSR 0x800
/// ("Local APIC Register Address Map", "x2APIC Register Address Space").
pub mod register {
    /// Local APIC ID
    pub const ID: u8 = 0x02;
    /// Local APIC version
    pub const VERSION: u8 = 0x03;
    /// Task priority
    pub const TPR: u8 = 0x08;
    /// Arbitration priority (xAPIC only)
    pub const APR: u8 = 0x09;
    /// Processor priority
    pub const PPR: u8 = 0x0a;
    /// End of interrupt
    pub const EOI: u8 = 0x0b;
    /// Remote read (xAPIC only)
    pub const RRD: u8 = 0x0c;
    /// Logical destination
    pub const LDR: u8 = 0x0d;
    /// Destination format (xAPIC only)
    pub const DFR: u8 = 0x0e;
    /// Spurious-interrupt vector
    pub const SVR: u8 = 0x0f;
    /// In service, eight words
    pub const ISR: u8 = 0x10;
    /// Trigger mode, eight words
    pub const TMR: u8 = 0x18;
    /// Interrupt request, eight words
    pub const IRR: u8 = 0x20;
    /// Error status
    pub const ESR: u8 = 0x28;
    /// LVT of corrected machine checks
    pub const LVT_CMCI: u8 = 0x2f;
    /// Interrupt command, low half; in x2APIC mode all 64 bits
    pub const ICR: u8 = 0x30;
    /// Interrupt command, high half (xAPIC only)
    pub const ICR_HIGH: u8 = 0x31;
    /// LVT timer
    pub const LVT_TIMER: u8 = 0x32;
    /// LVT thermal sensor
    pub const LVT_THERMAL: u8 = 0x33;
    /// LVT performance counters
    pub const LVT_PERFORMANCE: u8 = 0x34;
    /// LVT LINT0
    pub const LVT_LINT0: u8 = 0x35;
    /// LVT LINT1
    pub const LVT_LINT1: u8 = 0x36;
    /// LVT error
    pub const LVT_ERROR: u8 = 0x37;
    /// Timer initial count
    pub const TIMER_INITIAL: u8 = 0x38;
    /// Timer current count
    pub const TIMER_CURRENT: u8 = 0x39;
    /// Timer divide configuration
    pub const TIMER_DIVIDE: u8 = 0x3e;
    /// Self IPI (x2APIC only)
    pub const SELF_IPI: u8 = 0x3f;
}

bitflags! {
    /// Spurious-interrupt vector register ("Spurious Interrupt").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Svr: u32 {
        /// Spurious vector
        const VECTOR = 0xff;
        /// APIC software enable
        const ENABLE = 1 << 8;
        /// Focus processor checking off
        const FOCUS_OFF = 1 << 9;
        /// EOI-broadcast suppression
        const EOI_SUPPRESS = 1 << 12;
    }

    /// An entry of the local vector table ("Local Vector Table"); which bits an entry has depends on the entry.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Lvt: u32 {
        /// Vector
        const VECTOR = 0xff;
        /// Delivery mode, three bits
        const DELIVERY = 7 << 8;
        /// Delivery status, read-only
        const STATUS = 1 << 12;
        /// Active low
        const ACTIVE_LOW = 1 << 13;
        /// Remote IRR, read-only
        const REMOTE_IRR = 1 << 14;
        /// Level-triggered
        const LEVEL = 1 << 15;
        /// Masked
        const MASKED = 1 << 16;
        /// Timer: periodic
        const PERIODIC = 1 << 17;
        /// Timer: TSC-deadline
        const TSC_DEADLINE = 1 << 18;
    }

    /// Error status register ("Error Handling").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Esr: u32 {
        /// A vector below 16 was to be sent
        const SEND_ILLEGAL_VECTOR = 1 << 5;
        /// A vector below 16 was received, also from the local vector table or from oneself
        const RECEIVE_ILLEGAL_VECTOR = 1 << 6;
        /// A reserved register was touched (xAPIC only)
        const ILLEGAL_REGISTER = 1 << 7;
    }

    /// The low half of the interrupt command register ("Interrupt Command Register (ICR)").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Icr: u32 {
        /// Vector
        const VECTOR = 0xff;
        /// Delivery mode, three bits
        const DELIVERY = 7 << 8;
        /// Destination mode: logical
        const LOGICAL = 1 << 11;
        /// Delivery status, read-only, xAPIC only
        const STATUS = 1 << 12;
        /// Level: assert
        const ASSERT = 1 << 14;
        /// Trigger mode: level
        const LEVEL = 1 << 15;
        /// Destination shorthand, two bits
        const SHORTHAND = 3 << 18;
    }
}

/// Delivery modes as ICR, LVT and redirection entries encode them.
pub mod delivery {
    /// The vector, to all that match
    pub const FIXED: u8 = 0;
    /// The vector, to the one with the lowest priority
    pub const LOWEST_PRIORITY: u8 = 1;
    /// System management interrupt
    pub const SMI: u8 = 2;
    /// Non-maskable interrupt
    pub const NMI: u8 = 4;
    /// INIT
    pub const INIT: u8 = 5;
    /// Start-up
    pub const START_UP: u8 = 6;
    /// As from an 8259A
    pub const EXT_INT: u8 = 7;
}

/// Destination shorthands as ICR encodes them.
pub mod shorthand {
    /// None: the destination field counts
    pub const NONE: u8 = 0;
    /// Oneself
    pub const SELF: u8 = 1;
    /// All and oneself
    pub const ALL: u8 = 2;
    /// All but oneself
    pub const ALL_BUT_SELF: u8 = 3;
}

/// The bits of the divide configuration register ("Divide Configuration Register").
pub const DIVIDE_MASK: u32 = 0b1011;
