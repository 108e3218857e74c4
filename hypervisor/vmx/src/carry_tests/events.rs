use super::*;
use crate::fixture::SKYLAKE_X;
use exits::{Event, Exit};
use spec::apic::Carrier;
use spec::cpu::Gprs;
use spec::exit_reason as reason;
use spec::state::StartState;
use spec::vmcs::*;
use spec::vmx_event::activity;

/// A Direct vCPU that an NMI took out of its HLT.
fn asleep() -> (MapVmcs, Vcpu) {
    let (mut vmcs, mut vcpu) = started(&processor(SKYLAKE_X), &Wants::default());
    let _ = vcpu.carry(&mut vmcs, &DIRECT);
    vmcs.set(GUEST_ACTIVITY, u64::from(activity::HLT));
    vmcs.set(GUEST_RFLAGS, 0x202);
    vmcs.set(EXIT_REASON, u64::from(reason::EXCEPTION_OR_NMI));
    vmcs.set(EXIT_INTERRUPTION_INFO, 0x8000_0202);
    let exit = vcpu.decode(&mut vmcs, &Gprs::default());
    assert_eq!(exit, Exit::HostNmi);
    (vmcs, vcpu)
}

#[test]
fn a_guest_that_sleeps_under_direct_sleeps_on_in_software() {
    for carried in [SOFTWARE, accelerated(None)] {
        let (mut vmcs, mut vcpu) = asleep();
        assert!(vcpu.carry(&mut vmcs, &carried));
        assert_eq!(vmcs.get(GUEST_ACTIVITY), 0);
        assert!(!vcpu.carry(&mut vmcs, &carried), "said once");
    }
    // It stays where it is while its carrier does.
    let (mut vmcs, mut vcpu) = asleep();
    assert!(!vcpu.carry(&mut vmcs, &DIRECT));
    assert_eq!(vmcs.get(GUEST_ACTIVITY), u64::from(activity::HLT));
    // Awake
    vmcs.set(GUEST_ACTIVITY, u64::from(activity::ACTIVE));
    assert!(!vcpu.carry(&mut vmcs, &SOFTWARE));
}

#[test]
fn what_the_next_entry_delivers_ends_the_sleep() {
    let (mut vmcs, mut vcpu) = asleep();
    let _ = vcpu.inject(&mut vmcs, Event::Nmi);
    assert!(!vcpu.carry(&mut vmcs, &SOFTWARE));
    assert_eq!(vmcs.get(GUEST_ACTIVITY), 0);
    for pending in [1 << 14, 1 << 12 | 1] {
        let (mut vmcs, mut vcpu) = asleep();
        vmcs.set(GUEST_PENDING_DEBUG, pending);
        assert!(!vcpu.carry(&mut vmcs, &SOFTWARE));
        assert_eq!(vmcs.get(GUEST_ACTIVITY), 0);
    }
}

#[test]
fn a_guest_that_sleeps_may_be_entered_with_any_event() {
    let exception = |vector, error_code| Event::Exception {
        vector: Vector(vector),
        error_code,
    };
    for event in [
        Event::Nmi,
        Event::Debug { dr6: 0x4000 },
        exception(13, Some(0)),
        exception(6, None),
    ] {
        let (mut vmcs, mut vcpu) = asleep();
        assert!(vcpu.can_take_nmi(&vmcs));
        let _ = vcpu.inject(&mut vmcs, event);
        assert_eq!(broken(&vmcs, &processor(SKYLAKE_X)), NONE, "{event:?}");
    }
}

#[test]
fn only_software_waits_for_interrupt_windows_and_all_wait_for_those_of_nmis() {
    const INTERRUPT: u64 = 1 << 2;
    const NMI: u64 = 1 << 22;
    for carried in carried_by(&processor(SKYLAKE_X)) {
        let (mut vmcs, mut vcpu) = started(&processor(SKYLAKE_X), &Wants::default());
        vcpu.request_interrupt_window(&mut vmcs, true);
        vcpu.request_nmi_window(&mut vmcs, true);
        let _ = vcpu.carry(&mut vmcs, &carried);
        assert_eq!(vmcs.get(PRIMARY_CONTROLS) & (INTERRUPT | NMI), NMI);
        vcpu.request_nmi_window(&mut vmcs, false);
        vcpu.request_interrupt_window(&mut vmcs, true);
        let expected = if carried.carrier() == Carrier::Software {
            INTERRUPT
        } else {
            0
        };
        assert_eq!(vmcs.get(PRIMARY_CONTROLS) & (INTERRUPT | NMI), expected);
    }
}

