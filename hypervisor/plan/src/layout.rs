//! Where a guest's RAM lies in its physical address space.

use core::ops::Range;

/// First address above the RAM that lies below 4 GiB; from here to 4 GiB is room for devices.
pub const LOW_RAM_LIMIT: u64 = 0xc000_0000;
/// Where the RAM beyond [`LOW_RAM_LIMIT`] goes on.
pub const HIGH_RAM: u64 = 1 << 32;
/// The addresses below 1 MiB that a PC gives to display and firmware; no RAM is there, and what the guest
/// was granted for them is not made up elsewhere.
pub const HOLE: Range<u64> = 0xa_0000..0x10_0000;

/// The ranges of RAM of a guest with `memory` bytes, in ascending order; some may be empty.
#[must_use]
pub fn ram(memory: u64) -> [Range<u64>; 3] {
    let low = memory.min(LOW_RAM_LIMIT);
    let high = memory.saturating_sub(low);
    [
        0..HOLE.start.min(low),
        HOLE.end..low.max(HOLE.end),
        HIGH_RAM..HIGH_RAM.saturating_add(high),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_ram_but_for_the_hole() {
        assert_eq!(
            ram(2 << 20),
            [0..0xa_0000, 0x10_0000..0x20_0000, HIGH_RAM..HIGH_RAM]
        );
        assert_eq!(
            ram(3 << 30),
            [0..0xa_0000, 0x10_0000..0xc000_0000, HIGH_RAM..HIGH_RAM]
        );
        assert_eq!(
            ram(5 << 30),
            [0..0xa_0000, 0x10_0000..0xc000_0000, 4 << 30..6 << 30]
        );
        // Not amounts that a plan can hold, but no reason to panic.
        for memory in [0, 1, 0xa_0001, u64::MAX] {
            let total: u64 = ram(memory)
                .iter()
                .map(|range| range.end - range.start)
                .sum();
            assert!(total <= memory, "{memory:#x}");
        }
    }
}
