//! Where everything is: guest-physical memory and ports.
//!
//! ```text
//! 0x0000_0000   RAM, 640 KiB (Linux starts other processors from here)
//! 0x000a_0000   nothing; a PC has VGA and option ROMs here
//! 0x000e_0000   128 KiB for ACPI tables: RAM that e820 reserves, where an RSDP is looked for
//! 0x0010_0000   RAM, up to 3 GiB
//! 0xc000_0000   room for the registers of PCI functions
//! 0xe000_0000   configuration space of PCI bus 0, 1 MiB
//! 0xfec0_0000   I/O APIC
//! 0xfee0_0000   local APIC
//! 0x1_0000_0000 RAM, what is left of it
//! ```

use alloc::vec::Vec;
use spec::linux::{E820Kind, MemoryRange};
use spec::pci::ECAM_BUS_SIZE;
use spec::{Gpa, PAGE_SIZE, Port};

/// End of the RAM below the hole of the PC.
pub const LOW_RAM_END: Gpa = Gpa(0xa_0000);
/// Where the ACPI tables begin, with the RSDP. Its range to [`HIGH_RAM`] is where a guest without other knowledge
/// looks for one (ACPI 6.5, section 5.2.5.1, "Finding the RSDP on IA-PC Systems").
pub const ACPI_AREA: Gpa = Gpa(0xe_0000);
/// End of the ACPI area, and the RAM from here on.
pub const HIGH_RAM: Gpa = Gpa(0x10_0000);
/// End of the RAM below 4 GiB.
pub const DEVICE_HOLE: Gpa = Gpa(0xc000_0000);
/// RAM that has no room below the device hole goes on here.
pub const RAM_ABOVE_4G: Gpa = Gpa(0x1_0000_0000);
/// Where the base addresses of PCI functions may point, up to [`ECAM`].
pub const PCI_MEMORY: Gpa = DEVICE_HOLE;
/// Configuration space of PCI bus 0, the only one, [`spec::pci::ECAM_BUS_SIZE`] bytes.
pub const ECAM: Gpa = Gpa(0xe000_0000);
/// Registers of the I/O APIC, a page.
pub const IOAPIC: Gpa = Gpa(0xfec0_0000);
/// Registers of the local APIC after reset, a page.
pub const LOCAL_APIC: Gpa = spec::apic::DEFAULT_BASE;

/// The UART, eight ports: COM1.
pub const UART: Port = Port(0x3f8);
/// The UART's pin of the I/O APIC.
pub const UART_GSI: u8 = 4;
/// The CMOS clock, two ports.
pub const CMOS: Port = Port(0x70);
/// The ACPI sleep and reset registers, [`spec::acpi_pm::BLOCK_SIZE`] ports.
pub const ACPI_PM: Port = Port(0x600);
/// The watchdog, where there is one: [`spec::watchdog::BLOCK_SIZE`] ports.
pub const WATCHDOG: Port = Port(0x610);

/// The two ports of PCI configuration space, four each.
pub const PCI_CONFIG: Port = Port(0xcf8);
/// Where the I/O base addresses of PCI functions may point, first and last port: above all that is fixed.
pub const PCI_PORTS: (Port, Port) = (Port(0x1000), Port(0xffff));

/// The least RAM: what is below 1 MiB and one large page above.
pub const MIN_MEMORY: u64 = 4 << 20;

/// Why a guest cannot have so much memory.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum MemoryError {
    /// Less than [`MIN_MEMORY`]
    TooSmall,
    /// Not a multiple of 4 KiB
    Unaligned,
    /// Past the end of guest-physical addresses, of which the processor has this many bits
    TooLarge(u8),
}

/// A guest's RAM.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct MemoryMap {
    memory: u64,
}

impl MemoryMap {
    /// The map of a guest with `memory` bytes on a processor with `address_bits` bits of physical address
    /// (CPUID 0x80000008, EAX 7:0).
    ///
    /// The addresses that the hole at 0xa0000 takes are not made good: of `memory` bytes, 256 KiB are not there.
    ///
    /// # Errors
    /// [`MemoryError`]
    pub fn new(memory: u64, address_bits: u8) -> Result<Self, MemoryError> {
        if memory < MIN_MEMORY {
            return Err(MemoryError::TooSmall);
        }
        if !memory.is_multiple_of(PAGE_SIZE) {
            return Err(MemoryError::Unaligned);
        }
        // 52 bits is all that a page-table entry holds.
        let limit = 1u64 << address_bits.clamp(32, 52);
        let above = memory.saturating_sub(DEVICE_HOLE.0);
        let end = match above {
            0 => Some(RAM_ABOVE_4G),
            _ => RAM_ABOVE_4G.checked_add(above),
        };
        match end {
            Some(end) if end.0 <= limit => Ok(Self { memory }),
            _ => Err(MemoryError::TooLarge(address_bits)),
        }
    }

    fn high_end(&self) -> Gpa {
        Gpa(self.memory.min(DEVICE_HOLE.0))
    }

