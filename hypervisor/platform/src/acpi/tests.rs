use super::*;
use crate::layout;
use alloc::vec;

/// The area as the memory of a guest without a watchdog has it.
fn area(vcpus: u8) -> Vec<u8> {
    area_of(&AcpiFacts {
        vcpus,
        watchdog: None,
    })
}

/// The area as a guest's memory has it.
fn area_of(facts: &AcpiFacts) -> Vec<u8> {
    let mut area = vec![0; (HIGH_RAM.0 - ACPI_AREA.0) as usize];
    let mut end = ACPI_AREA;
    for (at, bytes) in build(facts) {
        assert!(at >= end && at.is_aligned(16), "{at:?} before {end:?}");
        end = at.checked_add(bytes.len() as u64).unwrap();
        assert!(end <= HIGH_RAM);
        let from = (at.0 - ACPI_AREA.0) as usize;
        area[from..from + bytes.len()].copy_from_slice(&bytes);
    }
    area
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
}

fn sum(bytes: &[u8]) -> u8 {
    bytes.iter().fold(0, |a, b| a.wrapping_add(*b))
}

/// The table at `at`, as a guest finds it: by its own length and checksum.
fn table<'a>(area: &'a [u8], at: u64, signature: &[u8; 4]) -> &'a [u8] {
    let from = (at - ACPI_AREA.0) as usize;
    let table = &area[from..from + u32_at(area, from + 4) as usize];
    assert_eq!(&table[..4], signature);
    assert_eq!(sum(table), 0, "checksum");
    table
}

struct Found<'a> {
    fadt: &'a [u8],
    mcfg: &'a [u8],
    madt: &'a [u8],
    dsdt: &'a [u8],
    wdat: Option<&'a [u8]>,
}

/// Follows the pointers from the RSDP, with the offsets of ACPI 6.5, section 5.2.
fn follow(area: &[u8]) -> Found<'_> {
    assert_eq!(&area[..8], b"RSD PTR ");
    assert_eq!((sum(&area[..20]), sum(&area[..36]), area[15]), (0, 0, 2));
    let xsdt = table(area, u64_at(area, 24), b"XSDT");
    assert!([36 + 24, 36 + 32].contains(&xsdt.len()));
    let fadt = table(area, u64_at(xsdt, 36), b"FACP");
    Found {
        fadt,
        mcfg: table(area, u64_at(xsdt, 44), b"MCFG"),
        madt: table(area, u64_at(xsdt, 52), b"APIC"),
        dsdt: table(area, u64_at(fadt, 140), b"DSDT"),
        wdat: (xsdt.len() > 36 + 24).then(|| table(area, u64_at(xsdt, 60), b"WDAT")),
    }
}

#[test]
fn the_fixed_description_is_hardware_reduced() {
    let area = area(1);
    let fadt = follow(&area).fadt;
    let flags = u32_at(fadt, 112);
    assert_eq!(flags, 1 << 20 | 1 << 10 | 1 << 5 | 1 << 4 | 1);
    assert_eq!(fadt[109..111], [4, 0], "no VGA, no 8042, a CMOS clock");
    assert_eq!(fadt[108], 0x32, "century");
    assert_eq!((u32_at(fadt, 36), u64_at(fadt, 132)), (0, 0), "no FACS");
    // Address space, bit width, bit offset, access size, address.
    let register = |port: u64| [&[1, 8, 0, 1][..], &port.to_le_bytes()].concat();
    assert_eq!(fadt[116..128], register(0x602));
    assert_eq!(fadt[128], 0x42);
    assert_eq!(fadt[244..256], register(0x600));
    assert_eq!(fadt[256..268], register(0x601));
    // No event, control, timer or general-purpose block of full ACPI.
    assert!(fadt[46..108].iter().all(|b| *b == 0));
    assert!(fadt[148..244].iter().all(|b| *b == 0));
}

#[test]
fn each_vcpu_and_the_io_apic_are_in_the_madt() {
    for vcpus in (1..=64).chain([MAX_VCPUS]) {
        let area = area(vcpus);
        let madt = follow(&area).madt;
        assert_eq!((u32_at(madt, 36), u32_at(madt, 40)), (0xfee0_0000, 0));
        let mut rest = &madt[44..];
        for id in 0..vcpus {
            assert_eq!(rest[..8], [0, 8, id, id, 1, 0, 0, 0]);
            rest = &rest[8..];
        }
        assert_eq!(rest[..4], [1, 12, 0, 0]);
        assert_eq!(
            (u32_at(rest, 4), u32_at(rest, 8), rest.len()),
            (0xfec0_0000, 0, 12)
        );
    }
}

