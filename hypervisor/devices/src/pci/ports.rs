//! Configuration mechanism #1 of conventional PCI: an address port and a data port.
//!
//! Superseded by the memory window, and still in each PC: Linux 6.1 and older use the window only once ACPI runs, and
//! tell the user of an error when nothing reaches configuration space before that.

use super::Bus;
use seam::AccessError;
use spec::Width;
use spec::pci::{ConfigAddress, port};

/// The number of the one bus.
const BUS: u8 = 0;

impl Bus {
    /// Reads the ports at `offset` from CONFIG_ADDRESS.
    ///
    /// # Errors
    /// [`AccessError::Absent`] where the bridge lets the access pass by: CONFIG_ADDRESS as anything but a double word,
    /// CONFIG_DATA while it is not enabled or no function answers; [`AccessError::Width`] beyond the end of CONFIG_DATA.
    pub fn read_port(&self, offset: u8, width: Width) -> Result<u64, AccessError> {
        match (offset, width) {
            (port::ADDRESS, Width::B4) => Ok(self.address.bits().into()),
            _ => self.read(self.selected(offset)?, width),
        }
    }

    /// Writes the ports at `offset` from CONFIG_ADDRESS.
    ///
    /// # Errors
    /// As for [`Bus::read_port`]; nothing was written.
    pub fn write_port(&mut self, offset: u8, width: Width, value: u64) -> Result<(), AccessError> {
        match (offset, width) {
            (port::ADDRESS, Width::B4) => {
                self.address = ConfigAddress::from_bits_truncate(value as u32);
                Ok(())
            }
            _ => self.write(self.selected(offset)?, width, value),
        }
    }

    /// Where in the memory window the byte of CONFIG_DATA at port `offset` is.
    fn selected(&self, offset: u8) -> Result<u32, AccessError> {
        let enabled = self.address.contains(ConfigAddress::ENABLE) && self.address.bus() == BUS;
        match offset.checked_sub(port::DATA) {
            Some(byte @ 0..4) if enabled => Ok(self.address.ecam() | u32::from(byte)),
            _ => Err(AccessError::Absent),
        }
    }
}
