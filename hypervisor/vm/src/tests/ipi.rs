//! Interrupts on their way: between vCPUs, and from the UART's pin to a vCPU.

use super::fake::Machine;
use exits::Answer;
use spec::{Msr, Vector, Width, msr};
use std::vec::Vec;

const ICR: Msr = Msr(0x830);
const EOI: Msr = Msr(0x80b);
const LOGICAL: u64 = 1 << 11;
const LOWEST: u64 = 1 << 8;
const NMI: u64 = 4 << 8;
const SELF: u64 = 1 << 18;
const ALL: u64 = 2 << 18;
const OTHERS: u64 = 3 << 18;

/// Who of four gets vector 0x51 when the vCPU `sender` writes this command.
fn receivers(sender: usize, destination: u64, command: u64) -> Vec<usize> {
    let mut m = Machine::x2apic(4);
    let value = destination << 32 | command | 0x51;
    assert_eq!(m.wrmsr(sender, ICR, value), Answer::Advance);
    let got: Vec<_> = (0..4).filter(|&i| m.drain(i) == [0x51]).collect();
    assert!((0..4).all(|i| m.vm.mailboxes[i].is_empty()));
    got
}

#[test]
fn commands_reach_whom_they_name() {
    assert_eq!(receivers(0, 2, 0), [2]);
    assert_eq!(receivers(0, 0, 0), [0], "physically to oneself");
    assert_eq!(receivers(0, 4, 0), [], "nobody has this id");
    assert_eq!(receivers(1, 0xffff_ffff, 0), [0, 1, 2, 3], "broadcast");
    assert_eq!(receivers(0, 0b1010, LOGICAL), [1, 3]);
    assert_eq!(receivers(0, 0b0001, LOGICAL), [0]);
    assert_eq!(receivers(0, 1 << 16 | 1, LOGICAL), [], "another cluster");
    // With a shorthand the destination does not count.
    assert_eq!(receivers(2, 0, SELF), [2]);
    assert_eq!(receivers(2, 0, ALL), [0, 1, 2, 3]);
    assert_eq!(receivers(2, 0, OTHERS), [0, 1, 3]);
}

#[test]
fn lowest_priority_takes_one_of_those_addressed() {
    for to in 1..16u64 {
        let got = receivers(0, to, LOGICAL | LOWEST);
        assert_eq!(got.len(), 1, "{to:#b}");
        assert!(to & 1 << got[0] != 0, "{to:#b}");
    }
    assert_eq!(receivers(0, 0x1_0001, LOGICAL | LOWEST), []);
}

#[test]
fn an_nmi_waits_beside_the_interrupts() {
    let mut m = Machine::x2apic(3);
    assert_eq!(m.wrmsr(0, ICR, NMI | OTHERS), Answer::Advance);
    assert!(!m.wants(0).nmi);
    for i in 1..3 {
        let wants = m.wants(i);
        assert!(wants.nmi && wants.interrupt.is_none());
    }
}

#[test]
fn a_disabled_apic_takes_nothing() {
    let mut m = Machine::x2apic(2);
    assert_eq!(m.wrmsr(1, msr::APIC_BASE, 0xfee0_0000), Answer::Advance);
    assert_eq!(m.wrmsr(0, ICR, ALL | 0x51), Answer::Advance);
    assert!(m.vm.mailboxes[1].is_empty());
    assert_eq!(m.drain(0), [0x51]);
}

/// Pin 4, edge-triggered, to vCPU 1: what 8250 drivers use.
#[test]
fn the_uarts_interrupt_reaches_its_vcpu() {
    let mut m = Machine::x2apic(2);
    m.redirect(4, 1 << 56 | 0x31);
    // OUT2, without which a PC's UART is cut off, then the transmitter's interrupt
    let _ = m.port_out(0x3fc, Width::B1, 8);
    let _ = m.port_out(0x3f9, Width::B1, 2);
    assert_eq!(m.drain(0), []);
    assert_eq!(m.drain(1), [0x31]);
    // The transmitter is emptied by a poll, later.
    m.vm.chips.serial.lock().line.room = 0;
    let _ = m.port_out(0x3f8, Width::B1, 0x41);
    assert_eq!(m.drain(1), []);
    m.vm.poll_serial();
    assert_eq!(m.drain(1), []);
    m.vm.chips.serial.lock().line.room = 1;
    m.vm.poll_serial();
    assert_eq!(m.drain(1), [0x31]);
    m.vm.poll_serial();
    assert_eq!(m.drain(1), [], "once");
}

/// A level stays until the cause is gone: each EOI before that sends again.
#[test]
fn a_level_is_sent_again_at_its_end() {
    let mut m = Machine::x2apic(1);
    m.redirect(4, 1 << 15 | 0x31);
    let _ = m.port_out(0x3fc, Width::B1, 8);
    let _ = m.port_out(0x3f9, Width::B1, 1);
    assert_eq!(m.wants(0).interrupt, None);
    m.vm.chips.serial.lock().line.waiting.push_back(0x61);
    m.vm.poll_serial();
    for _ in 0..3 {
        assert_eq!(m.wants(0).interrupt, Some(Vector(0x31)));
        m.vcpus[0].taken(Vector(0x31));
        assert_eq!(m.wants(0).interrupt, None);
        assert_eq!(m.wrmsr(0, EOI, 0), Answer::Advance);
    }
    assert_eq!(m.wants(0).interrupt, Some(Vector(0x31)));
    m.vcpus[0].taken(Vector(0x31));
    assert_eq!(m.port_in(0x3f8, Width::B1) as u8, 0x61);
    assert_eq!(m.wrmsr(0, EOI, 0), Answer::Advance);
    assert_eq!(m.drain(0), []);
}

#[test]
fn a_masked_pin_is_silent_and_a_reset_forgets_everything() {
    let mut m = Machine::x2apic(1);
    m.redirect(4, 1 << 16 | 0x31);
    let _ = m.port_out(0x3fc, Width::B1, 8);
    let _ = m.port_out(0x3f9, Width::B1, 2);
    assert_eq!(m.drain(0), []);
    assert!(m.vm.mailboxes[0].post(Vector(0x55), true));
    assert!(!m.vm.mailboxes[0].post_nmi());
    let chips = Machine::new(1).vm.chips;
    m.vm.reset(chips);
    assert_eq!(m.wants(0), vm::Wants::default());
    assert_eq!(m.port_in(0x3f9, Width::B1) as u8, 0);
}
