//! The ACPI tables of a hardware-reduced machine (ACPI 6.5, section 4.1, "Hardware-Reduced ACPI").
#![expect(
    clippy::arithmetic_side_effects,
    reason = "tables of a few KiB below 1 MiB, made of what the plan has"
)]

mod dsdt;
mod wdat;

use crate::layout::{ACPI_AREA, ACPI_PM, ECAM, HIGH_RAM, IOAPIC, LOCAL_APIC};
use acpi_tables::fadt::{FADTBuilder, Flags};
use acpi_tables::gas::{AccessSize, AddressSpace, GAS};
use acpi_tables::madt::{
    EnabledStatus, IoApic, LocalInterruptController, MADT, ProcessorLocalApic,
};
use acpi_tables::mcfg::MCFG;
use acpi_tables::rsdp::Rsdp;
use acpi_tables::xsdt::XSDT;
use acpi_tables::{Aml, AmlSink};
use alloc::vec::Vec;
use spec::{Gpa, acpi_pm, cmos};

const OEM_ID: [u8; 6] = *b"BULKHD";
const OEM_TABLE_ID: [u8; 8] = *b"BULKHEAD";
const OEM_REVISION: u32 = 1;

/// IAPC_BOOT_ARCH: no VGA (ACPI 6.5, table 5.10). An 8042 is not there since its bit is clear; a CMOS clock is, since
/// the bit that denies it is clear.
const VGA_NOT_PRESENT: u16 = 1 << 2;
/// FADT's hypervisor vendor identity.
const VENDOR: u64 = u64::from_le_bytes(*b"Bulkhead");

/// The most vCPUs that the tables can name: APIC id 255 means all in xAPIC mode.
pub const MAX_VCPUS: u8 = 254;

/// What the tables tell of.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AcpiFacts {
    /// Number of vCPUs, whose APIC ids are 0 and up; at most [`MAX_VCPUS`]
    pub vcpus: u8,
    /// The most periods that the watchdog can be set to, if there is one
    pub watchdog: Option<u32>,
}

/// Where the RSDP is: the start of the ACPI area.
pub const RSDP: Gpa = ACPI_AREA;

/// All tables, each with its place in the ACPI area, in ascending order and apart from each other.
#[must_use]
pub fn build(facts: &AcpiFacts) -> Vec<(Gpa, Vec<u8>)> {
    let mut area = Area {
        next: RSDP,
        tables: Vec::new(),
    };
    let xsdt_at = Gpa(align(RSDP.0 + Rsdp::len() as u64));
    area.put(&Rsdp::new(OEM_ID, xsdt_at.0));

    // The XSDT comes right behind the RSDP, and its length is that of its header and of an address for each table.
    let count = 3 + u64::from(facts.watchdog.is_some());
    let dsdt_at = Gpa(align(xsdt_at.0 + 36 + count * 8));
    let dsdt = dsdt::dsdt(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    let fadt_at = Gpa(align(dsdt_at.0 + dsdt.len() as u64));
    let fadt = fadt(dsdt_at);
    let mcfg_at = Gpa(align(fadt_at.0 + acpi_tables::fadt::FADT::len() as u64));
    let madt_at = Gpa(align(mcfg_at.0 + MCFG_LEN));
    let madt = madt(facts.vcpus.clamp(1, MAX_VCPUS));
    let wdat_at = Gpa(align(madt_at.0 + bytes(&madt).len() as u64));

    let mut xsdt = XSDT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    xsdt.add_entry(fadt_at.0);
    xsdt.add_entry(mcfg_at.0);
    xsdt.add_entry(madt_at.0);
    if facts.watchdog.is_some() {
        xsdt.add_entry(wdat_at.0);
    }
    area.put(&xsdt);
    area.put(&Bytes(dsdt));
    area.put(&fadt);
    area.put(&mcfg());
    area.put(&madt);
    if let Some(longest) = facts.watchdog {
        area.put(&wdat::wdat(longest));
    }
    area.tables
}

fn align(address: u64) -> u64 {
    address.next_multiple_of(16)
}

/// Tables one behind the other, each at a multiple of 16, as the RSDP must be.
struct Area {
    next: Gpa,
    tables: Vec<(Gpa, Vec<u8>)>,
}

impl Area {
    fn put(&mut self, table: &dyn Aml) {
        let bytes = bytes(table);
        let at = self.next;
        self.next = Gpa(align(at.0 + bytes.len() as u64));
        self.tables.push((at, bytes));
    }
}

fn bytes(table: &dyn Aml) -> Vec<u8> {
    let mut bytes = Vec::new();
    table.to_aml_bytes(&mut bytes);
    bytes
}

/// A table that is bytes already.
struct Bytes(Vec<u8>);

impl Aml for Bytes {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        sink.vec(&self.0);
    }
}