/// The same megabyte in the three places where a kernel looks, and in no bridge's window: Linux takes the first only if
/// the last has it.
#[test]
fn configuration_space_is_named_and_reserved() {
    let area = area(1);
    let Found { mcfg, dsdt, .. } = follow(&area);
    assert_eq!((mcfg.len(), u64_at(mcfg, 36)), (60, 0));
    assert_eq!(u64_at(mcfg, 44), 0xe000_0000);
    assert_eq!(mcfg[52..60], [0; 8], "segment 0, from bus 0 to bus 0");
    let has = |bytes: &[u8]| dsdt.windows(bytes.len()).any(|w| w == bytes);
    assert!(has(b"\x08_CBA\x0c\x00\x00\x00\xe0"));
    // Memory32Fixed, writable.
    assert!(has(&[0x86, 9, 0, 1, 0, 0, 0, 0xe0, 0, 0, 0x10, 0]));
    let window = layout::PCI_MEMORY.0..layout::ECAM.0;
    // DWordMemory: 23 bytes, memory, producer with fixed ends, read-write and not cached.
    let mut descriptor = alloc::vec![0x87, 23, 0, 0, 0x0c, 1, 0, 0, 0, 0];
    for n in [window.start, window.end - 1, 0, window.end - window.start] {
        descriptor.extend((n as u32).to_le_bytes());
    }
    assert!(has(&descriptor));
}

#[test]
fn impossible_numbers_of_vcpus_do_no_harm() {
    assert_eq!(follow(&area(0)).madt.len(), follow(&area(1)).madt.len());
    assert_eq!(follow(&area(255)).madt.len(), follow(&area(254)).madt.len());
}

/// An independent compiler, iasl, makes the same bytes of `dsdt.asl`; headers differ by the compiler's name.
#[test]
fn the_dsdt_is_its_source() {
    let area = area(1);
    let dsdt = follow(&area).dsdt;
    let golden = include_bytes!("dsdt.aml");
    assert_eq!(dsdt[36..], golden[36..]);
}

#[test]
fn the_dsdt_names_the_ports_of_the_layout() {
    let area = area(1);
    let dsdt = follow(&area).dsdt;
    let has = |bytes: &[u8]| dsdt.windows(bytes.len()).any(|w| w == bytes);
    let io = |port: u16, len: u8| {
        let [low, high] = port.to_le_bytes();
        [0x47, 1, low, high, low, high, 1, len]
    };
    assert!(has(&io(layout::UART.0, 8)));
    assert!(has(&io(layout::CMOS.0, 2)));
    assert!(has(&io(layout::PCI_CONFIG.0, 8)));
    // Extended interrupt descriptor: consumer, edge, active high, exclusive; one, GSI 4.
    assert!(has(&[0x89, 6, 0, 3, 1, 4, 0, 0, 0]));
    // Name (_S5_, Package (4) { 5, 0, 0, 0 })
    assert!(has(b"\x08_S5_\x12\x07\x04\x0a\x05\x00\x00\x00"));
}

/// Ten seconds, as `wdat.asl` has them, from which iasl makes the same bytes.
#[test]
fn the_wdat_is_its_source_and_there_only_where_a_watchdog_is() {
    for vcpus in [1, 2, MAX_VCPUS] {
        let area = area_of(&AcpiFacts {
            vcpus,
            watchdog: Some(10_000),
        });
        let found = follow(&area);
        let golden = include_bytes!("wdat.aml");
        assert_eq!(found.wdat.unwrap()[36..], golden[36..]);
        assert_eq!(found.madt.len(), 44 + usize::from(vcpus) * 8 + 12);
    }
    assert_eq!(follow(&area(1)).wdat, None);
    let longest = AcpiFacts {
        vcpus: 1,
        watchdog: Some(u32::MAX),
    };
    assert_eq!(
        u32_at(follow(&area_of(&longest)).wdat.unwrap(), 52),
        u32::MAX
    );
}

/// What Linux's `acpi_watchdog_init` and `wdat_wdt` refuse a table for, with the offsets of its `struct acpi_table_wdat`.
#[test]
fn linux_takes_the_wdat() {
    let area = area_of(&AcpiFacts {
        vcpus: 1,
        watchdog: Some(1),
    });
    let wdat = follow(&area).wdat.unwrap();
    assert_eq!(u32_at(wdat, 36), 32, "header length");
    assert_eq!(wdat[40..45], [0xff, 0, 0xff, 0xff, 0xff], "no PCI function");
    let [period, max, min, flags, count] = [48, 52, 56, 60, 64].map(|at| u32_at(wdat, at));
    assert!(period >= 1 && min <= max && flags & 1 == 1, "enabled");
    let entries = &wdat[68..];
    assert_eq!(entries.len(), count as usize * 24);
    for entry in entries.chunks(24) {
        let (action, instruction, space, access) = (entry[0], entry[1], entry[4], entry[7]);
        assert!((1..=0x21).contains(&action) && instruction <= 3);
        assert_eq!((space, access), (1, 3), "a port of 32 bits");
        let port = u64_at(entry, 8);
        let block = u64::from(layout::WATCHDOG.0)..u64::from(layout::WATCHDOG.0) + 16;
        assert!(block.contains(&port) && port.is_multiple_of(4));
    }
}
