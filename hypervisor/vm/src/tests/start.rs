//! INIT and start-up: how a vCPU comes to run, and how it is stopped.

use super::fake::Machine;
use crate::{Vcpu, Vm, Wants};
use exits::{Answer, Event, Exit, Stop, SystemWrite};
use spec::cpu::{Cr4, Gpr};
use spec::state::{Activity, ControlState, CpuState};
use spec::{Msr, Vector, msr};

const ICR: Msr = Msr(0x830);
const INIT: u64 = 5 << 8;
const START_UP: u64 = 6 << 8;
const NMI: u64 = 4 << 8;
const ALL: u64 = 2 << 18;
const OTHERS: u64 = 3 << 18;
const TO_1: u64 = 1 << 32;

fn sent(m: &mut Machine, from: usize, command: u64) {
    assert_eq!(m.wrmsr(from, ICR, command), Answer::Advance);
}

fn started(vector: u8) -> Wants {
    Wants {
        start_up: Some(vector),
        ..Wants::default()
    }
}

/// The first vCPU in x2APIC mode, all others as after power-on.
fn powered_on(vcpus: u8) -> Machine {
    let mut m = Machine::powered_on(vcpus);
    let base = m.vcpus[0].lapic.base_msr();
    assert_eq!(m.wrmsr(0, msr::APIC_BASE, base | 1 << 10), Answer::Advance);
    assert_eq!(m.wrmsr(0, Msr(0x80f), 0x1ff), Answer::Advance);
    m
}

#[test]
fn a_vm_is_shared_by_cores_and_a_vcpu_belongs_to_one() {
    fn shared<T: Send + Sync>(_: &T) {}
    fn movable<T: Send>(_: &T) {}
    let m = Machine::new(1);
    shared(&m.vm);
    movable(&m.vcpus[0]);
    fn is_shared<M: Send + Sync, L: Send>() {
        fn shared<T: Send + Sync>() {}
        shared::<Vm<M, L>>();
    }
    is_shared::<(), ()>();
}

#[test]
fn after_power_on_the_first_runs_and_the_others_wait() {
    let mut m = powered_on(3);
    assert_eq!(m.vcpus[0].activity, Activity::Active);
    for i in 1..3 {
        assert_eq!(m.vcpus[i].activity, Activity::WaitForSipi);
        assert_eq!(m.wants(i), Wants::default());
        assert_eq!(m.vcpus[i].deadline(), None);
    }
    // As Linux does it: INIT by level, its de-assertion, and two start-ups.
    sent(&mut m, 0, TO_1 | INIT | 1 << 15 | 1 << 14);
    assert_eq!(m.wants(1), Wants::default());
    sent(&mut m, 0, TO_1 | INIT | 1 << 15);
    sent(&mut m, 0, TO_1 | START_UP | 0x9a);
    assert_eq!(m.wants(1), started(0x9a));
    sent(&mut m, 0, TO_1 | START_UP | 0x9b);
    assert_eq!(m.wants(1), started(0x9a), "the first start-up counts");
    m.vcpus[1].started_up();
    assert_eq!(m.vcpus[1].activity, Activity::Active);
    sent(&mut m, 0, TO_1 | START_UP | 0x9c);
    assert_eq!(
        m.wants(1),
        Wants::default(),
        "one that runs ignores start-up"
    );
    assert_eq!(m.vcpus[2].activity, Activity::WaitForSipi);
}

