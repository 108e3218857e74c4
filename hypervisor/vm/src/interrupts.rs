//! The way of an interrupt: from a pin or a local APIC to the mailboxes that it is for.

use crate::{Mailbox, Vcpu, Vm};
use devices::lapic::{Effect, Ipi};
use devices::{Delivery, Destination};
use exits::{Answer, Stop};
use seam::{GuestMem, SerialLine};
use spec::Width;

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    /// Sets an input pin of the I/O APIC and carries the message, if one comes of it.
    pub(crate) fn set_pin(&self, pin: u8, level: bool) {
        let message = self.chips.ioapic.lock().set_pin(pin, level);
        if let Some(m) = message {
            self.deliver(m.delivery, m.destination, m.level, None);
        }
    }

    /// Writes a register of the I/O APIC and carries what comes of it.
    pub(crate) fn write_ioapic(&self, offset: u16, width: Width, value: u64) {
        let mut chip = self.chips.ioapic.lock();
        // What is absent, or takes no such width, swallows the write.
        for m in chip.write(offset, width, value).into_iter().flatten() {
            self.deliver(m.delivery, m.destination, m.level, None);
        }
    }

    /// Moves bytes between the UART and its line, and tells the I/O APIC if the interrupt pin has moved.
    pub fn poll_serial(&self) {
        let mut serial = self.chips.serial.lock();
        let serial = &mut *serial;
        serial.uart.poll(&mut serial.line);
        self.sync_serial_pin(serial);
    }

    pub(crate) fn sync_serial_pin(&self, serial: &mut crate::chips::Serial<L>) {
        let level = serial.uart.interrupt();
        if level != serial.pin {
            serial.pin = level;
            self.set_pin(platform::layout::UART_GSI, level);
        }
    }

    /// What an access to a vCPU's own local APIC asks of the rest of the VM.
    pub(crate) fn carry(&self, vcpu: &Vcpu, effect: Effect) -> Result<(), Stop> {
        match effect {
            Effect::None => Ok(()),
            Effect::Eoi(vector) => {
                let mut chip = self.chips.ioapic.lock();
                for m in chip.eoi(vector) {
                    self.deliver(m.delivery, m.destination, m.level, None);
                }
                Ok(())
            }
            Effect::Ipi(Ipi {
                delivery,
                destination,
                ..
            }) => match delivery {
                // Start-up is for processors that wait for it; with all of them running it is ignored, as hardware has it.
                Delivery::StartUp(_) | Delivery::Smi => Ok(()),
                Delivery::Init
                    if self
                        .addressed(destination, Some(vcpu.index))
                        .next()
                        .is_some() =>
                {
                    Err(Stop::Unsupported("INIT sent to a running vCPU"))
                }
                Delivery::Init => Ok(()),
                _ => {
                    self.deliver(delivery, destination, false, Some(vcpu.index));
                    Ok(())
                }
            },
        }
    }

    /// Posts a message to each vCPU that it is for.
    fn deliver(
        &self,
        delivery: Delivery,
        destination: Destination,
        level: bool,
        sender: Option<u32>,
    ) {
        let mut to = self.addressed(destination, sender);
        match delivery {
            Delivery::Fixed(vector) => to.for_each(|m| m.post(vector, level)),
            // Any of them may take it; priorities of vCPUs that other cores run are not to be had without asking.
            Delivery::LowestPriority(vector) => {
                if let Some(m) = to.next() {
                    m.post(vector, level);
                }
            }
            Delivery::Nmi => to.for_each(Mailbox::post_nmi),
            Delivery::Smi | Delivery::Init | Delivery::StartUp(_) => {}
        }
    }

    fn addressed(
        &self,
        destination: Destination,
        sender: Option<u32>,
    ) -> impl Iterator<Item = &Mailbox> {
        (0..).zip(&self.mailboxes).filter_map(move |(i, m)| {
            let spared = destination == Destination::AllButSelf && Some(i) == sender;
            (!spared && m.matches(destination)).then_some(m)
        })
    }
}

/// The answer to an instruction that is done unless the VM has to stop.
pub(crate) fn done(r: Result<(), Stop>) -> Answer {
    match r {
        Ok(()) => Answer::Advance,
        Err(stop) => Answer::Stop(stop),
    }
}
