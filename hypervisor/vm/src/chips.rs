//! The chips that a VM's vCPUs share, each behind its own lock.

use crate::watchdog::Watched;
use devices::{AcpiPm, Cmos, IoApic, Uart, Watchdog, pci};
use seam::SerialLine;
use spin::Mutex;

/// The board of a VM. Locks rank in the order of the fields, and none is held while another is taken but for the
/// UART's, whose interrupt pin leads to the I/O APIC.
#[derive(Debug)]
pub struct Chips<L> {
    /// COM1 and the line behind it
    pub serial: Mutex<Serial<L>>,
    /// I/O APIC
    pub ioapic: Mutex<IoApic>,
    /// Clock
    pub cmos: Mutex<Cmos>,
    /// Power-off and reset
    pub power: Mutex<AcpiPm>,
    /// PCI bus 0
    pub pci: Mutex<pci::Bus>,
    /// Watchdog, if the plan has one
    pub watchdog: Option<Mutex<Watched>>,
}

/// A UART and where its bytes go.
#[derive(Debug)]
pub struct Serial<L> {
    /// The chip
    pub uart: Uart,
    /// The outside
    pub line: L,
    /// The level of its interrupt pin that the I/O APIC was last told
    pub(crate) pin: bool,
}

impl<L: SerialLine> Chips<L> {
    /// The board as at power-on.
    #[must_use]
    pub fn new(line: L, cmos: Cmos, watchdog: Option<Watchdog>) -> Self {
        Self {
            serial: Mutex::new(Serial {
                uart: Uart::new(),
                line,
                pin: false,
            }),
            ioapic: Mutex::new(IoApic::new(0)),
            cmos: Mutex::new(cmos),
            power: Mutex::new(AcpiPm::new()),
            pci: Mutex::new(pci::Bus::new()),
            watchdog: watchdog.map(|chip| Mutex::new(Watched::new(chip))),
        }
    }

    /// Puts others in their place, lock by lock.
    pub(crate) fn replace(&self, new: Self) {
        *self.serial.lock() = new.serial.into_inner();
        *self.ioapic.lock() = new.ioapic.into_inner();
        *self.cmos.lock() = new.cmos.into_inner();
        *self.power.lock() = new.power.into_inner();
        *self.pci.lock() = new.pci.into_inner();
        // A VM has one or it has none, as long as there is the VM.
        if let (Some(watchdog), Some(new)) = (&self.watchdog, new.watchdog) {
            *watchdog.lock() = new.into_inner();
        }
    }
}
