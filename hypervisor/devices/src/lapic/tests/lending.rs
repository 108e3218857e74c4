//! How the local APIC goes from one carrier to another, a case at a time.

use super::machine::{CARRIERS, Machine};
use super::*;
use spec::apic::Carrier;
use std::boxed::Box;

/// IA32_APIC_BASE: in xAPIC mode, to which none leads from x2APIC mode
const XAPIC: u64 = 0xfee0_0800;
const DISABLED: u64 = 0xfee0_0000;
/// LVT timer: TSC-deadline mode, vector 0x40
const DEADLINE: u32 = 0x4_0040;
const MASKED: u32 = 0x1_0000;

fn page() -> &'static VirtualApicPage {
    Box::leak(Box::new(VirtualApicPage::new()))
}

/// One that all three can carry.
fn ready() -> Lapic {
    let mut apic = x2apic(5);
    put(&mut apic, register::LVT_TIMER, DEADLINE);
    apic
}

fn words(vectors: &[u8]) -> [u64; 4] {
    let mut words = [0; 4];
    for &v in vectors {
        words[usize::from(v / 64)] |= 1 << (v % 64);
    }
    words
}

fn direct() -> Lapic {
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

/// A page that another vCPU has left must not show, nor may what only exits can read be stale.
#[test]
fn a_lent_page_holds_this_apic_and_nothing_else() {
    let page = page();
    for number in 0..=0x3f {
        page.put(number, 0xdead_beef);
    }
    let mut apic = ready();
    apic.set_cr8(2);
    apic.accept(Vector(0x51), true);
    apic.acknowledge(Vector(0x51));
    apic.accept(Vector(0x62), true);
    apic.accept(Vector(0x43), false);
    let before = apic.clone();
    let (status, exits) = apic.lend_to_page(page);
    assert_eq!(
        status,
        InterruptStatus {
            requesting: 0x62,
            in_service: 0x51
        }
    );
    assert_eq!(exits, words(&[0x51, 0x62]));
    for number in 0..=0x3f {
        let expected = match number {
            // What the guest reads without an exit, and the four of the others that never change in a page
            register::ID
            | register::VERSION
            | register::LDR
            | register::SVR
            | register::TPR
            | register::PPR
            | register::ISR..register::ESR => before.read_msr(msr(number), NOW).unwrap_or(1 << 63),
            _ => 0,
        };
        assert_eq!(
            u64::from(page.get(number)),
            expected,
            "register {number:#x}"
        );
    }
    assert!(!apic.has_requests());
    apic.take_from_page();
    assert_eq!(apic, before);
}

#[test]
fn handing_over_says_what_the_processor_does_not_know() {
    let mut apic = ready();
    let page = page();
    let _ = apic.lend_to_page(page);
    assert_eq!(
        apic.hand_over(),
        Handed {
            requesting: 0,
            eoi_exits: None
        }
    );
    for (vectors, level, requesting, eoi_exits) in [
        (&[0x41, 0x31][..], false, 0x41, None),
        (&[0x32], true, 0x32, Some(words(&[0x32]))),
        (&[0xff, 0x32], true, 0xff, Some(words(&[0x32, 0xff]))),
        (&[0x32], true, 0x32, None),
        (&[0x32], false, 0x32, Some(words(&[0xff]))),
    ] {
        for &vector in vectors {
            apic.accept(Vector(vector), level);
        }
        assert!(apic.has_requests());
        assert_eq!(
            apic.hand_over(),
            Handed {
                requesting,
                eoi_exits
            }
        );
        assert!(!apic.has_requests());
    }
    let all = page.vectors(register::IRR).words();
    assert_eq!(all, words(&[0x31, 0x32, 0x41, 0xff]));
}

/// A guest in the page that comes through an exit all the same: the monitor's reads, or a write before the MSR bitmap followed.
#[test]
fn accesses_that_exit_work_through_the_page() {
    let mut apic = ready();
    let _ = apic.lend_to_page(page());
    put(&mut apic, register::TPR, 0x35);
    assert_eq!((apic.cr8(), apic.priority()), (3, 0x35));
    assert_eq!(get(&mut apic, register::PPR), 0x35);
    apic.set_cr8(1);
    assert_eq!(get(&mut apic, register::TPR), 0x10);
    put(&mut apic, register::SELF_IPI, 0x44);
    assert_eq!(get(&mut apic, register::IRR + 2), 1 << 4);
    assert_eq!(apic.deliverable(), Some(Vector(0x44)));
    apic.acknowledge(Vector(0x44));
    assert_eq!(
        apic.deliverable(),
        Some(Vector(0x44)),
        "the processor delivers, nobody else"
    );
}

/// The processor keeps in the VMCS what is in service, so an end that it did not see itself has to be told to it.
#[test]
fn an_end_that_exits_takes_the_page_back() {
    let mut apic = ready();
    apic.accept(Vector(0x51), true);
    apic.acknowledge(Vector(0x51));
    let page = page();
    let _ = apic.lend_to_page(page);
    assert_eq!(eoi(&mut apic), Effect::Eoi(Vector(0x51)));
    assert_eq!(apic.carrier(), Carrier::Software);
    assert_eq!(apic.lend_to_page(page).0.in_service, 0);
}

#[test]
fn init_and_disabling_take_the_apic_back_and_leave_nothing() {
    let ends: [(&str, fn(&mut Lapic)); 3] = [
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

/// Under the software the next period waits for the guest to take the last one; here nothing exits when it does.
#[test]
fn a_periodic_timer_goes_on_while_the_guest_takes_its_interrupts_without_an_exit() {
    const PERIOD: u32 = 100_000;
    let mut apic = ready();
    put(&mut apic, register::LVT_TIMER, 0x2_0040);
    put(&mut apic, register::TIMER_DIVIDE, 0xb);
    let mut machine = Machine::new(apic, Carrier::Accelerated);
    let _ = machine.write(register::TIMER_INITIAL, PERIOD.into());
    let exits = machine.exits;
    for n in 1..=10 {
        machine.pass(PERIOD.into());
        assert_eq!(machine.take(), Some(Vector(0x40)));
        assert_eq!(machine.write(register::EOI, 0), Ok(Effect::None));
        assert_eq!(machine.exits - exits, n, "one for each period");
    }
}

/// A period shorter than an exit lasts: the guest still comes to run between two looks at its timer.
#[test]
fn an_absurd_period_leaves_the_guest_time_to_run() {
    let mut apic = ready();
    put(&mut apic, register::LVT_TIMER, 0x2_0040);
    let _ = apic.lend_to_page(page());
    put(&mut apic, register::TIMER_INITIAL, 1);
    let mut now = NOW;
    for _ in 0..10 {
        let next = apic.next_deadline().unwrap_or(Ticks(0));
        apic.expire(next);
        assert_eq!(apic.hand_over().requesting, 0x40);
        assert!(apic.next_deadline() >= Some(next.after(Ticks(4000))));
        assert!(next > now);
        now = next;
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
            |m| drop(m.write(register::TPR, 0x20)),
            |m| assert_eq!(m.take(), Some(Vector(0x41))),
            |m| assert_eq!(m.write(register::EOI, 0), Ok(Effect::None)),
            |m| drop(m.write(register::SELF_IPI, 0x42)),
            |m| m.set_deadline(1 << 40),
            |m| drop(m.write(register::ICR, 0x4_4043)),
        ];
        let made = steps.map(|step| {
            let before = machine.exits;
            step(&mut machine);
            machine.exits - before
        });
        assert_eq!(made, expected, "{carrier}");
    }
}
