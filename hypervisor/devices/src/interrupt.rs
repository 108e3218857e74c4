//! What interrupt messages say, whether from an I/O APIC or between local APICs
//! (SDM vol. 3, "Interrupt Command Register (ICR)"; 82093AA data sheet, section 3.2.4).

use spec::Vector;
use spec::apic::{FIRST_VECTOR, X2APIC_BROADCAST, XAPIC_BROADCAST, delivery};

/// What the receiver is to do.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Delivery {
    /// Every processor addressed takes this vector.
    Fixed(Vector),
    /// The one with the lowest priority among those addressed takes this vector.
    LowestPriority(Vector),
    /// System management interrupt
    Smi,
    /// Non-maskable interrupt
    Nmi,
    /// INIT
    Init,
    /// Start-up: real mode at this page number
    StartUp(u8),
}

/// Why a delivery mode and vector make no message.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum NoDelivery {
    /// A vector below 16
    IllegalVector,
    /// A reserved mode, or one that needs an 8259A, which this platform has not
    Mode,
}

impl Delivery {
    /// From the encoded mode, of which the low three bits count, and the vector field.
    pub(crate) const fn decode(mode: u8, vector: u8) -> Result<Delivery, NoDelivery> {
        Ok(match mode & 7 {
            delivery::FIXED | delivery::LOWEST_PRIORITY if vector < FIRST_VECTOR => {
                return Err(NoDelivery::IllegalVector);
            }
            delivery::FIXED => Delivery::Fixed(Vector(vector)),
            delivery::LOWEST_PRIORITY => Delivery::LowestPriority(Vector(vector)),
            delivery::SMI => Delivery::Smi,
            delivery::NMI => Delivery::Nmi,
            delivery::INIT => Delivery::Init,
            delivery::START_UP => Delivery::StartUp(vector),
            _ => return Err(NoDelivery::Mode),
        })
    }
}

/// Whom a message is for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Destination {
    /// The one with this APIC id
    Physical(u32),
    /// All whose logical address matches; how, depends on each receiver's mode
    Logical(u32),
    /// Everyone, the sender too
    All,
    /// Everyone but the sender
    AllButSelf,
}

impl Destination {
    /// From the 32-bit destination field of an x2APIC ("Broadcast/Self Delivery Mode").
    pub(crate) const fn x2apic(field: u32, logical: bool) -> Destination {
        match field {
            X2APIC_BROADCAST => Destination::All,
            _ if logical => Destination::Logical(field),
            _ => Destination::Physical(field),
        }
    }

    /// From the 8-bit destination field of an xAPIC or I/O APIC. A logical broadcast needs no case of its own:
    /// its bits match every receiver ("Determining IPI Destination").
    pub(crate) const fn xapic(field: u8, logical: bool) -> Destination {
        match field as u32 {
            field if logical => Destination::Logical(field),
            XAPIC_BROADCAST => Destination::All,
            field => Destination::Physical(field),
        }
    }
}
