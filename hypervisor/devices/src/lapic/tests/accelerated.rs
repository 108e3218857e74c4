//! On a virtual-APIC page, a case at a time.

use super::lending::{page, ready, words};
use super::machine::Machine;
use super::*;
use spec::apic::Carrier;

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
        assert!(apic.next_deadline().is_some(), "requested, and on its way");
        assert_eq!(apic.hand_over().requesting, 0x40);
        assert!(apic.next_deadline() >= Some(next.after(Ticks(4000))));
        assert!(next > now);
        now = next;
    }
}

#[test]
fn the_end_of_an_edge_triggered_interrupt_is_told_to_nobody() {
    let mut apic = ready();
    let _ = apic.lend_to_page(page());
    apic.accept(Vector(0x51), true);
    let _ = apic.hand_over();
    assert_eq!(
        apic.end_virtualized(Vector(0x51)),
        Effect::Eoi(Vector(0x51))
    );
    assert_eq!(apic.end_virtualized(Vector(0x41)), Effect::None);
    apic.take_from_page();
    assert_eq!(apic.end_virtualized(Vector(0x51)), Effect::None);
}
