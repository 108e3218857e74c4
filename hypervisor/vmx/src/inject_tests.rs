use crate::fake::MapVmcs;
use crate::fixture::{self, long, real};
use crate::{AddressWidths, Effect, Vcpu, Vmcs, check};
use exits::{Answer, Event, Exit};
use proptest::prelude::*;
use spec::cpu::{Gprs, vector};
use spec::vmcs::*;
use spec::vmx_event::{EventKind, InterruptionInfo};
use spec::{Vector, exit_reason as reason};

const GP: Event = Event::GP0;
const PF: Event = Event::PageFault {
    address: 0xdead_0000,
    error_code: 2,
};

fn entry(vmcs: &MapVmcs) -> InterruptionInfo {
    InterruptionInfo(vmcs.get(ENTRY_INTERRUPTION_INFO) as u32)
}

fn assert_enterable(vmcs: &MapVmcs) {
    let widths = AddressWidths {
        physical: 39,
        linear: 48,
    };
    check(vmcs, &fixture::capabilities(), widths, &mut |f| {
        panic!("{f}")
    });
}

/// The vCPU after an EPT violation that came while `info` was being delivered.
fn interrupted(mut vmcs: MapVmcs, vcpu: &mut Vcpu, info: InterruptionInfo) -> MapVmcs {
    vmcs.set(EXIT_REASON, u64::from(reason::EPT_VIOLATION));
    vmcs.set(EXIT_QUALIFICATION, 0x182);
    vmcs.set(IDT_VECTORING_INFO, u64::from(info.0));
    // The processor clears the valid bit at each exit.
    vmcs.set(ENTRY_INTERRUPTION_INFO, 0);
    vcpu.decode(&mut vmcs, &Gprs::default());
    vmcs
}

#[test]
fn an_interrupt_needs_flags_and_no_shadow() {
    let (mut vmcs, vcpu) = long();
    for (rflags, blocking, takes) in [
        (0x202, 0, true),
        (0x002, 0, false),
        (0x202, 1, false),
        (0x202, 2, false),
        (0x202, 8, true),
    ] {
        vmcs.set(GUEST_RFLAGS, rflags);
        vmcs.set(GUEST_INTERRUPTIBILITY, blocking);
        assert_eq!(
            vcpu.can_take_interrupt(&vmcs),
            takes,
            "{rflags:#x} {blocking:#x}"
        );
    }
}

#[test]
fn an_nmi_needs_no_flags_but_no_blocking() {
    let (mut vmcs, vcpu) = long();
    for (blocking, takes) in [(0, true), (1, false), (2, false), (8, false)] {
        vmcs.set(GUEST_INTERRUPTIBILITY, blocking);
        assert_eq!(vcpu.can_take_nmi(&vmcs), takes, "{blocking:#x}");
    }
}

#[test]
fn one_event_at_a_time() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(GUEST_RFLAGS, 0x202);
    assert_eq!(
        vcpu.inject(&mut vmcs, Event::Interrupt(Vector(0x30))),
        Effect::None
    );
    assert_eq!(entry(&vmcs).0, 0x8000_0030);
    assert_enterable(&vmcs);
    assert!(!vcpu.can_take_interrupt(&vmcs) && !vcpu.can_take_nmi(&vmcs));

    // The next exit says nothing of an interrupted delivery: it is done.
    vmcs.set(EXIT_REASON, u64::from(reason::CPUID));
    vcpu.decode(&mut vmcs, &Gprs::default());
    assert!(vcpu.can_take_interrupt(&vmcs) && vcpu.can_take_nmi(&vmcs));
    assert_eq!(vcpu.inject(&mut vmcs, Event::Nmi), Effect::None);
    assert_eq!(entry(&vmcs).0, 0x8000_0202);
    assert_enterable(&vmcs);
}

#[test]
fn windows_write_the_controls_only_when_they_change() {
    let (mut vmcs, mut vcpu) = long();
    let before = vmcs.get(PRIMARY_CONTROLS);
    vcpu.request_interrupt_window(&mut vmcs, false);
    assert_eq!(vmcs.take_counts(), (0, 0));
    vcpu.request_interrupt_window(&mut vmcs, true);
    vcpu.request_interrupt_window(&mut vmcs, true);
    assert_eq!(vmcs.take_counts(), (0, 1));
    assert_eq!(vmcs.get(PRIMARY_CONTROLS), before | 1 << 2);
    vcpu.request_nmi_window(&mut vmcs, true);
    vcpu.request_interrupt_window(&mut vmcs, false);
    assert_eq!(vmcs.get(PRIMARY_CONTROLS), before | 1 << 22);
    assert_enterable(&vmcs);
}

