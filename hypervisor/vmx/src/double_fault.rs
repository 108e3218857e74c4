//! What comes of an exception while another event is being delivered (SDM vol. 3, "Interrupt 8: Double Fault
//! Exception (#DF)", tables "Interrupt and Exception Classes" and "Conditions for Generating a Double Fault").

use spec::Vector;
use spec::cpu::vector;
use spec::vmx_event::{EventKind, InterruptionInfo};

/// The outcome.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Combined {
    /// The second is delivered; the first comes again by itself, if its cause lasts
    Second,
    /// #DF
    DoubleFault,
    /// The processor shuts down
    TripleFault,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Class {
    Benign,
    Contributory,
    PageFault,
    DoubleFault,
}

/// Control protection
const CP: Vector = Vector(21);
/// Virtualization
const VE: Vector = Vector(20);

const fn class(v: Vector) -> Class {
    match v {
        vector::DE | vector::TS | vector::NP | vector::SS | vector::GP | CP => Class::Contributory,
        vector::PF | VE => Class::PageFault,
        vector::DF => Class::DoubleFault,
        _ => Class::Benign,
    }
}

/// `first` was being delivered when the exception `second` came up.
pub(crate) const fn combine(first: InterruptionInfo, second: Vector) -> Combined {
    // Interrupts and the instructions INT n, INT1, INT3 and INTO are benign whatever their vector.
    let first = match first.kind() {
        EventKind::HardwareException => class(first.vector()),
        _ => Class::Benign,
    };
    match (first, class(second)) {
        (Class::DoubleFault, Class::Contributory | Class::PageFault | Class::DoubleFault) => {
            Combined::TripleFault
        }
        (Class::Contributory, Class::Contributory)
        | (Class::PageFault, Class::Contributory | Class::PageFault) => Combined::DoubleFault,
        _ => Combined::Second,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn exception(v: Vector) -> InterruptionInfo {
        InterruptionInfo::new(v, EventKind::HardwareException, false)
    }

    #[test]
    fn the_table_of_the_manual() {
        use Combined::{DoubleFault as Df, Second, TripleFault};
        let benign = [
            vector::DB,
            vector::BP,
            vector::UD,
            vector::NM,
            vector::MF,
            vector::AC,
            vector::MC,
            vector::XM,
        ];
        let contributory = [
            vector::DE,
            vector::TS,
            vector::NP,
            vector::SS,
            vector::GP,
            CP,
        ];
        let page_fault = [vector::PF, VE];
        let table: [(&[Vector], &[Vector], Combined); 12] = [
            (&benign, &benign, Second),
            (&benign, &contributory, Second),
            (&benign, &page_fault, Second),
            (&contributory, &benign, Second),
            (&contributory, &contributory, Df),
            (&contributory, &page_fault, Second),
            (&page_fault, &benign, Second),
            (&page_fault, &contributory, Df),
            (&page_fault, &page_fault, Df),
            (&[vector::DF], &benign, Second),
            (&[vector::DF], &contributory, TripleFault),
            (&[vector::DF], &page_fault, TripleFault),
        ];
        for (firsts, seconds, expected) in table {
            for first in firsts {
                for second in seconds {
                    assert_eq!(
                        combine(exception(*first), *second),
                        expected,
                        "{first:?} then {second:?}"
                    );
                }
            }
        }
    }

    #[test]
    fn interrupts_and_int_n_are_benign_whatever_their_vector() {
        for kind in [
            EventKind::ExternalInterrupt,
            EventKind::Nmi,
            EventKind::SoftwareInterrupt,
            EventKind::PrivilegedSoftwareException,
            EventKind::SoftwareException,
        ] {
            let first = InterruptionInfo::new(vector::GP, kind, false);
            assert_eq!(combine(first, vector::GP), Combined::Second, "{kind:?}");
        }
    }
}
