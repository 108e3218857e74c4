//! Addresses, sizes and owners in words.

use crate::layers::end;
use proto::certificate::{Cache, MemoryKind, Range, Use};

/// A range by its first and last byte.
pub(crate) fn range(range: &Range) -> String {
    format!(
        "{:#x} to {:#x} ({})",
        range.start,
        end(range).saturating_sub(1),
        size(range.len)
    )
}

/// Bytes, in the largest unit that leaves no more than one decimal of interest.
pub(crate) fn size(bytes: u64) -> String {
    let in_units = |shift: u32, unit: &str| {
        let whole = bytes >> shift;
        let tenths = ((bytes - (whole << shift)) * 10) >> shift;
        match tenths {
            0 => format!("{whole} {unit}"),
            _ => format!("{whole}.{tenths} {unit}"),
        }
    };
    match bytes {
        0..0x400 => format!("{bytes} bytes"),
        0x400..0x10_0000 => in_units(10, "KiB"),
        0x10_0000..0x4000_0000 => in_units(20, "MiB"),
        _ => in_units(30, "GiB"),
    }
}

/// A number with what it counts, such as `1 VM` and `3 VMs`.
pub(crate) fn count(number: usize, one: &str) -> String {
    match number {
        1 => format!("1 {one}"),
        _ => format!("{number} {one}s"),
    }
}

/// What memory is used for; `vm` gives the name of a VM.
pub(crate) fn used(used: Use, vm: impl Fn(u16) -> String) -> String {
    match used {
        Use::Heap => "the hypervisor's heap".to_owned(),
        Use::HostTables => "the hypervisor's page tables".to_owned(),
        Use::Stack => "a stack of the hypervisor".to_owned(),
        Use::VmxRegion => "a core's VMXON region".to_owned(),
        Use::StartUp => "start-up code of cores".to_owned(),
        Use::LowMemory => "memory below 1 MiB, which is left alone".to_owned(),
        Use::Bundle => "the bundle".to_owned(),
        Use::Image => "the hypervisor's image".to_owned(),
        Use::Free => "free memory".to_owned(),
        Use::Lost => "memory that was lost track of".to_owned(),
        Use::Ram { vm: of } => format!("RAM of {}", vm(of)),
        Use::Reserved { vm: of } => format!("what was taken with the RAM of {}", vm(of)),
        Use::NestedTables { vm: of } => format!("nested tables of {}", vm(of)),
        Use::Vmcs { vm: of } => format!("a control structure of {}", vm(of)),
        Use::Bitmap { vm: of } => format!("a bitmap of {}", vm(of)),
        Use::VirtualApic { vm: of } => format!("a virtual-APIC page of {}", vm(of)),
    }
}

/// What the loader says that memory is.
pub(crate) fn kind(kind: MemoryKind) -> String {
    match kind {
        MemoryKind::Usable => "usable memory".to_owned(),
        MemoryKind::Loader => "the loader's memory".to_owned(),
        MemoryKind::Firmware(uefi) => format!("the firmware's memory (UEFI type {uefi})"),
    }
}

/// A memory type, by the manual's short name.
pub(crate) const fn cache(cache: Cache) -> &'static str {
    match cache {
        Cache::Uncacheable => "UC",
        Cache::WriteCombining => "WC",
        Cache::WriteThrough => "WT",
        Cache::WriteProtected => "WP",
        Cache::WriteBack => "WB",
    }
}

/// Rights as three letters, a dash for each that is not there.
pub(crate) fn rights(read: bool, write: bool, execute: bool) -> String {
    let letter = |is: bool, letter| if is { letter } else { '-' };
    [letter(read, 'r'), letter(write, 'w'), letter(execute, 'x')]
        .into_iter()
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_in_the_unit_that_a_person_would_take() {
        for (bytes, words) in [
            (64, "64 bytes"),
            (4096, "4 KiB"),
            (0xa_0000, "640 KiB"),
            (255 << 20 | 0xc_0000, "255.7 MiB"),
            (3 << 30, "3 GiB"),
        ] {
            assert_eq!(size(bytes), words);
        }
    }
}