#[test]
fn error_codes_go_with_their_vectors_and_never_in_real_mode() {
    for (v, given, pushed) in [
        (vector::GP, Some(0x18), Some(0x18)),
        (vector::GP, None, Some(0)),
        (vector::GP, Some(0xffff_0018), Some(0x18)),
        (vector::UD, None, None),
        (vector::UD, Some(4), None),
        (vector::AC, Some(0), Some(0)),
        (vector::TS, Some(0x10), Some(0x10)),
        (vector::MF, None, None),
    ] {
        let event = Event::Exception {
            vector: v,
            error_code: given,
        };
        let (mut vmcs, mut vcpu) = long();
        assert_eq!(vcpu.inject(&mut vmcs, event), Effect::None);
        assert_eq!(
            entry(&vmcs),
            InterruptionInfo::new(v, EventKind::HardwareException, pushed.is_some())
        );
        if let Some(code) = pushed {
            assert_eq!(vmcs.get(ENTRY_ERROR_CODE), code);
        }
        assert_enterable(&vmcs);

        let (mut vmcs, mut vcpu) = real();
        assert_eq!(vcpu.inject(&mut vmcs, event), Effect::None);
        assert_eq!(
            entry(&vmcs),
            InterruptionInfo::new(v, EventKind::HardwareException, false)
        );
        assert_enterable(&vmcs);
    }
}

#[test]
fn a_fault_sets_rf_and_ends_the_shadow() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(GUEST_RFLAGS, 0x302);
    vmcs.set(GUEST_INTERRUPTIBILITY, 1 | 8);
    assert_eq!(vcpu.inject(&mut vmcs, GP), Effect::None);
    assert_eq!(vmcs.get(GUEST_RFLAGS), 0x1_0302);
    assert_eq!(vmcs.get(GUEST_INTERRUPTIBILITY), 8);
    // STI, then an instruction that faults, single-stepped: blocked without a pending trap, this entry would fail.
    assert_enterable(&vmcs);
}

#[test]
fn a_page_fault_carries_its_address() {
    let (mut vmcs, mut vcpu) = long();
    assert_eq!(vcpu.inject(&mut vmcs, PF), Effect::SetCr2(0xdead_0000));
    assert_eq!(entry(&vmcs).0, 0x8000_0b0e);
    assert_eq!(vmcs.get(ENTRY_ERROR_CODE), 2);
}

#[test]
fn a_debug_exception_goes_back_as_it_came() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(GUEST_DR7, 0x2400);
    vmcs.set(EXIT_REASON, u64::from(reason::EXCEPTION_OR_NMI));
    vmcs.set(EXIT_INTERRUPTION_INFO, 0x8000_0301);
    vmcs.set(EXIT_QUALIFICATION, 0x2000);
    let exit = vcpu.decode(&mut vmcs, &Gprs::default());
    assert_eq!(
        exit,
        Exit::Exception {
            vector: vector::DB,
            error_code: None,
            qualification: 0x2000
        }
    );
    let answer = Answer::Inject(Event::Debug { dr6: 0x2000 });
    assert_eq!(vcpu.apply(&mut vmcs, answer), Effect::SetDr6(0x2000));
    assert_eq!(entry(&vmcs).0, 0x8000_0301);
    assert_eq!(vmcs.get(GUEST_DR7), 0x400, "GD is clear in the handler");
    assert_eq!(
        vmcs.get(GUEST_RFLAGS),
        2,
        "the exit saved RF as the processor pushes it"
    );
}

#[test]
fn int1_returns_behind_itself() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(EXIT_REASON, u64::from(reason::EXCEPTION_OR_NMI));
    vmcs.set(EXIT_INTERRUPTION_INFO, 0x8000_0501);
    vmcs.set(EXIT_INSTRUCTION_LENGTH, 1);
    vcpu.decode(&mut vmcs, &Gprs::default());
    assert_eq!(
        vcpu.inject(&mut vmcs, Event::Debug { dr6: 0 }),
        Effect::SetDr6(0)
    );
    assert_eq!(entry(&vmcs).0, 0x8000_0501);
    assert_eq!(vmcs.get(ENTRY_INSTRUCTION_LENGTH), 1);
    assert_enterable(&vmcs);
}

#[test]
fn exceptions_during_a_delivery_combine() {
    let exception = |v, code| InterruptionInfo::new(v, EventKind::HardwareException, code);
    let interrupt = InterruptionInfo::new(Vector(0x40), EventKind::ExternalInterrupt, false);
    for (first, second, expected) in [
        (
            exception(vector::PF, true),
            PF,
            Some(exception(vector::DF, true)),
        ),
        (
            exception(vector::GP, true),
            GP,
            Some(exception(vector::DF, true)),
        ),
        (
            exception(vector::GP, true),
            PF,
            Some(exception(vector::PF, true)),
        ),
        (
            exception(vector::UD, false),
            GP,
            Some(exception(vector::GP, true)),
        ),
        (interrupt, GP, Some(exception(vector::GP, true))),
        (exception(vector::DF, true), GP, None),
    ] {
        let (vmcs, mut vcpu) = long();
        let mut vmcs = interrupted(vmcs, &mut vcpu, first);
        let effect = vcpu.inject(&mut vmcs, second);
        match expected {
            Some(info) => {
                assert_eq!(entry(&vmcs), info, "{first:x?} then {second:?}");
                assert_ne!(effect, Effect::TripleFault);
                assert_enterable(&vmcs);
            }
            None => assert_eq!(effect, Effect::TripleFault),
        }
    }
}

