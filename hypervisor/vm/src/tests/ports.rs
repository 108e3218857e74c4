//! IN, OUT, INS and OUTS.

use super::fake::{Line, Machine, flat};
use exits::{Answer, Direction, Event, Exit, PortAccess, Stop, StringAccess};
use seam::GuestMem;
use spec::cpu::{Gpr, Rflags};
use spec::{Gpa, Port, Width};
use std::string::String;

const ALL: u64 = 0xffff_ffff;

#[test]
fn in_merges_into_rax_by_its_width() {
    let mut m = Machine::new(1);
    // The scratch register, and the absent port after it
    assert_eq!(m.port_out(0x3ff, Width::B1, 0x5a), Answer::Advance);
    assert_eq!(m.port_in(0x3ff, Width::B1), u64::MAX - 0xff + 0x5a);
    assert_eq!(m.port_in(0x3ff, Width::B2), u64::MAX - 0xff + 0x5a);
    assert_eq!(m.port_in(0x3ff, Width::B4), 0xffff_ff5a);
    // Nothing there
    assert_eq!(m.port_in(0x80, Width::B1), u64::MAX);
    assert_eq!(m.port_in(0x80, Width::B4), ALL);
}

#[test]
fn wide_accesses_are_one_byte_a_port() {
    let mut m = Machine::new(1);
    // MSR is read-only, SCR takes the second byte, the two after it are nobody's.
    assert_eq!(m.port_out(0x3fe, Width::B4, 0x4433_2211), Answer::Advance);
    let read = m.port_in(0x3fe, Width::B4);
    assert_eq!(read >> 8, 0xff_ff22);
    assert_eq!(read as u8, m.port_in(0x3fe, Width::B1) as u8);
    // Below a chip: the first byte is nobody's.
    assert_eq!(m.port_in(0x5fe, Width::B4), 0x0000_ffff);
}

#[test]
fn ports_wrap_at_the_end() {
    let mut m = Machine::new(1);
    assert_eq!(m.port_out(0xffff, Width::B4, 0), Answer::Advance);
    assert_eq!(m.port_in(0xffff, Width::B4), ALL);
}

#[test]
fn the_clock_answers_at_its_index() {
    let mut m = Machine::new(1);
    // 1,700,000,000 is 2023-11-14, 22:13:20; binary or BCD, the year's two digits tell which.
    for (index, values) in [(9, [23, 0x23]), (8, [11, 0x11]), (7, [14, 0x14])] {
        assert_eq!(m.port_out(0x70, Width::B1, index), Answer::Advance);
        let value = m.port_in(0x71, Width::B1) as u8;
        assert!(values.contains(&value), "register {index}: {value:#x}");
    }
    // Index and data in one access
    assert_eq!(m.port_out(0x70, Width::B2, 0x0009), Answer::Advance);
}

#[test]
fn power_off_and_reset_end_the_vm() {
    let mut m = Machine::new(1);
    assert_eq!(m.port_out(0x600, Width::B1, 5 << 2), Answer::Advance);
    assert_eq!(
        m.port_out(0x600, Width::B1, 5 << 2 | 0x20),
        Answer::Stop(Stop::PowerOff)
    );
    assert_eq!(
        m.port_out(0x602, Width::B1, 0x42),
        Answer::Stop(Stop::Reset)
    );
    // As the third byte of a wide access, too; the fourth is then not written.
    assert_eq!(
        m.port_out(0x600, Width::B4, 0x42 << 16),
        Answer::Stop(Stop::Reset)
    );
    assert_eq!(m.port_out(0x603, Width::B1, 0x42), Answer::Advance);
}

fn sent(m: &Machine) -> String {
    let serial = m.vm.chips.serial.lock();
    let Line { sent, .. } = &serial.line;
    sent.iter().map(|&b| char::from(b)).collect()
}

fn string(port: u16, direction: Direction, repeated: bool, cpl: u8) -> Exit {
    Exit::PortString(StringAccess {
        access: PortAccess {
            port: Port(port),
            width: Width::B1,
            direction,
        },
        repeated,
        address_size: Width::B4,
        segment: 3,
        cpu: flat(cpl),
    })
}

#[test]
fn the_uart_sends_what_is_written() {
    let mut m = Machine::new(1);
    for byte in *b"one" {
        assert_eq!(m.port_out(0x3f8, Width::B1, byte.into()), Answer::Advance);
    }
    m.vm.memory.write_from(Gpa(0x3000), b" two").unwrap();
    m.gprs.set(Gpr::Rsi, 0x3000);
    m.gprs.set(Gpr::Rcx, 4);
    assert_eq!(
        m.step(string(0x3f8, Direction::Out, true, 0)),
        Answer::Advance
    );
    assert_eq!(sent(&m), "one two");
    assert_eq!((m.gprs.get(Gpr::Rsi), m.gprs.get(Gpr::Rcx)), (0x3004, 0));
}

#[test]
fn a_long_string_lets_the_guest_be_interrupted() {
    let mut m = Machine::new(1);
    m.gprs.set(Gpr::Rdi, 0x3000);
    m.gprs.set(Gpr::Rcx, 1000);
    let answer = m.step(string(0x80, Direction::In, true, 0));
    let Answer::Emulated {
        length: 0, rflags, ..
    } = answer
    else {
        panic!("{answer:?}");
    };
    assert_eq!(rflags, Rflags::FIXED.bits());
    let left = m.gprs.get(Gpr::Rcx);
    assert!(0 < left && left < 1000);
    assert_eq!(m.gprs.get(Gpr::Rdi), 0x3000 + 1000 - left);
    let mut steps = 1;
    while m.step(string(0x80, Direction::In, true, 0)) != Answer::Advance {
        steps += 1;
        assert!(steps < 1000);
    }
    let mut all = [0; 1001];
    m.vm.memory.read_into(Gpa(0x3000), &mut all).unwrap();
    assert!(all[..1000].iter().all(|&b| b == 0xff) && all[1000] == 0);
}

/// INS to a chip's registers, and beyond everything: neither ends the VM.
#[test]
fn a_string_may_go_where_no_memory_is() {
    let mut m = Machine::new(1);
    for at in [0xfee0_0080, 0xfec0_0000, 0xd000_0000] {
        m.gprs.set(Gpr::Rdi, at);
        assert_eq!(
            m.step(string(0x80, Direction::In, false, 3)),
            Answer::Advance,
            "{at:#x}"
        );
        assert_eq!(m.gprs.get(Gpr::Rdi), at + 1);
    }
}

#[test]
fn a_string_out_of_its_segment_faults_with_registers_as_they_were() {
    let mut m = Machine::new(1);
    let Exit::PortString(mut access) = string(0x80, Direction::In, true, 0) else {
        unreachable!()
    };
    access.cpu.segments[0].limit = 0xfff;
    m.gprs.set(Gpr::Rdi, 0x1000);
    m.gprs.set(Gpr::Rcx, 5);
    let before = m.gprs;
    assert_eq!(m.step(Exit::PortString(access)), Answer::Inject(Event::GP0));
    assert_eq!(m.gprs, before);
}
