//! When another core is told to look into a mailbox.

use super::fake::Machine;
use exits::Answer;
use spec::{Msr, Width};

const ICR: Msr = Msr(0x830);
const OTHERS: u64 = 3 << 18;
const ALL: u64 = 2 << 18;

#[test]
fn a_storm_makes_one_kick_a_look() {
    let mut m = Machine::x2apic(3);
    for command in [
        OTHERS | 0x51,
        OTHERS | 0x52,
        OTHERS | 4 << 8,
        1 << 32 | 0x53,
    ] {
        for _ in 0..100 {
            assert_eq!(m.wrmsr(0, ICR, command), Answer::Advance);
        }
    }
    assert_eq!(m.kicks.take(), [0, 1, 1]);
    let _ = m.wants(1);
    assert_eq!(m.wrmsr(0, ICR, OTHERS | 0x51), Answer::Advance);
    assert_eq!(m.kicks.take(), [0, 1, 0], "the other has not looked yet");
    let _ = m.wants(1);
    for command in [5 << 8, 6 << 8 | 8] {
        assert_eq!(m.wrmsr(0, ICR, 1 << 32 | command), Answer::Advance);
    }
    assert_eq!(m.kicks.take(), [0, 1, 0], "INIT and start-up too");
}

#[test]
fn the_core_of_the_exit_looks_by_itself() {
    let mut m = Machine::x2apic(2);
    assert_eq!(m.wrmsr(0, ICR, ALL | 0x51), Answer::Advance);
    assert_eq!(m.kicks.take(), [0, 1]);
    // To oneself, physically, does not even get to the mailbox.
    assert_eq!(m.wrmsr(1, ICR, 1 << 32 | 0x52), Answer::Advance);
    assert_eq!(m.kicks.take(), [0, 0]);
    assert_eq!(m.drain(0), [0x51]);
    assert_eq!(m.drain(1), [0x52, 0x51]);
}

#[test]
fn a_pin_kicks_whom_it_interrupts_unless_that_one_moved_it() {
    for (to, kicks) in [(0, [0, 0]), (1, [0, 1])] {
        let mut m = Machine::x2apic(2);
        m.redirect(4, to << 56 | 0x31);
        let _ = m.port_out(0x3fc, Width::B1, 8);
        // The transmitter's interrupt, by the first vCPU's own write
        let _ = m.port_out(0x3f9, Width::B1, 2);
        assert_eq!(m.kicks.take(), kicks);
        assert_eq!(m.drain(to as usize), [0x31]);
        // A byte that came from outside, by no vCPU
        let _ = m.port_in(0x3fa, Width::B1);
        let _ = m.port_out(0x3f9, Width::B1, 1);
        m.vm.chips.serial.lock().line.waiting.push_back(0x61);
        m.vm.poll_serial();
        let always = if to == 0 { [1, 0] } else { [0, 1] };
        assert_eq!(m.kicks.take(), always);
        m.vm.poll_serial();
        assert_eq!(m.kicks.take(), [0, 0]);
        assert_eq!(m.drain(to as usize), [0x31]);
    }
}

#[test]
fn lowest_priority_goes_round_those_that_take_it() {
    const LOWEST: u64 = 1 << 8 | 1 << 11;
    let mut m = Machine::x2apic(4);
    // Disabled by software: it answers to its address, and would drop the interrupt.
    assert_eq!(m.wrmsr(2, Msr(0x80f), 0xff), Answer::Advance);
    let mut taken = [0; 4];
    for _ in 0..30 {
        assert_eq!(
            m.wrmsr(3, ICR, 0b1111 << 32 | LOWEST | 0x51),
            Answer::Advance
        );
        for (i, taken) in taken.iter_mut().enumerate() {
            *taken += m.drain(i).len();
        }
    }
    assert_eq!(taken, [10, 10, 0, 10]);
    assert_eq!(
        m.wrmsr(3, ICR, 0b0100 << 32 | LOWEST | 0x51),
        Answer::Advance
    );
    assert!(m.vm.mailboxes[2].is_empty());
    // One that waits for its start-up is out of it too.
    assert_eq!(m.wrmsr(0, ICR, 1 << 32 | 5 << 8), Answer::Advance);
    let _ = m.wants(1);
    for _ in 0..10 {
        assert_eq!(
            m.wrmsr(3, ICR, 0b0011 << 32 | LOWEST | 0x51),
            Answer::Advance
        );
        assert_eq!(m.drain(0), [0x51]);
    }
}
