//! The PCI bus of a root complex: bus 0, reached through the memory window of PCI Express (ECAM), and its first 256 bytes
//! a function through two ports as well.
//!
//! The host bridge is function 0:0.0. A function that is not there answers nothing, which a guest reads as all ones:
//! how it finds out that a slot is empty.

mod config;
mod ports;
#[cfg(test)]
mod tests;

pub use config::ConfigSpace;

use heapless::Vec;
use seam::AccessError;
use spec::Width;
use spec::pci::{self, CLASS_HOST_BRIDGE, ConfigAddress, DeviceFunction};

/// The most functions of a bus.
const FUNCTIONS: usize = 8;

/// The host bridge of virtual machines that have no chipset: vendor Red Hat, who keeps the number for all of them, "PCIe
/// host bridge". No driver binds to it, and no kernel has a workaround for it.
const HOST_BRIDGE_ID: u32 = 0x0008_1b36;
/// Where each host bridge is, by custom and by what old kernels look for.
const HOST_BRIDGE: DeviceFunction = DeviceFunction(0);

/// Bus 0 and its functions.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Bus {
    functions: Vec<(DeviceFunction, ConfigSpace), FUNCTIONS>,
    /// CONFIG_ADDRESS
    address: ConfigAddress,
}

/// The place of a function is taken, or the bus is full.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct NoPlace;

impl Default for Bus {
    fn default() -> Self {
        Self::new()
    }
}

impl Bus {
    /// A bus with its host bridge alone, just after reset.
    #[must_use]
    pub fn new() -> Self {
        let mut bus = Self {
            functions: Vec::new(),
            address: ConfigAddress::empty(),
        };
        // A bridge with nothing to set: no base address, no interrupt, no capability. Bus mastering and decoding are
        // not its own to switch off, so that its command register is hardwired to zero (PCIe 5.0, section 7.5.1.1.3).
        let bridge = ConfigSpace::new(HOST_BRIDGE_ID, CLASS_HOST_BRIDGE, 0);
        let _ = bus.add(HOST_BRIDGE, bridge);
        bus
    }

    /// Puts a function on the bus.
    ///
    /// # Errors
    /// [`NoPlace`]; the bus is as before.
    pub fn add(&mut self, at: DeviceFunction, function: ConfigSpace) -> Result<(), NoPlace> {
        if self.functions.iter().any(|f| f.0 == at) {
            return Err(NoPlace);
        }
        self.functions.push((at, function)).map_err(|_| NoPlace)
    }

    /// Reads the window at `offset` from its start.
    ///
    /// # Errors
    /// [`AccessError::Absent`] where no function is, [`AccessError::Width`] for an access that does not lie within one
    /// double word, which a root complex need not carry out (PCIe 5.0, section 7.2.2).
    pub fn read(&self, offset: u32, width: Width) -> Result<u64, AccessError> {
        let (at, register) = pci::ecam(offset);
        self.functions
            .iter()
            .find(|f| f.0 == at)
            .ok_or(AccessError::Absent)?
            .1
            .read(register, width)
    }

    /// Writes the window. Bits that are read-only keep their value.
    ///
    /// # Errors
    /// As for [`Bus::read`]; nothing was written.
    pub fn write(&mut self, offset: u32, width: Width, value: u64) -> Result<(), AccessError> {
        let (at, register) = pci::ecam(offset);
        self.functions
            .iter_mut()
            .find(|f| f.0 == at)
            .ok_or(AccessError::Absent)?
            .1
            .write(register, width, value)
    }
}