    /// What the guest is told (ACPI 6.5, section 15, "System Address Map Interfaces"). Addresses not named have
    /// nothing behind them that a guest may take.
    #[must_use]
    pub fn e820(&self) -> Vec<MemoryRange> {
        let between = |start: Gpa, end: Gpa, kind| MemoryRange {
            start,
            len: end.0.saturating_sub(start.0),
            kind,
        };
        let top = Gpa(RAM_ABOVE_4G
            .0
            .saturating_add(self.memory.saturating_sub(DEVICE_HOLE.0)));
        let mut map = alloc::vec![
            between(Gpa(0), LOW_RAM_END, E820Kind::Ram),
            between(ACPI_AREA, HIGH_RAM, E820Kind::Reserved),
            between(HIGH_RAM, self.high_end(), E820Kind::Ram),
            between(RAM_ABOVE_4G, top, E820Kind::Ram),
        ];
        map.retain(|r| r.len != 0);
        map
    }

    /// The ranges that must have memory behind them, as start and length, in ascending order, apart from each
    /// other, in whole pages: those of [`MemoryMap::e820`], joined where they touch.
    #[must_use]
    pub fn backed(&self) -> Vec<(Gpa, u64)> {
        let mut out: Vec<(Gpa, u64)> = Vec::new();
        for range in self.e820() {
            match out.last_mut() {
                Some((start, len)) if start.checked_add(*len) == Some(range.start) => {
                    *len = len.saturating_add(range.len)
                }
                _ => out.push((range.start, range.len)),
            }
        }
        out
    }
}

const _: () = {
    assert!(LOW_RAM_END.0 < ACPI_AREA.0 && ACPI_AREA.0 < HIGH_RAM.0);
    assert!(MIN_MEMORY > HIGH_RAM.0 && DEVICE_HOLE.0 < ECAM.0 && IOAPIC.0 < LOCAL_APIC.0);
    // The window holds the address bits of the bus number (PCIe 5.0, section 7.2.2).
    assert!(ECAM.is_aligned(ECAM_BUS_SIZE) && ECAM.0 + ECAM_BUS_SIZE <= IOAPIC.0);
    assert!(ACPI_PM.0 + (spec::acpi_pm::BLOCK_SIZE as u16) <= WATCHDOG.0 && UART.0 < ACPI_PM.0);
    assert!(WATCHDOG.0 + (spec::watchdog::BLOCK_SIZE as u16) <= PCI_CONFIG.0);
    assert!(PCI_CONFIG.0 + 8 <= PCI_PORTS.0.0);
    assert!(LOCAL_APIC.0 < RAM_ABOVE_4G.0);
};

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn memory_below_the_device_hole() {
        let map = MemoryMap::new(256 << 20, 36).unwrap();
        assert_eq!(
            map.backed(),
            [(Gpa(0), 0xa_0000), (Gpa(0xe_0000), (256 << 20) - 0xe_0000)]
        );
        let kinds: Vec<_> = map.e820().iter().map(|r| r.kind).collect();
        assert_eq!(kinds, [E820Kind::Ram, E820Kind::Reserved, E820Kind::Ram]);
        assert_eq!(map.e820()[2].end(), Some(Gpa(256 << 20)));
    }

    #[test]
    fn memory_goes_on_above_4_gib() {
        let map = MemoryMap::new(5 << 30, 39).unwrap();
        assert_eq!(
            map.backed()[1].0.checked_add(map.backed()[1].1),
            Some(DEVICE_HOLE)
        );
        assert_eq!(map.backed()[2], (RAM_ABOVE_4G, 2 << 30));
    }

    #[test]
    fn sizes_that_cannot_be() {
        assert_eq!(MemoryMap::new(0, 39), Err(MemoryError::TooSmall));
        assert_eq!(
            MemoryMap::new(MIN_MEMORY - 1, 39),
            Err(MemoryError::TooSmall)
        );
        assert_eq!(
            MemoryMap::new(MIN_MEMORY + 1, 39),
            Err(MemoryError::Unaligned)
        );
        assert_eq!(MemoryMap::new(!0xfff, 64), Err(MemoryError::TooLarge(64)));
        assert!(MemoryMap::new(3 << 30, 32).is_ok());
        assert_eq!(
            MemoryMap::new((3 << 30) + 0x1000, 32),
            Err(MemoryError::TooLarge(32))
        );
        assert!(MemoryMap::new((1 << 36) - (1 << 30), 36).is_ok());
        assert_eq!(
            MemoryMap::new((1 << 36) - (1 << 30) + 0x1000, 36),
            Err(MemoryError::TooLarge(36))
        );
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..Default::default() })]

        #[test]
        fn every_map_is_whole_pages_in_order_and_off_the_devices(pages in 0..1u64 << 30, bits in 30..60u8) {
            let memory = pages * PAGE_SIZE;
            let Ok(map) = MemoryMap::new(memory, bits) else {
                return Ok(());
            };
            let mut last = None;
            for (start, len) in map.backed() {
                prop_assert!(len > 0 && len % PAGE_SIZE == 0 && start.is_aligned(PAGE_SIZE));
                prop_assert!(last.is_none_or(|l| l < start));
                let end = start.checked_add(len).unwrap();
                prop_assert!(end <= DEVICE_HOLE || start >= RAM_ABOVE_4G);
                last = Some(end);
            }
            let total: u64 = map.backed().iter().map(|b| b.1).sum();
            prop_assert_eq!(total, memory - (ACPI_AREA.0 - LOW_RAM_END.0));
        }
    }
}
