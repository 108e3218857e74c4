//! The interrupt command register (SDM vol. 3, "Issuing Interprocessor Interrupts").

use crate::interrupt::{Delivery, Destination, NoDelivery};
use spec::apic::{Icr, shorthand};

/// An interprocessor interrupt, on its way.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Ipi {
    /// What its receivers are to do
    pub delivery: Delivery,
    /// Who they are
    pub destination: Destination,
}

/// Bits 31:20, 17:16 and 13, which an x2APIC refuses. Bit 12 reads as zero there and is not checked, as
/// "Virtualizing MSR-Based APIC Accesses" has it for the processor's own check.
pub(super) const RESERVED: u32 = !(Icr::all().bits());

/// What a command asks for.
pub(super) enum Command {
    /// Send this
    Send(Ipi),
    /// Deliver this to oneself
    ToSelf(Delivery),
    /// A vector below 16: an error to log
    IllegalVector,
    /// Nothing: modes and combinations that are reserved, and the INIT level de-assert of old
    Nothing,
}

/// Decodes a command; `destination` is what its destination field says.
pub(super) fn decode(icr: Icr, destination: Destination) -> Command {
    let mode = ((icr & Icr::DELIVERY).bits() >> 8) as u8;
    let vector = (icr & Icr::VECTOR).bits() as u8;
    let delivery = match Delivery::decode(mode, vector) {
        Ok(delivery) => delivery,
        Err(NoDelivery::IllegalVector) => return Command::IllegalVector,
        Err(NoDelivery::Mode) => return Command::Nothing,
    };
    if delivery == Delivery::Init && icr.contains(Icr::LEVEL) && !icr.contains(Icr::ASSERT) {
        return Command::Nothing;
    }
    let destination = match ((icr & Icr::SHORTHAND).bits() >> 18) as u8 {
        shorthand::SELF => return Command::ToSelf(delivery),
        shorthand::ALL => Destination::All,
        shorthand::ALL_BUT_SELF => Destination::AllButSelf,
        _ => destination,
    };
    Command::Send(Ipi {
        delivery,
        destination,
    })
}
