//! The PCI host bridge (PCI Firmware Specification 3.3, section 4).

use crate::layout::{ECAM, PCI_CONFIG, PCI_MEMORY, PCI_PORTS};
use acpi_tables::Aml;
use acpi_tables::AmlSink;
use acpi_tables::aml::{
    AddressSpace, AddressSpaceCacheable, And, Arg, CreateDWordField, Device, EISAName, Else, Equal,
    IO, If, Memory32Fixed, Method, Name, NotEqual, ONE, Or, Path, ResourceTemplate, Return, Uuid,
    ZERO,
};
use spec::pci::{ECAM_BUS_SIZE, osc};

/// A PCI Express host bridge with bus 0. No function has an interrupt pin, so there is no `_PRT`.
pub(super) fn root(aml: &mut dyn AmlSink) {
    let bus = AddressSpace::new_bus_number(0u16, 0);
    let config = IO::new(PCI_CONFIG.0, PCI_CONFIG.0, 1, 8);
    let ports = AddressSpace::new_io(PCI_PORTS.0.0, PCI_PORTS.1.0, None);
    let memory = AddressSpace::new_memory(
        AddressSpaceCacheable::NotCacheable,
        true,
        PCI_MEMORY.0 as u32,
        (ECAM.0 as u32).saturating_sub(1),
        None,
    );
    Device::new(
        "_SB_.PCI0".into(),
        alloc::vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0A08")),
            &Name::new("_CID".into(), &EISAName::new("PNP0A03")),
            &Name::new("_SEG".into(), &ZERO),
            &Name::new("_BBN".into(), &ZERO),
            &Name::new("_UID".into(), &ZERO),
            // Access to memory by its functions sees what the processors' caches hold.
            &Name::new("_CCA".into(), &ONE),
            &Name::new("_CBA".into(), &(ECAM.0 as u32)),
            &Name::new(
                "_CRS".into(),
                &ResourceTemplate::new(alloc::vec![&bus, &config, &ports, &memory]),
            ),
            &OperatingSystemCapabilities,
        ],
    )
    .to_aml_bytes(aml);
}

/// `_OSC`, which each PCI Express host bridge has to have. The guest is granted the PCI Express capability structures,
/// and no more, since there is no more: no hot-plug, no power management events, no error reporting.
struct OperatingSystemCapabilities;

impl Aml for OperatingSystemCapabilities {
    fn to_aml_bytes(&self, sink: &mut dyn AmlSink) {
        // Double words of the buffer in the fourth argument: status, what the guest supports, what it wants to control.
        let (buffer, status, wanted) = (Arg(3), Path::new("STAT"), Path::new("CTRL"));
        let granted = osc::EXPRESS_CAPABILITY;
        Method::new(
            "_OSC".into(),
            4,
            true,
            alloc::vec![
                &CreateDWordField::new(&status, &buffer, &ZERO),
                &CreateDWordField::new(&wanted, &buffer, &8u8),
                &If::new(
                    &Equal::new(&Arg(0), &Uuid::new(osc::UUID)),
                    alloc::vec![
                        &If::new(
                            &NotEqual::new(&And::new(&ZERO, &wanted, &!granted), &ZERO),
                            alloc::vec![&Or::new(
                                &status,
                                &status,
                                &(osc::CAPABILITIES_MASKED as u8),
                            )],
                        ),
                        &And::new(&wanted, &wanted, &(granted as u8)),
                    ],
                ),
                &Else::new(alloc::vec![&Or::new(
                    &status,
                    &status,
                    &(osc::UNRECOGNIZED_UUID as u8),
                )]),
                &Return::new(&buffer),
            ],
        )
        .to_aml_bytes(sink);
    }
}

/// Configuration space is in no bridge's window; whose it is, is told by a motherboard resource (section 4.1.2, note 2).
pub(super) fn motherboard(aml: &mut dyn AmlSink) {
    let ecam = Memory32Fixed::new(true, ECAM.0 as u32, ECAM_BUS_SIZE as u32);
    Device::new(
        "_SB_.ECAM".into(),
        alloc::vec![
            &Name::new("_HID".into(), &EISAName::new("PNP0C02")),
            &Name::new("_UID".into(), &ZERO),
            &Name::new("_CRS".into(), &ResourceTemplate::new(alloc::vec![&ecam])),
        ],
    )
    .to_aml_bytes(aml);
}

const _: () = assert!(ECAM.0 >> 32 == 0 && PCI_MEMORY.0 < ECAM.0);
