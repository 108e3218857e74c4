use super::*;
use crate::tables::tests::made;
use acpi_tables::Aml;
use acpi_tables::madt::{EnabledStatus, LocalInterruptController, MADT, ProcessorLocalApic};
use alloc::vec;
use proptest::prelude::*;

/// A table with these entries behind its own eight bytes.
fn table(entries: &[&[u8]]) -> Vec<u8> {
    let mut content = vec![0, 0, 0xe0, 0xfe, 1, 0, 0, 0];
    content.extend(entries.concat());
    made(*b"APIC", &content)
}

/// A processor of the second kind.
fn x2apic(id: u32, flags: u8) -> Vec<u8> {
    let mut entry = vec![9, 16, 0, 0];
    entry.extend(id.to_le_bytes());
    entry.extend([flags, 0, 0, 0, 0x77, 0, 0, 0]);
    entry
}

fn listed(apic_id: u32, enabled: bool) -> Listed {
    Listed { apic_id, enabled }
}

#[test]
fn what_a_machine_of_four_says() {
    // Another program's idea of the format; as QEMU's firmware fills it.
    let oem = (*b"BOCHS ", *b"BXPC    ");
    let address = LocalInterruptController::Address(0xfee0_0000);
    let mut madt = MADT::new(oem.0, oem.1, 1, address);
    for id in 0..4 {
        madt.add_structure(ProcessorLocalApic::new(id, id, EnabledStatus::Enabled));
    }
    madt.add_structure(acpi_tables::madt::IoApic::new(0, 0xfec0_0000, 0));
    let mut bytes = Vec::new();
    madt.to_aml_bytes(&mut bytes);
    assert_eq!(
        Madt::parse(&bytes),
        Ok(Madt {
            processors: (0..4).map(|id| listed(id, true)).collect(),
            io_apics: vec![IoApic {
                address: Hpa(0xfec0_0000),
                gsi_base: 0
            }],
            isa_overrides: vec![],
        })
    );
}

#[test]
fn both_kinds_of_processors_count_once() {
    let madt = Madt::parse(&table(&[
        &[0, 8, 1, 4, 1, 0, 0, 0],
        &x2apic(4, 1),
        &x2apic(300, 1),
        &x2apic(301, 3),
        &[0, 8, 2, 6, 1, 0, 0, 0],
    ]));
    let expected = [4, 300, 301, 6].map(|id| listed(id, true));
    assert_eq!(madt.unwrap().processors, expected);
}

#[test]
fn a_processor_is_ready_or_may_come_or_is_none() {
    let madt = Madt::parse(&table(&[
        &x2apic(0, 0b01),
        &x2apic(1, 0b10),
        &x2apic(2, 0b00),
        &x2apic(u32::MAX, 0b01),
        &[0, 8, 3, 0xff, 1, 0, 0, 0],
        &[0, 8, 3, 3, 0, 0, 0, 0],
        &[0, 8, 4, 4, 2, 0, 0, 0],
    ]));
    let expected = [listed(0, true), listed(1, false), listed(4, false)];
    assert_eq!(madt.unwrap().processors, expected);
}

#[test]
fn overrides_say_where_and_how() {
    let madt = Madt::parse(&table(&[
        &[2, 10, 0, 0, 2, 0, 0, 0, 0, 0],
        &[2, 10, 0, 9, 9, 0, 0, 0, 0b1101, 0],
        &[2, 10, 0, 11, 0, 1, 0, 0, 0b1111, 0],
        // Reserved ways, and a bus that nobody has.
        &[2, 10, 0, 5, 5, 0, 0, 0, 0b1010, 0],
        &[2, 10, 1, 6, 6, 0, 0, 0, 0, 0],
    ]));
    let wired = |irq, gsi, active_low, level| IsaOverride {
        irq,
        gsi,
        active_low,
        level,
    };
    assert_eq!(
        madt.unwrap().isa_overrides,
        [
            wired(0, 2, false, false),
            wired(9, 9, false, true),
            wired(11, 256, true, true),
            wired(5, 5, false, false),
        ]
    );
}

#[test]
fn what_is_of_no_interest_is_passed_by() {
    let nmi: &[u8] = &[4, 6, 0xff, 0, 0, 1];
    let oem: &[u8] = &[0x80, 2];
    let longer: &[u8] = &[0, 12, 1, 4, 1, 0, 0, 0, 1, 2, 3, 4];
    let madt = Madt::parse(&table(&[nmi, oem, longer, oem])).unwrap();
    assert_eq!(madt.processors, [listed(4, true)]);
}

#[test]
fn a_malformed_entry_is_named_by_its_place() {
    let wrong = |entry: &[u8]| Madt::parse(&table(&[&[0x80, 4, 0, 0], entry])).unwrap_err();
    // Without a length, without an end, too short for what it is.
    assert_eq!(wrong(&[0, 0, 0, 0]), Broken::Entry(48));
    assert_eq!(wrong(&[0, 1, 0, 0]), Broken::Entry(48));
    assert_eq!(wrong(&[0]), Broken::Entry(48));
    assert_eq!(wrong(&[0, 8, 0, 0, 1, 0, 0]), Broken::Entry(48));
    assert_eq!(wrong(&[0, 7, 0, 0, 1, 0, 0]), Broken::Entry(48));
    assert_eq!(wrong(&[1, 8, 0, 0, 0, 0, 0, 0]), Broken::Entry(48));
    assert_eq!(wrong(&[2, 9, 0, 0, 0, 0, 0, 0, 0]), Broken::Entry(48));
    assert_eq!(
        wrong(&[9, 11, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
        Broken::Entry(48)
    );
    assert_eq!(Madt::parse(&[0; 43]), Err(Broken::Length("MADT")));
}

proptest! {
    /// Whatever the bytes: an end, and no panic.
    #[test]
    fn no_bytes_panic(bytes in proptest::collection::vec(prop_oneof![0..17u8, any::<u8>()], 0..400)) {
        let madt = Madt::parse(&bytes);
        prop_assert!(bytes.len() >= 44 || madt.is_err());
    }
}