#[test]
fn a_request_raises_rvi_and_nothing_else() {
    let (mut vmcs, mut vcpu) = started(&processor(SKYLAKE_X), &Wants::default());
    let _ = vcpu.carry(&mut vmcs, &accelerated(None));
    for (vector, status, writes) in [
        (0x50, 0x4051, 0),
        (0x51, 0x4051, 0),
        (0x52, 0x4052, 1),
        (0xff, 0x40ff, 1),
        (0x10, 0x40ff, 0),
    ] {
        vmcs.take_counts();
        vcpu.request(&mut vmcs, vector);
        assert_eq!(vmcs.get(GUEST_INTERRUPT_STATUS), status);
        assert_eq!(vmcs.take_counts(), (1, writes));
    }
    vcpu.set_eoi_exits(&mut vmcs, [1, 2, 3, 4]);
    assert_eq!(vmcs.get(EOI_EXIT_BITMAP_0), 1);
    assert_eq!(vmcs.get(EOI_EXIT_BITMAP_3), 4);
}

#[test]
fn exits_of_a_carried_apic_name_vector_and_register() {
    let (mut vmcs, mut vcpu) = started(&processor(SKYLAKE_X), &Wants::default());
    let _ = vcpu.carry(&mut vmcs, &accelerated(None));
    for (basic, qualification, expected) in [
        (45, 0x51, Exit::VirtualizedEoi(Vector(0x51))),
        (45, 0xff, Exit::VirtualizedEoi(Vector(0xff))),
        (56, 0x3f0, Exit::ApicWrite(0x3f)),
        (56, 0x0b0, Exit::ApicWrite(0x0b)),
    ] {
        vmcs.set(EXIT_REASON, basic);
        vmcs.set(EXIT_QUALIFICATION, qualification);
        vmcs.take_counts();
        assert_eq!(vcpu.decode(&mut vmcs, &Gprs::default()), expected);
        // RIP is past the instruction, so that nothing is left to be done to it.
        assert_eq!(vmcs.take_counts(), (2, 0));
    }
}

#[test]
fn an_interrupt_cut_short_is_delivered_again_and_is_nobody_elses_by_then() {
    for carried in carried_by(&processor(SKYLAKE_X)) {
        let (mut vmcs, mut vcpu) = started(&processor(SKYLAKE_X), &Wants::default());
        let _ = vcpu.carry(&mut vmcs, &carried);
        vmcs.set(GUEST_RFLAGS, 0x202);
        // The processor has put vector 0x51 in service, and its frame met a page that is not there.
        let status = 0x5100;
        vmcs.set(GUEST_INTERRUPT_STATUS, status);
        vmcs.set(EXIT_REASON, u64::from(reason::EPT_VIOLATION));
        vmcs.set(EXIT_QUALIFICATION, 0x182);
        vmcs.set(IDT_VECTORING_INFO, 0x8000_0051);
        let exit = vcpu.decode(&mut vmcs, &Gprs::default());
        assert!(matches!(exit, Exit::GpaFault(fault) if fault.linear.is_none()));
        assert_eq!(vmcs.get(ENTRY_INTERRUPTION_INFO), 0x8000_0051);
        assert_eq!(vmcs.get(GUEST_INTERRUPT_STATUS), status);
        assert!(!vcpu.can_take_interrupt(&vmcs));
        assert_eq!(broken(&vmcs, &processor(SKYLAKE_X)), NONE);

        // It outlives a change of carriers.
        let _ = vcpu.carry(&mut vmcs, &SOFTWARE);
        assert_eq!(vmcs.get(ENTRY_INTERRUPTION_INFO), 0x8000_0051);
    }
}

#[test]
fn a_start_up_wakes_and_leaves_the_carrier_to_its_owner() {
    let (mut vmcs, mut vcpu) = asleep();
    let _ = vcpu.start_up(&mut vmcs, &StartState::start_up(0x9a, 0x506e3));
    assert_eq!(vcpu.carrier(), Carrier::Direct);
    assert_eq!(broken(&vmcs, &processor(SKYLAKE_X)), NONE);
    assert!(!vcpu.carry(&mut vmcs, &SOFTWARE));
}
