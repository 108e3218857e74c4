//! Chips: UART, local APIC, I/O APIC, CMOS clock, ACPI PM, PCI, watchdog; glue beside each.
//!
//! A chip is a state machine: it knows no address, no lock, no vCPU and no clock. Whoever calls it says which
//! register is meant and what time it is, and carries out what it answers. Any access in any order is answered
//! without panic; nothing is allocated after creation.
#![no_std]
#![cfg_attr(
    not(test),
    deny(
        clippy::arithmetic_side_effects,
        clippy::expect_used,
        clippy::get_unwrap,
        clippy::indexing_slicing,
        clippy::panic,
        clippy::string_slice,
        clippy::todo,
        clippy::unimplemented,
        clippy::unreachable,
        clippy::unwrap_used
    )
)]

pub mod acpi_pm;
pub mod cmos;
pub mod interrupt;
pub mod ioapic;
pub mod lapic;
pub mod pci;
pub mod uart;
pub mod watchdog;

pub use acpi_pm::AcpiPm;
pub use cmos::Cmos;
pub use interrupt::{Delivery, Destination};
pub use ioapic::IoApic;
pub use lapic::Lapic;
pub use uart::Uart;
pub use watchdog::Watchdog;
