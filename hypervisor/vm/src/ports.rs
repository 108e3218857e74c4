//! Port I/O: which chip answers, byte by byte, as the eight-bit devices of a PC do; but PCI's by whole accesses.

use crate::interrupts::By;
use crate::{Vcpu, Vm};
use devices::acpi_pm::Effect;
use exits::{Direction, PortAccess, Stop};
use platform::layout::{ACPI_PM, CMOS, PCI_CONFIG, UART, WATCHDOG};
use seam::{GuestMem, SerialLine};
use spec::cpu::{Gpr, Gprs};
use spec::{Port, Ticks, Width, acpi_pm, watchdog};

/// What an absent port reads as.
const ABSENT: u8 = 0xff;

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    /// Carries out one IN or OUT.
    #[inline]
    pub(crate) fn port(
        &self,
        vcpu: &Vcpu,
        access: &PortAccess,
        gprs: &mut Gprs,
        now: Ticks,
    ) -> Result<(), Stop> {
        let rax = gprs.get(Gpr::Rax);
        let by = Some(vcpu.index);
        match access.direction {
            Direction::Out => self.write_port(by, access.port, access.width, rax, now),
            Direction::In => {
                let value = self.read_port(by, access.port, access.width, now);
                // IN to EAX clears the upper half, to AX and AL it does not (SDM vol. 1, "General-Purpose Registers
                // in 64-Bit Mode").
                let kept = match access.width {
                    Width::B1 => rax & !0xff,
                    Width::B2 => rax & !0xffff,
                    Width::B4 | Width::B8 => 0,
                };
                gprs.set(Gpr::Rax, kept | value);
                Ok(())
            }
        }
    }

    pub(crate) fn read_port(&self, by: By, port: Port, width: Width, now: Ticks) -> u64 {
        if let Some(offset) = within(port, PCI_CONFIG, 8)
            && let Ok(value) = self.chips.pci.lock().read_port(offset, width)
        {
            return value;
        }
        if let Some(offset) = within(port, WATCHDOG, watchdog::BLOCK_SIZE.into())
            && let Ok(value) = self.read_watchdog(offset, width, now)
        {
            return value;
        }
        bytes(port, width).rev().fold(0, |value, p| {
            value << 8 | u64::from(self.read_byte(by, p, now))
        })
    }

    pub(crate) fn write_port(
        &self,
        by: By,
        port: Port,
        width: Width,
        value: u64,
        now: Ticks,
    ) -> Result<(), Stop> {
        if let Some(offset) = within(port, PCI_CONFIG, 8)
            && let Ok(()) = self.chips.pci.lock().write_port(offset, width, value)
        {
            return Ok(());
        }
        if let Some(offset) = within(port, WATCHDOG, watchdog::BLOCK_SIZE.into())
            && let Ok(()) = self.write_watchdog(offset, width, value, now)
        {
            return Ok(());
        }
        for (shift, p) in (0..).step_by(8).zip(bytes(port, width)) {
            self.write_byte(by, p, (value >> shift) as u8, now)?;
        }
        Ok(())
    }

    fn read_byte(&self, by: By, port: Port, now: Ticks) -> u8 {
        if let Some(offset) = within(port, UART, 8) {
            let mut serial = self.chips.serial.lock();
            let serial = &mut *serial;
            let value = serial.uart.read(offset, &mut serial.line);
            self.sync_serial_pin(by, serial);
            value
        } else if let Some(offset) = within(port, CMOS, 2) {
            self.chips.cmos.lock().read(offset, now)
        } else if let Some(offset) = within(port, ACPI_PM, acpi_pm::BLOCK_SIZE.into()) {
            self.chips.power.lock().read(offset)
        } else {
            ABSENT
        }
    }

    fn write_byte(&self, by: By, port: Port, value: u8, now: Ticks) -> Result<(), Stop> {
        if let Some(offset) = within(port, UART, 8) {
            let mut serial = self.chips.serial.lock();
            let serial = &mut *serial;
            serial.uart.write(offset, value, &mut serial.line);
            self.sync_serial_pin(by, serial);
        } else if let Some(offset) = within(port, CMOS, 2) {
            self.chips.cmos.lock().write(offset, value, now);
        } else if let Some(offset) = within(port, ACPI_PM, acpi_pm::BLOCK_SIZE.into()) {
            match self.chips.power.lock().write(offset, value) {
                Effect::None => {}
                Effect::PowerOff => return Err(Stop::PowerOff),
                Effect::Reset => return Err(Stop::Reset),
            }
        }
        Ok(())
    }
}

/// The ports that an access touches; the last port's neighbour is the first.
fn bytes(first: Port, width: Width) -> impl DoubleEndedIterator<Item = Port> + ExactSizeIterator {
    (0..width.bytes() as u16).map(move |i| Port(first.0.wrapping_add(i)))
}

#[inline]
fn within(port: Port, base: Port, len: u16) -> Option<u8> {
    let offset = port.0.wrapping_sub(base.0);
    (offset < len).then_some(offset as u8)
}
