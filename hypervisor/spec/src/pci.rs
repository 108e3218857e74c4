//! PCI configuration space: PCI Express Base Specification 5.0, sections 7.2 ("Configuration Access Mechanisms") and
//! 7.5.1 ("PCI-Compatible Configuration Registers"); PCI Local Bus Specification 3.0, section 3.2.2.3.2
//! ("Software Generation of Configuration Transactions"); PCI Firmware Specification 3.3.

use bitflags::bitflags;

/// Bytes of the enhanced configuration access mechanism's window that belong to one bus.
pub const ECAM_BUS_SIZE: u64 = 1 << 20;

/// Bytes of one function's configuration space.
pub const CONFIG_SIZE: u16 = 4096;

/// Bytes of it that PCI had before PCI Express, and that the ports reach.
pub const COMPATIBLE_SIZE: u16 = 256;

/// Registers of every function, and of functions with header type 0.
pub mod register {
    /// Vendor, 16 bits; device, 16 bits
    pub const ID: u16 = 0x00;
    /// Command, 16 bits; status, 16 bits
    pub const COMMAND: u16 = 0x04;
    /// Revision, 8 bits; class code, 24 bits
    pub const CLASS: u16 = 0x08;
    /// Cache line size, latency timer, header type, built-in self test, 8 bits each
    pub const CACHE_LINE: u16 = 0x0c;
    /// First base address
    pub const BAR0: u16 = 0x10;
    /// Subsystem vendor, 16 bits; subsystem, 16 bits
    pub const SUBSYSTEM: u16 = 0x2c;
    /// Interrupt line and pin, 8 bits each; two registers that PCI Express has no use for
    pub const INTERRUPT: u16 = 0x3c;
}

/// Class code of a host bridge: base class, sub-class, programming interface.
pub const CLASS_HOST_BRIDGE: u32 = 0x06_00_00;

/// The two ports of configuration mechanism #1, as offsets in their block of eight.
pub mod port {
    /// CONFIG_ADDRESS, four bytes, taken as a whole only
    pub const ADDRESS: u8 = 0;
    /// CONFIG_DATA, four bytes
    pub const DATA: u8 = 4;
}

bitflags! {
    /// CONFIG_ADDRESS.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct ConfigAddress: u32 {
        /// Accesses of CONFIG_DATA reach configuration space
        const ENABLE = 1 << 31;
        /// Bus
        const BUS = 0xff << 16;
        /// Device, five bits, and function, three bits
        const FUNCTION = 0xff << 8;
        /// Register, in whole double words
        const REGISTER = 0xfc;
    }
}

impl ConfigAddress {
    /// Number of the bus.
    #[must_use]
    pub const fn bus(self) -> u8 {
        (self.bits() >> 16) as u8
    }

    /// Where the double word is in the window of its bus: see [`ecam`].
    #[must_use]
    pub const fn ecam(self) -> u32 {
        let function = self.intersection(Self::FUNCTION).bits();
        let register = self.intersection(Self::REGISTER).bits();
        function << 4 | register
    }
}

/// A function's place on its bus: device in bits 7:3, function in bits 2:0.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct DeviceFunction(pub u8);

/// Splits an offset in one bus's part of the window (PCIe 5.0, table 7-1, "Enhanced Configuration Address Mapping").
#[must_use]
pub const fn ecam(offset: u32) -> (DeviceFunction, u16) {
    (
        DeviceFunction((offset >> 12) as u8),
        (offset & (CONFIG_SIZE as u32).wrapping_sub(1)) as u16,
    )
}

/// `_OSC` of a host bridge (PCI Firmware Specification 3.3, section 4.5.1, "_OSC Interface for PCI Host Bridge Devices").
pub mod osc {
    /// Which interface is meant
    pub const UUID: &str = "33db4d5b-1ff7-401c-9657-7441c03dd766";
    /// Status: the interface is not known
    pub const UNRECOGNIZED_UUID: u32 = 1 << 2;
    /// Status: some of what was asked for was not granted
    pub const CAPABILITIES_MASKED: u32 = 1 << 4;
    /// Control: the PCI Express capability structures are the operating system's
    pub const EXPRESS_CAPABILITY: u32 = 1 << 4;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_of_both_mechanisms() {
        assert_eq!(ecam(0), (DeviceFunction(0), 0));
        assert_eq!(ecam(0x0f_fffc), (DeviceFunction(0xff), 0xffc));
        assert_eq!(ecam(0x1_0104), (DeviceFunction(2 << 3), 0x104));
        let a = ConfigAddress::from_bits_retain(0x8012_1344);
        assert_eq!(a.bus(), 0x12);
        assert_eq!(ecam(a.ecam()), (DeviceFunction(0x13), 0x44));
    }
}
