//! The TSC deadline, HLT and what wakes from it.

use super::fake::Machine;
use exits::{Answer, Exit};
use spec::state::Activity;
use spec::{Msr, Ticks, Vector, msr};

const LVT_TIMER: Msr = Msr(0x832);
const TSC_DEADLINE: u64 = 1 << 18;

fn with_timer() -> Machine {
    let mut m = Machine::x2apic(1);
    assert_eq!(m.wrmsr(0, LVT_TIMER, TSC_DEADLINE | 0x40), Answer::Advance);
    m
}

/// What the owner does with the answer to HLT.
fn halt(m: &mut Machine) {
    assert_eq!(m.step(Exit::Hlt), Answer::Halt);
    m.vcpus[0].activity = Activity::Halted;
}

#[test]
fn a_deadline_fires_when_it_is_due_and_reads_zero_from_then_on() {
    let mut m = with_timer();
    let due = m.now.0 + 1000;
    assert_eq!(m.wrmsr(0, msr::TSC_DEADLINE, due), Answer::Advance);
    assert_eq!(m.vcpus[0].deadline(), Some(Ticks(due)));
    assert_eq!(m.rdmsr(0, msr::TSC_DEADLINE), Some(due));
    m.now = Ticks(due - 1);
    assert_eq!(m.wants(0).interrupt, None);
    m.now = Ticks(due);
    assert_eq!(m.rdmsr(0, msr::TSC_DEADLINE), Some(0));
    assert_eq!(m.wants(0).interrupt, Some(Vector(0x40)));
    assert_eq!(m.vcpus[0].deadline(), None);
    assert_eq!(m.drain(0), [0x40]);
    // One that has passed fires at once, and zero disarms.
    assert_eq!(m.wrmsr(0, msr::TSC_DEADLINE, 1), Answer::Advance);
    assert_eq!(m.drain(0), [0x40]);
    assert_eq!(m.wrmsr(0, msr::TSC_DEADLINE, due + 9), Answer::Advance);
    assert_eq!(m.wrmsr(0, msr::TSC_DEADLINE, 0), Answer::Advance);
    assert_eq!(m.vcpus[0].deadline(), None);
}

#[test]
fn a_deadline_is_in_the_guests_time_and_moves_with_it() {
    let mut m = with_timer();
    let now = m.now.0;
    let _ = m.wrmsr(0, msr::TSC, 5_000);
    let _ = m.wrmsr(0, msr::TSC_DEADLINE, 6_000);
    assert_eq!(m.vcpus[0].deadline(), Some(Ticks(now + 1_000)));
    let _ = m.wrmsr(0, msr::TSC, 5_900);
    assert_eq!(m.vcpus[0].deadline(), Some(Ticks(now + 100)));
    let _ = m.wrmsr(0, msr::TSC, 6_000);
    assert_eq!(m.drain(0), [0x40]);
}

#[test]
fn only_what_is_delivered_wakes() {
    let mut m = with_timer();
    halt(&mut m);
    let _ = m.step(Exit::Cr8Write(5));
    let _ = m.vm.mailboxes[0].post(Vector(0x50), false);
    assert_eq!(m.wants(0).interrupt, None, "the task priority is above it");
    assert_eq!(m.vcpus[0].activity, Activity::Halted);
    let _ = m.vm.mailboxes[0].post(Vector(0x60), false);
    assert_eq!(m.wants(0).interrupt, Some(Vector(0x60)));
    // With interrupts disabled the owner cannot deliver it, and the vCPU sleeps on.
    assert_eq!(m.vcpus[0].activity, Activity::Halted);
    m.vcpus[0].taken(Vector(0x60));
    assert_eq!(m.vcpus[0].activity, Activity::Active);

    halt(&mut m);
    let _ = m.vm.mailboxes[0].post_nmi();
    assert!(m.wants(0).nmi);
    assert!(m.vcpus[0].nmi_waits() && m.vcpus[0].activity == Activity::Halted);
    m.vcpus[0].nmi_taken();
    assert!(!m.vcpus[0].nmi_waits() && m.vcpus[0].activity == Activity::Active);
    assert!(!m.wants(0).nmi, "delivered once");
}

/// HLT under a single-step trap ends at once; only the vendor's state knows of the trap, so only the owner may say that
/// the vCPU sleeps.
#[test]
fn the_answer_to_hlt_alone_does_not_put_a_vcpu_to_sleep() {
    let mut m = Machine::new(1);
    assert_eq!(m.step(Exit::Hlt), Answer::Halt);
    assert_eq!(m.vcpus[0].activity, Activity::Active);
}

#[test]
fn a_sleeper_is_told_its_timers_time() {
    let mut m = with_timer();
    let due = Ticks(m.now.0 + 50);
    let _ = m.wrmsr(0, msr::TSC_DEADLINE, due.0);
    halt(&mut m);
    assert_eq!(m.wants(0), vm::Wants::default());
    assert_eq!(m.vcpus[0].deadline(), Some(due));
    m.now = due;
    assert_eq!(m.wants(0).interrupt, Some(Vector(0x40)));
}
