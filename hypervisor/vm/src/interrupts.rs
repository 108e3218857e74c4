//! The way of an interrupt: from a pin or a local APIC to the mailboxes that it is for.
//!
//! There is no system management mode, so SMI is ignored. The pins of the board's I/O APIC carry interrupts and NMI; INIT and
//! start-up are for processors to send.

use crate::{Mailbox, Vcpu, Vm};
use core::ops::Range;
use core::sync::atomic::Ordering;
use devices::lapic::{Effect, Ipi};
use devices::{Delivery, Destination};
use exits::{Answer, Stop};
use seam::{GuestMem, SerialLine};
use spec::{Vector, Width};

/// On whose core something happens: that of the vCPU whose exit is being answered, which looks into its own mailbox before it enters
/// it again; `None` if the core does something else.
pub(crate) type By = Option<u32>;

/// The bootstrap processor.
const BOOTSTRAP: u32 = 0;

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    /// Sets an input pin of the I/O APIC and carries the message, if one comes of it.
    pub(crate) fn set_pin(&self, by: By, pin: u8, level: bool) {
        let message = self.chips.ioapic.lock().set_pin(pin, level);
        if let Some(m) = message {
            self.deliver(m.delivery, m.destination, m.level, by);
        }
    }

    /// Writes a register of the I/O APIC and carries what comes of it.
    pub(crate) fn write_ioapic(&self, by: By, offset: u16, width: Width, value: u64) {
        let mut chip = self.chips.ioapic.lock();
        // What is absent, or takes no such width, swallows the write.
        for m in chip.write(offset, width, value).into_iter().flatten() {
            self.deliver(m.delivery, m.destination, m.level, by);
        }
    }

    /// Moves bytes between the UART and its line, and tells the I/O APIC if the interrupt pin has moved. Any core may call it, but
    /// not in the middle of an exit of this VM.
    pub fn poll_serial(&self) {
        let mut serial = self.chips.serial.lock();
        let serial = &mut *serial;
        serial.uart.poll(&mut serial.line);
        self.sync_serial_pin(None, serial);
    }

    pub(crate) fn sync_serial_pin(&self, by: By, serial: &mut crate::chips::Serial<L>) {
        let level = serial.uart.interrupt();
        if level != serial.pin {
            serial.pin = level;
            self.set_pin(by, platform::layout::UART_GSI, level);
        }
    }

    /// What an access to a vCPU's own local APIC asks of the rest of the VM.
    ///
    /// # Errors
    /// [`Stop::Reset`] for an INIT to the bootstrap processor: it would go on at the reset vector, where a machine has
    /// firmware that starts it anew. Here there is none, so the machine starts anew.
    #[inline]
    pub(crate) fn carry(&self, vcpu: &Vcpu, effect: Effect) -> Result<(), Stop> {
        let by = Some(vcpu.index);
        match effect {
            Effect::None => {}
            Effect::Eoi(vector) => {
                let mut chip = self.chips.ioapic.lock();
                for m in chip.eoi(vector) {
                    self.deliver(m.delivery, m.destination, m.level, by);
                }
            }
            Effect::Ipi(Ipi {
                delivery,
                destination,
            }) => match delivery {
                Delivery::Init => {
                    if self.addressed(destination, by).any(|(i, _)| i == BOOTSTRAP) {
                        return Err(Stop::Reset);
                    }
                    self.post_to_all(destination, by, Mailbox::post_init);
                }
                // For those that wait for it; the others ignore it.
                Delivery::StartUp(vector) => {
                    self.post_to_all(destination, by, |m| m.post_start_up(vector));
                }
                _ => self.deliver(delivery, destination, false, by),
            },
        }
        Ok(())
    }

    /// The guest has ended this interrupt in the local APIC that is lent to it, by a write that has exited.
    pub fn end_direct(&self, vcpu: &mut Vcpu, vector: Vector) {
        let effect = vcpu.lapic.end_physical(vector);
        // At most the I/O APIC is told, which stops no VM.
        let _ = self.carry(vcpu, effect);
    }

    /// Posts an interrupt to each vCPU that it is for.
    fn deliver(&self, delivery: Delivery, destination: Destination, level: bool, by: By) {
        match delivery {
            Delivery::Fixed(vector) => {
                for (i, m) in self.addressed(destination, by) {
                    self.send((i, m), by, vector, level);
                }
            }
            Delivery::LowestPriority(vector) => {
                if let Some(to) = self.lowest_priority(destination, by) {
                    self.send(to, by, vector, level);
                }
            }
            Delivery::Nmi => {
                for (i, m) in self.addressed(destination, by) {
                    let unseen = if by == Some(i) {
                        m.post_own_nmi()
                    } else {
                        m.post_nmi()
                    };
                    self.posted(i, by, unseen);
                }
            }
            Delivery::Smi | Delivery::Init | Delivery::StartUp(_) => {}
        }
    }

    /// Gets an interrupt to a vCPU. The one on whose core we are looks into its mailbox before it goes on.
    #[inline]
    fn send(&self, (to, mailbox): (u32, &Mailbox), by: By, vector: Vector, level: bool) {
        if by == Some(to) {
            let _ = mailbox.post(vector, level);
        } else if mailbox.send(vector, level, &*self.kick) {
            self.kick.kick(to);
        }
    }

    #[inline]
    fn post_to_all(&self, destination: Destination, by: By, post: impl Fn(&Mailbox) -> bool) {
        for (i, m) in self.addressed(destination, by) {
            self.posted(i, by, post(m));
        }
    }

    /// Kicks a vCPU whose core does not know yet that something is in its mailbox.
    #[inline]
    fn posted(&self, to: u32, by: By, unseen: bool) {
        if unseen && by != Some(to) {
            self.kick.kick(to);
        }
    }

    /// The one of those addressed that takes a lowest-priority interrupt: each that would not drop it in turn, as processors
    /// without a bus to arbitrate on do it. What the priority of a vCPU is, only its core knows.
    fn lowest_priority(&self, destination: Destination, by: By) -> Option<(u32, &Mailbox)> {
        let last = self.turn.load(Ordering::Relaxed);
        let able = || {
            self.addressed(destination, by)
                .filter(|(_, m)| m.address().takes_interrupts())
        };
        let chosen = able().find(|&(i, _)| i > last).or_else(|| able().next())?;
        // Two senders at once may choose the same: no harm.
        self.turn.store(chosen.0, Ordering::Relaxed);
        Some(chosen)
    }

    /// The vCPUs that a message is for, and their mailboxes. Only processors send to all but themselves.
    #[inline]
    fn addressed(
        &self,
        destination: Destination,
        sender: By,
    ) -> impl Iterator<Item = (u32, &Mailbox)> {
        let range = candidates(destination, self.mailboxes.len());
        let mailboxes = self.mailboxes.get(range.clone()).unwrap_or_default();
        (range.start as u32..)
            .zip(mailboxes)
            .filter(move |&(i, m)| {
                let spared = destination == Destination::AllButSelf && Some(i) == sender;
                !spared && m.matches(destination)
            })
    }
}

/// The indices, which are the APIC ids, among which the receivers are, of `count` there are: so that a message to one asks few.
fn candidates(destination: Destination, count: usize) -> Range<usize> {
    let (first, len) = match destination {
        Destination::Physical(id) => (id as usize, 1),
        // More than xAPIC mode has bits for: a cluster of x2APICs (SDM vol. 3, "Logical Destination Mode in x2APIC Mode")
        Destination::Logical(to) if to > 0xff => ((to >> 16 << 4) as usize, 16),
        Destination::Logical(_) | Destination::All | Destination::AllButSelf => (0, count),
    };
    let first = first.min(count);
    first..first.saturating_add(len).min(count)
}

/// The answer to an instruction that is done unless the VM has to stop.
pub(crate) fn done(r: Result<(), Stop>) -> Answer {
    match r {
        Ok(()) => Answer::Advance,
        Err(stop) => Answer::Stop(stop),
    }
}

/// The same for one that RIP is past already.
pub(crate) fn already_done(r: Result<(), Stop>) -> Answer {
    match r {
        Ok(()) => Answer::Retry,
        Err(stop) => Answer::Stop(stop),
    }
}