#[test]
fn what_is_posted_close_together_keeps_its_order() {
    let (init, sipi) = (TO_1 | INIT, |vector: u64| TO_1 | START_UP | vector);
    for (runs, posts, result) in [
        (
            true,
            &[init, sipi(8), sipi(9)][..],
            (Activity::WaitForSipi, started(8)),
        ),
        (
            true,
            &[sipi(8), init],
            (Activity::WaitForSipi, Wants::default()),
        ),
        (
            true,
            &[sipi(8), init, sipi(9)],
            (Activity::WaitForSipi, started(9)),
        ),
        (
            true,
            &[init, sipi(8), init],
            (Activity::WaitForSipi, Wants::default()),
        ),
        (
            true,
            &[init, sipi(8), init, sipi(9), sipi(8)],
            (Activity::WaitForSipi, started(9)),
        ),
        (true, &[sipi(8)], (Activity::Active, Wants::default())),
        (
            false,
            &[sipi(0xff), sipi(0)],
            (Activity::WaitForSipi, started(0xff)),
        ),
        (
            false,
            &[sipi(8), init],
            (Activity::WaitForSipi, Wants::default()),
        ),
    ] {
        // Each prefix seen at once, the rest at once after it
        for cut in 0..=posts.len() {
            let mut m = powered_on(2);
            if runs {
                m.vcpus[1].started_up();
            }
            let (first, second) = posts.split_at(cut);
            for part in [first, second] {
                for &post in part {
                    sent(&mut m, 0, post);
                }
                let _ = m.wants(1);
            }
            let wants = m.wants(1);
            assert_eq!((m.vcpus[1].activity, wants), result, "{posts:x?} at {cut}");
        }
    }
}

#[test]
fn an_nmi_is_held_while_a_start_up_is_awaited_and_dropped_by_init() {
    let mut m = powered_on(2);
    sent(&mut m, 0, TO_1 | NMI);
    assert_eq!(m.wants(1), Wants::default());
    sent(&mut m, 0, TO_1 | START_UP | 8);
    assert_eq!(m.wants(1), started(8));
    m.vcpus[1].started_up();
    assert!(m.wants(1).nmi, "held");
    // One that is pending goes with INIT, be it seen or not; one that comes after it is held.
    sent(&mut m, 0, TO_1 | INIT);
    sent(&mut m, 0, TO_1 | START_UP | 8);
    assert_eq!(m.wants(1), started(8));
    m.vcpus[1].started_up();
    assert!(!m.wants(1).nmi, "dropped");
    for command in [NMI, INIT, START_UP | 8] {
        sent(&mut m, 0, TO_1 | command);
    }
    let _ = m.wants(1);
    m.vcpus[1].started_up();
    assert!(!m.wants(1).nmi, "dropped unseen");
    for command in [INIT, NMI, START_UP | 8] {
        sent(&mut m, 0, TO_1 | command);
    }
    assert_eq!(m.wants(1), started(8));
    m.vcpus[1].started_up();
    assert!(m.wants(1).nmi, "after INIT");
}

/// The fault: a vCPU that sent itself NMIs while another's INIT was on its way kept the last, and took it at its start in real-address
/// mode, where there is no handler.
#[test]
fn an_nmi_that_a_vcpu_sends_itself_goes_with_an_init_that_it_has_not_seen() {
    let mut m = Machine::x2apic(2);
    for command in [TO_1 | NMI, ALL | NMI] {
        sent(&mut m, 0, TO_1 | INIT);
        sent(&mut m, 1, command);
        sent(&mut m, 0, TO_1 | START_UP | 8);
        assert_eq!(m.wants(1), started(8));
        m.vcpus[1].started_up();
        assert!(!m.wants(1).nmi, "{command:#x}");
        // Without an INIT it comes.
        sent(&mut m, 1, command);
        assert!(m.wants(1).nmi, "{command:#x}");
        m.vcpus[1].nmi_taken();
    }
}

#[test]
fn init_drops_interrupts_and_leaves_the_apic_in_its_mode() {
    let mut m = Machine::x2apic(2);
    sent(&mut m, 0, TO_1 | 0x51);
    assert_eq!(m.wants(1).interrupt, Some(Vector(0x51)));
    sent(&mut m, 0, TO_1 | 0x52);
    sent(&mut m, 0, TO_1 | INIT);
    sent(&mut m, 0, TO_1 | 0x53);
    assert_eq!(m.wants(1), Wants::default());
    sent(&mut m, 0, TO_1 | START_UP | 1);
    assert_eq!(m.wants(1), started(1));
    m.vcpus[1].started_up();
    assert_eq!(m.wants(1), Wants::default());
    assert_eq!(m.rdmsr(1, Msr(0x80f)), Some(0xff), "disabled by software");
    assert_eq!(m.wrmsr(1, Msr(0x80f), 0x1ff), Answer::Advance);
    assert_eq!(m.drain(1), []);
    sent(&mut m, 0, TO_1 | 0x54);
    assert_eq!(m.drain(1), [0x54]);
}

