//! The DSDT: the devices that cannot be found otherwise.

mod pci;

use crate::layout::{CMOS, UART, UART_GSI};
use acpi_tables::aml::{Device, EISAName, IO, Interrupt, Name, Package, ResourceTemplate, ZERO};
use acpi_tables::sdt::Sdt;
use acpi_tables::{Aml, AmlSink};
use alloc::vec::Vec;
use spec::acpi_pm::SLP_TYP_S5;

/// Revision 2: integers have 64 bits.
const REVISION: u8 = 2;
/// Length of a table's header.
const HEADER: u32 = 36;

pub(super) fn dsdt(oem_id: [u8; 6], oem_table_id: [u8; 8], oem_revision: u32) -> Vec<u8> {
    let mut table = Sdt::new(
        *b"DSDT",
        HEADER,
        REVISION,
        oem_id,
        oem_table_id,
        oem_revision,
    );
    let mut aml = Vec::new();
    // Hardware-reduced ACPI takes the sleep type from the first element alone (ACPI 6.5, section 7.4.2, "\_Sx").
    Name::new(
        "_S5_".into(),
        &Package::new(alloc::vec![&SLP_TYP_S5, &ZERO, &ZERO, &ZERO]),
    )
    .to_aml_bytes(&mut aml);
    uart(&mut aml);
    clock(&mut aml);
    pci::root(&mut aml);
    pci::motherboard(&mut aml);
    table.append_slice(&aml);
    table.as_slice().to_vec()
}

/// The UART. Its interrupt is edge-triggered and active high, as COM1's is on every PC.
fn uart(aml: &mut dyn AmlSink) {
    let io = IO::new(UART.0, UART.0, 1, 8);
    let interrupt = Interrupt::new(true, true, false, false, UART_GSI.into());
    Device::new(
        "_SB_.COM1".into(),
        alloc::vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0501")),
            &Name::new("_UID".into(), &ZERO),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(alloc::vec![&io, &interrupt])
            ),
        ],
    )
    .to_aml_bytes(aml);
}

/// The CMOS clock, without its interrupt: it is read, and wakes nobody.
fn clock(aml: &mut dyn AmlSink) {
    let io = IO::new(CMOS.0, CMOS.0, 1, 2);
    Device::new(
        "_SB_.RTC_".into(),
        alloc::vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0B00")),
            &Name::new("_CRS".into(), &ResourceTemplate::new(alloc::vec![&io])),
        ],
    )
    .to_aml_bytes(aml);
}
