//! The firmware's memory map (UEFI 2.10, section 7.2.3, "GetMemoryMap"), and what the hypervisor is told of it.

use alloc::vec::Vec;
use bootloader_api::info::{MemoryRegion, MemoryRegionKind};
use plan::bundle::MemorySpan;
use spec::{Hpa, PAGE_SIZE};
use uefi::boot::MemoryType;
use uefi::mem::memory_map::{MemoryAttribute, MemoryDescriptor};

/// A range of physical addresses in whole pages; `None` if a descriptor is malformed or empty.
fn range(d: &MemoryDescriptor) -> Option<(u64, u64)> {
    let len = d.page_count.checked_mul(PAGE_SIZE)?;
    let end = d.phys_start.checked_add(len)?;
    (len > 0 && d.phys_start.is_multiple_of(PAGE_SIZE)).then_some((d.phys_start, end))
}

/// What the hypervisor may do with memory of a type once boot services are gone.
fn kind(ty: MemoryType) -> MemoryRegionKind {
    match ty {
        MemoryType::CONVENTIONAL
        | MemoryType::BOOT_SERVICES_CODE
        | MemoryType::BOOT_SERVICES_DATA => MemoryRegionKind::Usable,
        MemoryType::LOADER_CODE | MemoryType::LOADER_DATA => MemoryRegionKind::Bootloader,
        other => MemoryRegionKind::UnknownUefi(other.0),
    }
}

/// Fills `into` with the regions of the map, sorted, disjoint, equal neighbours joined; gives those filled.
///
/// Where the firmware contradicts itself, so that two descriptors overlap, neither is called usable. What finds no
/// room in `into` is left out, and so is not memory to anybody. Allocates nothing: it runs after boot services.
#[expect(
    clippy::indexing_slicing,
    reason = "`count` slots were filled, and no more are kept than were read"
)]
pub fn regions<'m, 'r>(
    map: impl Iterator<Item = &'m MemoryDescriptor>,
    into: &'r mut [MemoryRegion],
) -> &'r mut [MemoryRegion] {
    let mut count = 0;
    for (slot, (d, (start, end))) in into
        .iter_mut()
        .zip(map.filter_map(|d| Some((d, range(d)?))))
    {
        *slot = MemoryRegion {
            start,
            end,
            kind: kind(d.ty),
        };
        count += 1;
    }
    let regions = &mut into[..count];
    regions.sort_unstable_by_key(|r| r.start);
    let mut kept: usize = 0;
    for i in 0..count {
        let mut next = regions[i];
        if let Some(last) = kept.checked_sub(1).map(|k| &mut regions[k]) {
            if next.start < last.end {
                let reserved = MemoryRegionKind::UnknownUefi(MemoryType::RESERVED.0);
                last.kind = reserved;
                next.kind = reserved;
                next.start = last.end;
            }
            if next.start >= next.end {
                continue;
            }
            if next.start == last.end && next.kind == last.kind {
                last.end = next.end;
                continue;
            }
        }
        regions[kept] = next;
        kept += 1;
    }
    &mut into[..kept]
}

/// Bytes that will be usable once boot services are gone, what we have allocated ourselves not counted.
pub fn usable<'m>(map: impl Iterator<Item = &'m MemoryDescriptor>) -> u64 {
    map.filter(|d| kind(d.ty) == MemoryRegionKind::Usable)
        .filter_map(range)
        .fold(0, |sum, (start, end)| sum.saturating_add(end - start))
}

/// Memory that runtime services need, joined where it is adjacent.
pub fn runtime<'m>(map: impl Iterator<Item = &'m MemoryDescriptor>) -> Vec<MemorySpan> {
    joined(map.filter(|d| d.att.contains(MemoryAttribute::RUNTIME)))
        .into_iter()
        .map(|(start, end)| MemorySpan {
            start: Hpa(start),
            len: end - start,
        })
        .collect()
}

/// Where RAM begins and ends, as sorted disjoint ranges: what the firmware says can be cached write-back.
pub fn ram<'m>(map: impl Iterator<Item = &'m MemoryDescriptor>) -> Vec<(u64, u64)> {
    joined(map.filter(|d| {
        d.att.contains(MemoryAttribute::WRITE_BACK)
            && d.ty != MemoryType::MMIO
            && d.ty != MemoryType::MMIO_PORT_SPACE
    }))
}

fn joined<'m>(map: impl Iterator<Item = &'m MemoryDescriptor>) -> Vec<(u64, u64)> {
    let mut ranges: Vec<_> = map.filter_map(range).collect();
    ranges.sort_unstable();
    ranges.dedup_by(|next, last| {
        let joins = next.0 <= last.1;
        if joins {
            last.1 = last.1.max(next.1);
        }
        joins
    });
    ranges
}

#[cfg(test)]
mod tests;