/// In xAPIC mode INIT clears the logical address, of which the others are told.
#[test]
fn init_clears_the_logical_address_of_an_xapic() {
    let mut m = Machine::new(2);
    for i in 0..2 {
        for (register, value) in [(0xf0, 0x1ff), (0xd0, 0x0100_0000 << i)] {
            let done = m.store(i, 0xfee0_0000 + register, value);
            assert!(matches!(done, Answer::Emulated { .. }));
        }
    }
    let send = |m: &mut Machine, to: u32, command: u32| {
        for (register, value) in [(0x310, to << 24), (0x300, command)] {
            let done = m.store(0, 0xfee0_0000 + register, value);
            assert!(matches!(done, Answer::Emulated { .. }));
        }
    };
    send(&mut m, 2, 0x851);
    assert_eq!(m.wants(1).interrupt, Some(Vector(0x51)));
    send(&mut m, 1, INIT as u32 | 1 << 14);
    assert_eq!(m.wants(1), Wants::default());
    send(&mut m, 2, 0x851);
    assert!(m.vm.mailboxes[1].is_empty(), "nobody has this address now");
}

#[test]
fn init_leaves_time_and_xcr0_and_forgets_osxsave() {
    let mut m = Machine::x2apic(2);
    let Answer::Write(SystemWrite::TscOffset(offset)) = m.wrmsr(1, msr::TSC, 77) else {
        panic!("no offset");
    };
    let adjust = m.rdmsr(1, msr::TSC_ADJUST);
    m.gprs.set(Gpr::Rcx, 0);
    m.gprs.set_edx_eax(3);
    assert_eq!(
        m.step_on(1, Exit::Xsetbv),
        Answer::Write(SystemWrite::Xcr0(3))
    );
    let osxsave = Exit::Cr4Write(exits::ControlWrite {
        value: Cr4::OSXSAVE.bits(),
        old: ControlState {
            cr0: 0x31,
            ..ControlState::default()
        },
    });
    assert!(matches!(m.step_on(1, osxsave), Answer::Write(_)));
    assert_eq!(m.wrmsr(1, Msr(0x832), 1 << 18 | 0x40), Answer::Advance);
    assert_eq!(m.wrmsr(1, msr::TSC_DEADLINE, u64::MAX), Answer::Advance);
    assert!(m.vcpus[1].deadline().is_some());
    sent(&mut m, 0, TO_1 | INIT);
    let _ = m.wants(1);
    assert_eq!(m.vcpus[1].deadline(), None, "the timer stands still");
    assert_eq!(m.vcpus[1].tsc_offset(), offset);
    assert_eq!(m.rdmsr(1, msr::TSC_ADJUST), adjust);
    assert_eq!(m.rdmsr(1, msr::TSC), Some(77));
    assert_eq!(m.vcpus[1].xcr0(), 3);
    m.gprs.set(Gpr::Rax, 1);
    m.gprs.set(Gpr::Rcx, 0);
    assert_eq!(m.step_on(1, Exit::Cpuid), Answer::Advance);
    assert_eq!(m.gprs.get(Gpr::Rcx) & 1 << 27, 0, "OSXSAVE");
}

#[test]
fn a_vcpu_may_send_init_to_itself() {
    let mut m = Machine::x2apic(2);
    sent(&mut m, 1, TO_1 | INIT);
    assert_eq!(m.wants(1), Wants::default());
    assert_eq!(m.vcpus[1].activity, Activity::WaitForSipi);
    // The one shorthand that takes fixed interrupts alone
    let mut m = Machine::x2apic(2);
    sent(&mut m, 1, 1 << 18 | INIT);
    let _ = m.wants(1);
    assert_eq!(m.vcpus[1].activity, Activity::Active);
}

