//! Exceptions that are reflected, instructions that are not there, and the ends of a VM.

use super::fake::Machine;
use exits::{Answer, Event, Exit, Stop};
use spec::Vector;

fn exception(vector: u8, error_code: Option<u32>, qualification: u64) -> Exit {
    Exit::Exception {
        vector: Vector(vector),
        error_code,
        qualification,
    }
}

#[test]
fn exceptions_go_to_the_guest_as_the_processor_would_deliver_them() {
    let mut m = Machine::new(1);
    for (exit, event) in [
        (exception(1, None, 0x4002), Event::Debug { dr6: 0x4002 }),
        (
            exception(17, Some(0), 0),
            Event::Exception {
                vector: Vector(17),
                error_code: Some(0),
            },
        ),
        (
            exception(3, None, 0),
            Event::Exception {
                vector: Vector(3),
                error_code: None,
            },
        ),
        (
            exception(14, Some(7), 0xdead_beef),
            Event::PageFault {
                address: 0xdead_beef,
                error_code: 7,
            },
        ),
    ] {
        assert_eq!(m.step(exit), Answer::Inject(event));
    }
}

#[test]
fn what_the_guest_does_not_have_faults() {
    let mut m = Machine::new(1);
    m.gprs.0 = core::array::from_fn(|i| i as u64);
    let before = m.gprs;
    assert_eq!(m.step(Exit::Hypercall), Answer::Inject(Event::UD));
    assert_eq!(m.step(Exit::Undefined), Answer::Inject(Event::UD));
    assert_eq!(m.step(Exit::Forbidden), Answer::Inject(Event::GP0));
    assert_eq!(m.step(Exit::CacheFlush), Answer::Advance);
    assert_eq!(m.gprs, before);
}

#[test]
fn the_hosts_own_exits_change_nothing() {
    let mut m = Machine::new(1);
    let before = m.gprs;
    for exit in [
        Exit::InterruptWindow,
        Exit::NmiWindow,
        Exit::TimerExpired,
        Exit::HostInterrupt(Vector(0x30)),
        Exit::HostNmi,
    ] {
        assert_eq!(m.step(exit), Answer::Retry);
    }
    assert_eq!(m.gprs, before);
}

#[test]
fn ends_say_whose_fault_they_are() {
    let mut m = Machine::new(1);
    assert_eq!(m.step(Exit::TripleFault), Answer::Stop(Stop::TripleFault));
    assert!(matches!(
        m.step(Exit::TaskSwitch),
        Answer::Stop(Stop::Unsupported(_))
    ));
    for exit in [Exit::EntryFailed(33), Exit::Unknown(0xffff)] {
        assert!(matches!(m.step(exit), Answer::Stop(Stop::Bug(_))));
    }
}
