//! Bit layouts, register numbers, VMCS encodings; address, size and time newtypes.
//!
//! No behaviour and no policy: what a manual defines, written once, with its document and section.
//!
//! Editions in use: Intel 64 and IA-32 Architectures Software Developer's Manual (SDM), order number
//! 325462-083 and later; ACPI 6.5; UEFI 2.10; PCI Express Base Specification 5.0; Linux
//! `Documentation/arch/x86/boot.rst`; Multiboot Specification 0.6.96; Xen 4.20's public headers.
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
pub mod addr;
pub mod apic;
pub mod cmos;
pub mod cpu;
pub mod cpuid;
pub mod ept;
pub mod exit_reason;
pub mod ioapic;
pub mod kernel;
pub mod linux;
pub mod memory_type;
pub mod msr;
pub mod multiboot;
pub mod pci;
pub mod pte;
pub mod pvh;
pub mod qualification;
pub mod state;
pub mod time;
pub mod uart;
pub mod vmcs;
pub mod vmx_controls;
pub mod vmx_error;
pub mod vmx_event;
pub mod vmx_msr;
pub mod watchdog;

pub use addr::{Gpa, Gva, Hpa, Msr, PAGE_SIZE, Port, Vector, Width};
pub use time::{Hz, Nanos, Ticks};