#[test]
fn init_to_the_bootstrap_processor_resets_the_vm() {
    for (from, command) in [(1, INIT), (0, INIT), (1, OTHERS | INIT), (0, ALL | INIT)] {
        let mut m = Machine::x2apic(3);
        assert_eq!(m.wrmsr(from, ICR, command), Answer::Stop(Stop::Reset));
        assert!(m.vm.mailboxes.iter().all(crate::Mailbox::is_empty));
    }
    let mut m = Machine::x2apic(3);
    sent(&mut m, 0, OTHERS | INIT);
    sent(&mut m, 1, INIT | 1 << 15);
    for i in 0..3 {
        let _ = m.wants(i);
        let waits = m.vcpus[i].activity == Activity::WaitForSipi;
        assert_eq!(waits, i != 0);
    }
}

#[test]
fn an_apic_that_is_off_hears_neither_init_nor_start_up() {
    let mut m = Machine::x2apic(2);
    let _ = m.wrmsr(1, msr::APIC_BASE, 0xfee0_0000);
    sent(&mut m, 0, TO_1 | INIT);
    sent(&mut m, 0, OTHERS | INIT);
    sent(&mut m, 0, TO_1 | START_UP | 8);
    assert!(m.vm.mailboxes[1].is_empty());
}

#[test]
fn a_halted_vcpu_is_woken_by_what_it_takes_and_stopped_by_init() {
    let mut m = Machine::x2apic(2);
    m.vcpus[1].activity = Activity::Halted;
    sent(&mut m, 0, TO_1 | START_UP | 8);
    assert_eq!(m.wants(1), Wants::default());
    assert_eq!(m.vcpus[1].activity, Activity::Halted);
    sent(&mut m, 0, TO_1 | 0x51);
    let wants = m.wants(1);
    assert!(wants.any());
    assert_eq!(m.vcpus[1].activity, Activity::Halted, "not delivered yet");
    m.vcpus[1].taken(Vector(0x51));
    assert_eq!(m.vcpus[1].activity, Activity::Active);
    m.vcpus[1].activity = Activity::Halted;
    sent(&mut m, 0, TO_1 | INIT);
    let _ = m.wants(1);
    assert_eq!(m.vcpus[1].activity, Activity::WaitForSipi);
}

#[test]
fn smi_is_ignored() {
    let mut m = Machine::x2apic(2);
    sent(&mut m, 0, TO_1 | 2 << 8);
    sent(&mut m, 0, OTHERS | 2 << 8);
    assert!(m.vm.mailboxes[1].is_empty());
}

/// EDX has what CPUID shows, as INIT leaves it.
#[test]
fn a_start_up_begins_in_real_mode_at_its_page() {
    let mut m = Machine::new(2);
    m.gprs.set(Gpr::Rax, 1);
    assert_eq!(m.step_on(1, Exit::Cpuid), Answer::Advance);
    let start = m.vm.start_up(0x9a);
    assert_eq!(start.gprs.get(Gpr::Rdx), m.gprs.get(Gpr::Rax));
    assert_ne!(start.gprs.get(Gpr::Rdx), 0);
    let cs = start.segments[CpuState::CS];
    assert_eq!((cs.selector, cs.base, start.rip), (0x9a00, 0x9_a000, 0));
}

/// A stopped VM starts again with what a new one has.
#[test]
fn a_reset_brings_back_power_on() {
    let mut m = Machine::x2apic(3);
    for command in [
        OTHERS | NMI,
        OTHERS | INIT,
        OTHERS | START_UP | 8,
        ALL | 0x51,
    ] {
        sent(&mut m, 0, command);
    }
    m.redirect(4, 0x31);
    let fresh = Machine::powered_on(3);
    m.vm.reset(fresh.vm.chips);
    m.vcpus = fresh.vcpus;
    for i in 0..3 {
        assert!(m.vm.mailboxes[i].is_empty());
        assert_eq!(
            m.vm.mailboxes[i].address(),
            Vcpu::new(i as u32, 0).lapic.address()
        );
        assert_eq!(m.wants(i), Wants::default());
    }
    assert_eq!(m.step(Exit::Hypercall), Answer::Inject(Event::UD));
}
