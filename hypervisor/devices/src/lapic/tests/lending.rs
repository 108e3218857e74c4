//! Which carrier a local APIC gets, and how it goes from one to another, a case at a time.

use super::machine::{CARRIERS, Machine};
use super::*;
use spec::apic::{Carrier, PhysicalApic};
use std::boxed::Box;

/// IA32_APIC_BASE: in xAPIC mode, to which none leads from x2APIC mode
const XAPIC: u64 = 0xfee0_0800;
const DISABLED: u64 = 0xfee0_0000;
/// LVT timer: TSC-deadline mode, vector 0x40
pub(super) const DEADLINE: u32 = 0x4_0040;
pub(super) const MASKED: u32 = 0x1_0000;

pub(super) fn page() -> &'static VirtualApicPage {
    Box::leak(Box::new(VirtualApicPage::new()))
}

/// One that all three can carry.
pub(super) fn ready() -> Lapic {
    let mut apic = x2apic(5);
    put(&mut apic, register::LVT_TIMER, DEADLINE);
    apic
}

pub(super) fn words(vectors: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    for &v in vectors {
        words[usize::from(v / 64)] |= 1 << (v % 64);
    }
    words
}

pub(super) fn direct() -> Lapic {
    let mut apic = ready();
    let _ = apic.lend_to_processor();
    apic
}

#[test]
fn an_apic_gets_the_best_carrier_that_suits_it() {
    use Carrier::{Accelerated, Direct, Software};
    let suits =
        |apic: &Lapic| CARRIERS.map(|best| [apic.suits(best, false), apic.suits(best, true)]);
    let nothing = [[Software; 2]; 3];
    let no_direct = [
        [Software; 2],
        [Software, Accelerated],
        [Software, Accelerated],
    ];
    let all = [[Software; 2], [Software, Accelerated], [Direct; 2]];
    let refused = |apic: &Lapic, why, expected| {
        assert_eq!(apic.why_not_direct(), Some(why));
        assert_eq!(suits(apic), expected, "{why}");
    };

    let mut apic = xapic(0);
    put(&mut apic, register::LVT_TIMER, DEADLINE);
    refused(&apic, "the guest keeps xAPIC mode", nothing);
    refused(
        &x2apic(0),
        "the local APIC timer is not in TSC-deadline mode",
        no_direct,
    );

    let mut apic = ready();
    assert_eq!((apic.why_not_direct(), suits(&apic)), (None, all));
    put(&mut apic, register::SVR, 0xff);
    refused(&apic, "disabled by software", nothing);

    let mut apic = ready();
    put(&mut apic, register::LVT_TIMER, 0x4_000f);
    refused(
        &apic,
        "the local APIC timer's vector is an exception's",
        no_direct,
    );
    put(&mut apic, register::LVT_TIMER, 0x4_0000 | MASKED);
    assert_eq!(suits(&apic), all, "a masked one never comes");

    let mut apic = ready();
    apic.set_tsc_offset(1, NOW);
    refused(&apic, "the guest's TSC is not the host's", no_direct);
    apic.set_tsc_offset(0, NOW);
    apic.accept(Vector(0x41), true);
    assert_eq!(suits(&apic), all, "what is only requested can be");
    apic.acknowledge(Vector(0x41));
    refused(&apic, "an interrupt is in service", no_direct);
    let _ = apic.lend_to_page(page());
    refused(&apic, "an interrupt is in service", no_direct);
    apic.take_from_page();
    assert_eq!(eoi(&mut apic), Effect::Eoi(Vector(0x41)));
    let _ = apic.lend_to_page(page());
    assert_eq!(suits(&apic), all);
}

#[test]
fn init_and_disabling_take_the_apic_back_and_leave_nothing() {
    type End = fn(&mut Lapic);
    let ends: [(&str, End); 3] = [
        ("INIT", |apic| apic.init()),
        ("reset", |apic| apic.reset()),
        ("disabled", |apic| {
            assert_eq!(apic.set_base_msr(DISABLED), Ok(()));
        }),
    ];
    for carrier in CARRIERS {
        for (end, act) in ends {
            let mut expected = ready();
            act(&mut expected);
            let mut apic = Machine::new(ready(), carrier).apic;
            apic.accept(Vector(0x77), true);
            assert_eq!(apic.set_base_msr(XAPIC), Err(AccessError::Value));
            assert_eq!(apic.carrier(), carrier, "a refused write changes nothing");
            act(&mut apic);
            assert_eq!(apic, expected, "{end} while {carrier}");
            // What the processor held is nobody's.
            apic.take_from_page();
            let state = PhysicalApic {
                irr: words(&[0x55]),
                ..PhysicalApic::default()
            };
            apic.take_from_processor(state, NOW);
            assert_eq!(apic, expected, "{end} while {carrier}");
        }
    }
}

#[test]
fn a_level_triggered_interrupt_in_flight_ends_on_any_carrier() {
    for requested in [false, true] {
        let mut apic = direct();
        apic.accept(Vector(0x51), true);
        let raised = apic.take_requests();
        let (irr, isr) = if requested {
            (raised, [0; 4])
        } else {
            ([0; 4], raised)
        };
        let state = PhysicalApic {
            irr,
            isr,
            ..PhysicalApic::default()
        };
        apic.take_from_processor(state, NOW);
        if requested {
            apic.acknowledge(Vector(0x51));
        }
        let (status, exits) = apic.lend_to_page(page());
        assert_eq!((status.in_service, exits), (0x51, raised));
        assert_eq!(
            apic.end_virtualized(Vector(0x51)),
            Effect::Eoi(Vector(0x51))
        );
    }
}

#[test]
fn the_carried_apic_makes_the_exits_that_it_must_and_no_others() {
    for (carrier, expected) in [
        (Carrier::Software, [1, 1, 1, 1, 1, 1]),
        (Carrier::Accelerated, [0, 0, 0, 0, 1, 1]),
        (Carrier::Direct, [0, 0, 0, 0, 0, 1]),
    ] {
        let mut machine = Machine::ready(carrier);
        machine.post(0x41);
        let steps: [fn(&mut Machine); 6] = [
            |m| assert_eq!(m.write(register::TPR, 0x20), Ok(Effect::None)),
            |m| assert_eq!(m.take(), Some(Vector(0x41))),
            |m| assert_eq!(m.write(register::EOI, 0), Ok(Effect::None)),
            |m| assert_eq!(m.write(register::SELF_IPI, 0x42), Ok(Effect::None)),
            |m| m.set_deadline(1 << 40),
            |m| assert_eq!(m.write(register::ICR, 0x4_4043), Ok(Effect::None)),
        ];
        let made = steps.map(|step| {
            let before = machine.exits;
            step(&mut machine);
            machine.exits - before
        });
        assert_eq!(made, expected, "{carrier}");
    }
}
