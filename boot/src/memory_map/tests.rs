use super::*;
use MemoryRegionKind::{Bootloader, UnknownUefi, Usable};
use alloc::vec;
use proptest::prelude::*;

fn descriptor(ty: MemoryType, start: u64, pages: u64) -> MemoryDescriptor {
    MemoryDescriptor {
        ty,
        padding: 0,
        phys_start: start,
        virt_start: 0,
        page_count: pages,
        att: MemoryAttribute::WRITE_BACK,
    }
}

fn converted(map: &[MemoryDescriptor]) -> Vec<(u64, u64, MemoryRegionKind)> {
    let mut room = vec![MemoryRegion::empty(); map.len()];
    regions(map.iter(), &mut room)
        .iter()
        .map(|r| (r.start, r.end, r.kind))
        .collect()
}

#[test]
fn kinds_are_those_of_memory_after_boot_services() {
    let kinds = (0..=15).map(|n| kind(MemoryType(n))).collect::<Vec<_>>();
    assert_eq!(
        kinds,
        [
            UnknownUefi(0),
            Bootloader,
            Bootloader,
            Usable,
            Usable,
            UnknownUefi(5),
            UnknownUefi(6),
            Usable,
            UnknownUefi(8),
            UnknownUefi(9),
            UnknownUefi(10),
            UnknownUefi(11),
            UnknownUefi(12),
            UnknownUefi(13),
            UnknownUefi(14),
            UnknownUefi(15),
        ]
    );
    assert_eq!(kind(MemoryType(0x8000_0000)), UnknownUefi(0x8000_0000));
}

#[test]
fn regions_are_sorted_and_joined() {
    let map = [
        descriptor(MemoryType::RUNTIME_SERVICES_DATA, 0x9000, 1),
        descriptor(MemoryType::BOOT_SERVICES_DATA, 0x3000, 2),
        descriptor(MemoryType::CONVENTIONAL, 0x1000, 2),
        descriptor(MemoryType::CONVENTIONAL, 0x6000, 1),
        descriptor(MemoryType::LOADER_DATA, 0x5000, 1),
    ];
    assert_eq!(
        converted(&map),
        [
            (0x1000, 0x5000, Usable),
            (0x5000, 0x6000, Bootloader),
            (0x6000, 0x7000, Usable),
            (0x9000, 0xa000, UnknownUefi(6)),
        ]
    );
}

#[test]
fn contradictions_are_nobodys_memory() {
    let map = [
        descriptor(MemoryType::CONVENTIONAL, 0x1000, 4),
        descriptor(MemoryType::RUNTIME_SERVICES_CODE, 0x4000, 4),
        descriptor(MemoryType::CONVENTIONAL, 0x8000, 8),
        descriptor(MemoryType::RESERVED, 0xa000, 1),
        descriptor(MemoryType::CONVENTIONAL, 0x1_0000, 1),
    ];
    assert_eq!(
        converted(&map),
        [
            (0x1000, 0x8000, UnknownUefi(0)),
            (0x8000, 0x1_0000, UnknownUefi(0)),
            (0x1_0000, 0x1_1000, Usable),
        ]
    );
}

#[test]
fn malformed_descriptors_are_left_out() {
    let map = [
        descriptor(MemoryType::CONVENTIONAL, 0x1800, 1),
        descriptor(MemoryType::CONVENTIONAL, 0x2000, 0),
        descriptor(MemoryType::CONVENTIONAL, 0x3000, u64::MAX),
        descriptor(MemoryType::CONVENTIONAL, u64::MAX - 0xfff, 1),
        descriptor(MemoryType::CONVENTIONAL, 0x4000, 1),
    ];
    assert_eq!(converted(&map), [(0x4000, 0x5000, Usable)]);
    assert_eq!(usable(map.iter()), 0x1000);
    assert_eq!(ram(map.iter()), [(0x4000, 0x5000)]);
}

#[test]
fn what_finds_no_room_is_left_out() {
    let map = [0x1000, 0x3000, 0x5000].map(|at| descriptor(MemoryType::CONVENTIONAL, at, 1));
    let mut room = vec![MemoryRegion::empty(); 2];
    assert_eq!(regions(map.iter(), &mut room).len(), 2);
}

#[test]
fn runtime_memory_is_what_the_attribute_says() {
    let mut map = [
        descriptor(MemoryType::RUNTIME_SERVICES_CODE, 0x3000, 1),
        descriptor(MemoryType::RUNTIME_SERVICES_DATA, 0x2000, 1),
        descriptor(MemoryType::MMIO, 0xfed0_0000, 1),
        descriptor(MemoryType::RUNTIME_SERVICES_DATA, 0x8000, 1),
    ];
    for d in &mut map[..3] {
        d.att |= MemoryAttribute::RUNTIME;
    }
    let span = |start, len| MemorySpan {
        start: Hpa(start),
        len,
    };
    assert_eq!(
        runtime(map.iter()),
        [span(0x2000, 0x2000), span(0xfed0_0000, 0x1000)]
    );
}

#[test]
fn ram_is_what_can_be_cached() {
    let mut map = [
        descriptor(MemoryType::CONVENTIONAL, 0, 1),
        descriptor(MemoryType::ACPI_RECLAIM, 0x1000, 1),
        descriptor(MemoryType::MMIO, 0x2000, 1),
        descriptor(MemoryType::RESERVED, 0x3000, 1),
    ];
    map[3].att = MemoryAttribute::UNCACHEABLE;
    assert_eq!(ram(map.iter()), [(0, 0x2000)]);
}

proptest! {
    /// Whatever the firmware says: regions are sorted, disjoint and whole pages, and a usable one is inside a
    /// descriptor or adjacent ones of usable memory that overlap nothing.
    #[test]
    fn no_byte_is_usable_that_anything_else_claims(
        map in prop::collection::vec((0u32..16, 0u64..40, 0u64..6), 0..12)
    ) {
        let map: Vec<_> = map
            .into_iter()
            .map(|(ty, page, count)| descriptor(MemoryType(ty), page * PAGE_SIZE, count))
            .collect();
        let got = converted(&map);
        for pair in got.windows(2) {
            prop_assert!(pair[0].1 <= pair[1].0);
        }
        for page in 0..50 {
            let at = page * PAGE_SIZE;
            let claims: Vec<_> = map
                .iter()
                .filter_map(|d| Some((kind(d.ty), range(d)?)))
                .filter(|(_, (start, end))| (*start..*end).contains(&at))
                .collect();
            let found = got.iter().find(|(start, end, _)| (*start..*end).contains(&at));
            prop_assert_eq!(claims.is_empty(), found.is_none());
            if let Some((_, _, Usable)) = found {
                prop_assert_eq!(claims.len(), 1);
                prop_assert_eq!(claims[0].0, Usable);
            }
        }
    }
}