#[test]
fn a_double_fault_in_a_page_fault_still_sets_cr2() {
    let (vmcs, mut vcpu) = long();
    let first = InterruptionInfo::new(vector::PF, EventKind::HardwareException, true);
    let mut vmcs = interrupted(vmcs, &mut vcpu, first);
    assert_eq!(vcpu.inject(&mut vmcs, PF), Effect::SetCr2(0xdead_0000));
    assert_eq!(vmcs.get(ENTRY_ERROR_CODE), 0);
}

#[test]
fn an_interrupted_delivery_is_put_back() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(GUEST_RFLAGS, 0x202);
    vmcs.set(EXIT_INSTRUCTION_LENGTH, 2);
    vmcs.set(IDT_VECTORING_ERROR_CODE, 0x55);
    for (kind, v, code) in [
        (EventKind::ExternalInterrupt, 0x31, false),
        (EventKind::HardwareException, 13, true),
        (EventKind::SoftwareInterrupt, 0x80, false),
        (EventKind::SoftwareException, 3, false),
        (EventKind::PrivilegedSoftwareException, 1, false),
    ] {
        vmcs.set(ENTRY_INSTRUCTION_LENGTH, 0);
        let info = InterruptionInfo::new(Vector(v), kind, code);
        // Bit 12 is undefined in the IDT-vectoring field.
        vmcs = interrupted(vmcs, &mut vcpu, InterruptionInfo(info.0 | 1 << 12));
        assert_eq!(entry(&vmcs), info);
        let software = !matches!(
            kind,
            EventKind::ExternalInterrupt | EventKind::HardwareException
        );
        assert_eq!(
            vmcs.get(ENTRY_INSTRUCTION_LENGTH),
            if software { 2 } else { 0 }
        );
        if code {
            assert_eq!(vmcs.get(ENTRY_ERROR_CODE), 0x55);
        }
        assert!(!vcpu.can_take_interrupt(&vmcs), "before it comes nothing");
        assert_enterable(&vmcs);
    }
}

#[test]
fn an_interrupted_nmi_is_put_back_unblocked() {
    let (mut vmcs, mut vcpu) = long();
    vmcs.set(GUEST_INTERRUPTIBILITY, 8);
    let nmi = InterruptionInfo::new(vector::NMI, EventKind::Nmi, false);
    let vmcs = interrupted(vmcs, &mut vcpu, nmi);
    assert_eq!(entry(&vmcs), nmi);
    assert_eq!(vmcs.get(GUEST_INTERRUPTIBILITY), 0);
    assert_enterable(&vmcs);
}

#[test]
fn an_iret_that_faults_leaves_nmis_blocked() {
    for (exit_reason, qualification, info, blocked) in [
        (reason::EPT_VIOLATION, 0x1181, 0, 8),
        (reason::EPT_VIOLATION, 0x0181, 0, 0),
        (reason::EXCEPTION_OR_NMI, 0, 0x8000_1b11, 8),
        (reason::EXCEPTION_OR_NMI, 0, 0x8000_0b11, 0),
        // For #DF the bit is undefined.
        (reason::EXCEPTION_OR_NMI, 0, 0x8000_1b08, 0),
    ] {
        let (mut vmcs, mut vcpu) = long();
        vmcs.set(EXIT_REASON, u64::from(exit_reason));
        vmcs.set(EXIT_QUALIFICATION, qualification);
        vmcs.set(EXIT_INTERRUPTION_INFO, info);
        vcpu.decode(&mut vmcs, &Gprs::default());
        assert_eq!(
            vmcs.get(GUEST_INTERRUPTIBILITY),
            blocked,
            "{exit_reason} {qualification:#x} {info:#x}"
        );
    }
}

proptest! {
    /// Whatever fault the guest raises, in whatever shadow, stepping or not: the entry that delivers it is valid.
    #[test]
    fn every_injected_exception_may_be_entered(
        long_mode in any::<bool>(),
        v in 0_u8..32,
        error_code in any::<Option<u32>>(),
        stepping in any::<bool>(),
        blocking in prop::sample::select(&[0_u64, 1, 2, 8, 9, 10][..]),
    ) {
        let (mut vmcs, mut vcpu) = if long_mode { long() } else { real() };
        vmcs.set(GUEST_RFLAGS, 0x202 | u64::from(stepping) << 8);
        vmcs.set(GUEST_INTERRUPTIBILITY, blocking);
        let event = Event::Exception { vector: Vector(v), error_code };
        prop_assert_eq!(vcpu.inject(&mut vmcs, event), Effect::None);
        prop_assert!(vmcs.read(ENTRY_INTERRUPTION_INFO) >> 31 == 1);
        // #CP exists only where any exception may have an error code.
        if v != 21 {
            assert_enterable(&vmcs);
        }
    }
}
