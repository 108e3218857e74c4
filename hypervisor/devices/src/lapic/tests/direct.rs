//! In the processor's own local APIC, a case at a time.

use super::lending::{DEADLINE, MASKED, direct, ready, words};
use super::*;
use spec::apic::{Carrier, PhysicalApic};

#[test]
fn the_processor_gets_all_and_gives_it_back() {
    let mut apic = ready();
    put(&mut apic, register::SVR, 0x3ee);
    apic.set_tsc_deadline(5000, NOW);
    apic.set_cr8(6);
    apic.accept(Vector(0x41), true);
    apic.accept(Vector(0xf2), false);
    let before = apic.clone();
    let state = apic.lend_to_processor();
    assert_eq!(
        state,
        PhysicalApic {
            tpr: 0x60,
            // Without bit 9, which a processor may refuse
            svr: 0x1ee,
            lvt_timer: DEADLINE,
            deadline: 5000,
            irr: words(&[0x41, 0xf2]),
            isr: [0; 4],
        }
    );
    assert_eq!((apic.deliverable(), apic.next_deadline()), (None, None));
    assert!(apic.has_level_in_flight());
    apic.take_from_processor(state, NOW);
    assert_eq!(apic, before);
}

#[test]
fn what_the_processor_did_meanwhile_comes_back() {
    let mut apic = direct();
    let state = PhysicalApic {
        tpr: 0x22,
        deadline: 900,
        // The lowest sixteen are nobody's.
        irr: [0xffff, 1 << 3, 0, 0],
        isr: words(&[0x33, 0x91]),
        ..PhysicalApic::default()
    };
    apic.accept(Vector(0x51), false);
    apic.take_from_processor(state, NOW);
    assert_eq!(
        apic.irr.words(),
        words(&[0x40, 0x43, 0x51]),
        "a deadline that has passed fires"
    );
    assert_eq!((apic.cr8(), apic.priority()), (2, 0x90));
    assert_eq!(apic.tsc_deadline(NOW), 0);
    assert_eq!(eoi(&mut apic), Effect::None);
    assert_eq!(apic.priority(), 0x30);

    let mut apic = direct();
    put(&mut apic, register::LVT_TIMER, DEADLINE | MASKED);
    apic.take_from_processor(state, NOW);
    assert_eq!(
        apic.irr.words(),
        words(&[0x43]),
        "one that is masked does not"
    );

    let mut apic = direct();
    apic.take_from_processor(PhysicalApic::default(), NOW);
    assert_eq!(
        (apic.next_deadline(), apic.deliverable()),
        (None, None),
        "0 is disarmed"
    );
}

/// Leaving TSC-deadline mode disarms; that the processor still has a deadline then means nothing.
#[test]
fn a_deadline_that_the_guest_left_behind_does_not_come() {
    let mut apic = direct();
    put(&mut apic, register::LVT_TIMER, 0x40);
    assert_eq!(apic.suits(Carrier::Direct, true), Carrier::Accelerated);
    let state = PhysicalApic {
        deadline: 900,
        ..PhysicalApic::default()
    };
    apic.take_from_processor(state, NOW);
    assert_eq!((apic.deliverable(), apic.next_deadline()), (None, None));
}

#[test]
fn a_level_triggered_interrupt_is_in_flight_until_its_end() {
    let mut apic = direct();
    assert!(!apic.has_level_in_flight());
    apic.accept(Vector(0x31), false);
    assert!(!apic.has_level_in_flight());
    apic.accept(Vector(0x51), true);
    assert_eq!(apic.take_requests(), words(&[0x31, 0x51]));
    assert_eq!(apic.take_requests(), [0; 4]);
    assert!(apic.has_level_in_flight());
    assert_eq!(
        get(&mut apic, register::TMR + 2),
        1 << 17,
        "a read that exits shows it"
    );
    assert_eq!(apic.end_physical(Vector(0x31)), Effect::None);
    assert!(apic.has_level_in_flight());
    assert_eq!(apic.end_physical(Vector(0x51)), Effect::Eoi(Vector(0x51)));
    assert!(!apic.has_level_in_flight());
    assert_eq!(apic.end_physical(Vector(0x51)), Effect::None);
}

/// Only what a processor takes reaches it, whatever the guest has written: a #GP there would be the hypervisor's.
#[test]
fn the_processor_is_programmed_with_what_it_takes() {
    for svr in 0..0x400 {
        let mut apic = ready();
        put(&mut apic, register::SVR, svr);
        assert_eq!(apic.programmed().svr, svr & 0x1ff);
    }
    for vector in 0..=0xff {
        let mut apic = direct();
        put(&mut apic, register::LVT_TIMER, 0x5_1000 | vector);
        assert_eq!(apic.programmed().lvt_timer, 0x5_0000 | vector);
    }
}

/// Its bit of TMR stays after its end, and would have each EOI of the guest exit for ever.
#[test]
fn a_level_triggered_interrupt_that_has_ended_is_not_in_flight() {
    let mut apic = ready();
    apic.accept(Vector(0x51), true);
    apic.acknowledge(Vector(0x51));
    assert_eq!(eoi(&mut apic), Effect::Eoi(Vector(0x51)));
    let _ = apic.lend_to_processor();
    assert!(!apic.has_level_in_flight());
}

#[test]
fn the_deadline_is_the_processors_while_it_is_lent() {
    let mut apic = direct();
    apic.set_tsc_deadline(500, NOW);
    assert!(!apic.has_requests());
    assert_eq!(apic.next_deadline(), None);
}