fn pm_register(offset: u8) -> GAS {
    let port = ACPI_PM.0 + u16::from(offset);
    GAS::new(
        AddressSpace::SystemIo,
        8,
        0,
        AccessSize::ByteAccess,
        port.into(),
    )
}

fn fadt(dsdt: Gpa) -> acpi_tables::fadt::FADT {
    // WBINVD works, which the manual wants of every PC. The buttons would be devices, so their fixed registers
    // are denied. There is no FACS, and with hardware-reduced ACPI none is missed.
    let flags = [
        Flags::Wbinvd,
        Flags::PwrButton,
        Flags::SlpButton,
        Flags::ResetRegSup,
        Flags::HwReducedAcpi,
    ];
    let mut fadt = FADTBuilder::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION).dsdt_64(dsdt.0);
    for flag in flags {
        fadt = fadt.flag(flag);
    }
    fadt.century = cmos::register::CENTURY;
    fadt.iapc_boot_arch = VGA_NOT_PRESENT.into();
    fadt.reset_reg = pm_register(acpi_pm::offset::RESET);
    fadt.reset_value = acpi_pm::RESET_VALUE;
    fadt.sleep_control_reg = pm_register(acpi_pm::offset::SLEEP_CONTROL);
    fadt.sleep_status_reg = pm_register(acpi_pm::offset::SLEEP_STATUS);
    fadt.hypervisor_vendor_identity = VENDOR.into();
    fadt.finalize()
}

/// Length of [`mcfg`]: header, reserved bytes, one entry.
const MCFG_LEN: u64 = 36 + 8 + 16;

/// Where configuration space is in memory (PCI Firmware Specification 3.3, section 4.1.2, "MCFG Table Description"): of
/// bus 0 alone.
fn mcfg() -> MCFG {
    let mut mcfg = MCFG::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION);
    mcfg.add_ecam(ECAM.0, 0, 0, 0);
    mcfg
}

/// Local APICs by the entries that ids below 255 have (type 0); one I/O APIC for the GSIs from 0 on. No PC/AT
/// interrupt controllers, and no overrides, since there is no wiring of old to keep.
///
/// There are no processor devices in the DSDT beside them. Linux registers what is here, takes it offline and online
/// again without; with them it would idle through its C-state driver, which has nothing better to offer than HLT.
fn madt(vcpus: u8) -> MADT {
    let local = LocalInterruptController::Address(LOCAL_APIC.0 as u32);
    let mut madt = MADT::new(OEM_ID, OEM_TABLE_ID, OEM_REVISION, local);
    for id in 0..vcpus {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(IoApic::new(0, IOAPIC.0 as u32, 0));
    madt
}

const _: () = {
    // The largest MADT, with the other tables, which take less than a page, fits the area.
    assert!(44 + MAX_VCPUS as u64 * 8 + 12 + 4096 < HIGH_RAM.0 - ACPI_AREA.0);
    assert!(LOCAL_APIC.0 >> 32 == 0);
    assert!(IOAPIC.0 >> 32 == 0);
};

#[cfg(test)]
mod tests;
