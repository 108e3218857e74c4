extern crate std;

use super::*;
use proptest::prelude::*;
use spec::uart::iir;
use std::collections::VecDeque;
use std::vec;
use std::vec::Vec;

/// A line that takes `room` bytes and then no more, and has `input` to give.
#[derive(Default)]
pub(super) struct Line {
    pub(super) sent: Vec<u8>,
    pub(super) room: usize,
    pub(super) input: VecDeque<u8>,
}

impl Line {
    pub(super) fn open() -> Line {
        Line {
            room: usize::MAX,
            ..Line::default()
        }
    }

    fn with_input(input: &[u8]) -> Line {
        Line {
            input: input.iter().copied().collect(),
            ..Line::open()
        }
    }
}

impl SerialLine for Line {
    fn send(&mut self, byte: u8) -> bool {
        if self.room == 0 {
            return false;
        }
        self.room -= 1;
        self.sent.push(byte);
        true
    }

    fn receive(&mut self) -> Option<u8> {
        self.input.pop_front()
    }
}

fn with_fifos(line: &mut Line, trigger: u8) -> Uart {
    let mut uart = Uart::new();
    uart.write(offset::FCR, 0x01 | trigger << 6, line);
    uart.write(offset::MCR, Mcr::OUT2.bits(), line);
    uart
}

fn status(uart: &mut Uart, line: &mut Line) -> Lsr {
    Lsr::from_bits_retain(uart.read(offset::LSR, line))
}

fn source(uart: &mut Uart, line: &mut Line) -> u8 {
    uart.read(offset::IIR, line) & iir::MASK
}

#[test]
fn the_registers_after_reset_are_those_of_table_iii() {
    let line = &mut Line::open();
    let mut uart = Uart::new();
    let expected = [
        (offset::IER, 0x00),
        (offset::IIR, 0x01),
        (offset::LCR, 0x00),
        (offset::MCR, 0x00),
        (offset::LSR, 0x60),
        (offset::MSR, 0xb0),
    ];
    for (register, value) in expected {
        assert_eq!(uart.read(register, line), value, "register {register}");
    }
    assert!(!uart.interrupt());
}

#[test]
fn the_divisor_hides_data_and_ier_behind_dlab() {
    let line = &mut Line::with_input(b"x");
    let mut uart = Uart::new();
    uart.write(offset::LCR, 0x83, line);
    uart.write(offset::DATA, 0x34, line);
    uart.write(offset::IER, 0x12, line);
    assert_eq!(uart.read(offset::DATA, line), 0x34);
    assert_eq!(uart.read(offset::IER, line), 0x12);
    uart.write(offset::LCR, 0x03, line);
    assert_eq!(uart.read(offset::IER, line), 0);
    uart.poll(line);
    assert_eq!(uart.read(offset::DATA, line), b'x');
    assert!(line.sent.is_empty(), "a divisor is not data");
}

#[test]
fn a_full_line_holds_thre_back_and_loses_nothing() {
    let line = &mut Line::default();
    let mut uart = with_fifos(line, 0);
    for byte in 0..FIFO_SIZE as u8 {
        uart.write(offset::DATA, byte, line);
        assert!(!status(&mut uart, line).intersects(Lsr::THR_EMPTY | Lsr::TX_EMPTY));
    }
    for room in 0..FIFO_SIZE {
        line.room = 1;
        uart.poll(line);
        let last = room + 1 == FIFO_SIZE;
        assert_eq!(uart.is_sending(), !last);
        assert_eq!(status(&mut uart, line).contains(Lsr::THR_EMPTY), last);
    }
    assert_eq!(line.sent, (0..FIFO_SIZE as u8).collect::<Vec<_>>());
}

#[test]
fn without_fifos_one_byte_fills_the_transmitter() {
    let line = &mut Line::default();
    let mut uart = Uart::new();
    uart.write(offset::DATA, b'a', line);
    uart.write(offset::DATA, b'b', line);
    line.room = usize::MAX;
    uart.poll(line);
    assert_eq!(line.sent, b"a");
}

#[test]
fn thre_interrupt_is_an_edge_that_iir_clears() {
    let line = &mut Line::default();
    let mut uart = with_fifos(line, 0);
    uart.write(offset::IER, Ier::TRANSMIT.bits(), line);
    assert!(uart.interrupt(), "switched on while empty");
    assert_eq!(source(&mut uart, line), iir::TRANSMIT);
    assert_eq!(source(&mut uart, line), iir::NONE);
    assert!(!uart.interrupt());

    uart.write(offset::DATA, b'a', line);
    assert!(!uart.interrupt(), "not empty yet");
    line.room = 1;
    uart.poll(line);
    assert!(uart.interrupt(), "just became empty");
    line.room = 0;
    uart.write(offset::DATA, b'b', line);
    assert!(!uart.interrupt(), "a byte written clears it");
}

#[test]
fn reading_iir_for_another_source_leaves_thre_pending() {
    let line = &mut Line::with_input(b"x");
    let mut uart = with_fifos(line, 0);
    uart.write(offset::IER, (Ier::TRANSMIT | Ier::DATA).bits(), line);
    uart.poll(line);
    assert_eq!(source(&mut uart, line), iir::DATA);
    uart.read(offset::DATA, line);
    assert_eq!(source(&mut uart, line), iir::TRANSMIT);
}

#[test]
fn the_trigger_level_parts_available_from_timed_out() {
    for (code, level) in [(0, 1), (1, 4), (2, 8), (3, 14)] {
        for waiting in 1..=FIFO_SIZE {
            let line = &mut Line::with_input(&vec![7; waiting]);
            let mut uart = with_fifos(line, code);
            uart.write(offset::IER, Ier::DATA.bits(), line);
            uart.poll(line);
            let expected = if waiting >= level {
                iir::DATA
            } else {
                iir::TIMEOUT
            };
            assert_eq!(source(&mut uart, line), expected, "{waiting} of {level}");
            assert!(uart.interrupt());
        }
    }
}

#[test]
fn the_receiver_leaves_outside_what_it_has_no_room_for() {
    let input: Vec<u8> = (0..100).collect();
    let line = &mut Line::with_input(&input);
    let mut uart = with_fifos(line, 0);
    uart.poll(line);
    assert_eq!(line.input.len(), 100 - FIFO_SIZE);
    assert!(!uart.can_receive());
    let mut read = Vec::new();
    while status(&mut uart, line).contains(Lsr::DATA) {
        read.push(uart.read(offset::DATA, line));
    }
    assert_eq!(read, input);
}

#[test]
fn out2_gates_the_line_and_loopback_closes_it() {
    let line = &mut Line::open();
    let mut uart = Uart::new();
    uart.write(offset::IER, Ier::TRANSMIT.bits(), line);
    for (mcr, open) in [(0x00, false), (0x08, true), (0x18, false), (0x0b, true)] {
        uart.write(offset::MCR, mcr, line);
        assert_eq!(uart.interrupt(), open, "MCR {mcr:#x}");
    }
}

#[test]
fn loopback_turns_outputs_into_inputs() {
    for outputs in 0..16u8 {
        let line = &mut Line::open();
        let mut uart = Uart::new();
        uart.write(offset::MCR, 0x10 | outputs, line);
        let [dtr, rts, out1, out2] = [0, 1, 2, 3].map(|bit| outputs >> bit & 1);
        let expected = rts << 4 | dtr << 5 | out1 << 6 | out2 << 7;
        assert_eq!(uart.read(offset::MSR, line) & 0xf0, expected);
    }
}

#[test]
fn modem_changes_interrupt_until_they_are_read() {
    let line = &mut Line::open();
    let mut uart = with_fifos(line, 0);
    uart.write(offset::IER, Ier::MODEM.bits(), line);
    uart.write(offset::MCR, 0x14, line);
    uart.write(offset::MCR, 0x08, line);
    assert_eq!(source(&mut uart, line), iir::MODEM);
    assert!(uart.interrupt());
    let all = Msr::DELTA_CTS | Msr::DELTA_DSR | Msr::DELTA_DCD | Msr::TRAILING_RI;
    assert_eq!(uart.read(offset::MSR, line), 0xb0 | all.bits());
    assert_eq!(uart.read(offset::MSR, line), 0xb0);
    assert!(!uart.interrupt());
}

#[test]
fn loopback_returns_data_and_overruns() {
    let line = &mut Line::with_input(b"outside");
    let mut uart = Uart::new();
    uart.write(offset::MCR, 0x10, line);
    uart.write(offset::FCR, 0x07, line);
    uart.write(offset::IER, Ier::LINE_STATUS.bits(), line);
    for byte in 0..20 {
        uart.write(offset::DATA, byte, line);
    }
    assert_eq!(source(&mut uart, line), iir::LINE_STATUS);
    assert!(status(&mut uart, line).contains(Lsr::OVERRUN));
    assert!(
        !status(&mut uart, line).contains(Lsr::OVERRUN),
        "read clears it"
    );
    for byte in 0..FIFO_SIZE as u8 {
        assert_eq!(
            uart.read(offset::DATA, line),
            byte,
            "the FIFO keeps the older bytes"
        );
    }
    assert!(!status(&mut uart, line).contains(Lsr::DATA));
    assert!(line.sent.is_empty(), "nothing leaves in loopback");
    assert_eq!(line.input.len(), 7, "nothing comes in either");
}

#[test]
fn an_overrun_without_fifos_keeps_the_newer_byte() {
    let line = &mut Line::open();
    let mut uart = Uart::new();
    uart.write(offset::MCR, 0x10, line);
    uart.write(offset::DATA, b'a', line);
    uart.write(offset::DATA, b'b', line);
    assert!(status(&mut uart, line).contains(Lsr::DATA | Lsr::OVERRUN));
    assert_eq!(uart.read(offset::DATA, line), b'b');
}

#[test]
fn switching_the_fifos_empties_both() {
    let line = &mut Line::default();
    let mut uart = with_fifos(line, 0);
    uart.write(offset::IER, Ier::TRANSMIT.bits(), line);
    uart.write(offset::DATA, b'a', line);
    uart.write(offset::FCR, 0, line);
    assert!(!uart.is_sending());
    assert_eq!(source(&mut uart, line), iir::TRANSMIT, "emptied is empty");
}

#[derive(Clone, Debug)]
enum Op {
    Read(u8),
    Write(u8, u8),
    Room(usize),
    Input(Vec<u8>),
    Poll,
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => any::<u8>().prop_map(Op::Read),
        8 => (any::<u8>(), any::<u8>()).prop_map(|(at, value)| Op::Write(at, value)),
        1 => (0..40usize).prop_map(Op::Room),
        1 => prop::collection::vec(any::<u8>(), 0..40).prop_map(Op::Input),
        1 => Just(Op::Poll),
    ]
}

proptest! {
    #[test]
    fn any_sequence_keeps_the_registers_consistent(ops in prop::collection::vec(op(), 0..200)) {
        let line = &mut Line::default();
        let mut uart = Uart::new();
        for op in ops {
            match op {
                Op::Read(at) => { uart.read(at, line); }
                Op::Write(at, value) => uart.write(at, value, line),
                Op::Room(room) => line.room = room,
                Op::Input(bytes) => line.input.extend(bytes),
                Op::Poll => uart.poll(line),
            }
            prop_assert!(uart.rx.len() <= uart.capacity());
            prop_assert!(uart.tx.len() <= uart.capacity());

            // What a driver sees agrees with the line and with itself.
            let mut seen = uart.clone();
            let quiet = &mut Line::default();
            let iir = seen.read(offset::IIR, quiet);
            let open = uart.mcr & (Mcr::OUT2 | Mcr::LOOP) == Mcr::OUT2;
            prop_assert_eq!(uart.interrupt(), open && iir & 1 == 0);
            prop_assert_eq!(iir & 0xc0 == 0xc0, uart.fcr.contains(Fcr::ENABLE));
            let lsr = status(&mut seen, quiet);
            prop_assert_eq!(lsr.contains(Lsr::THR_EMPTY), !uart.is_sending());
            prop_assert_eq!(lsr.contains(Lsr::THR_EMPTY), lsr.contains(Lsr::TX_EMPTY));
            prop_assert_eq!(lsr.contains(Lsr::DATA), !uart.rx.is_empty());
        }
        uart.reset();
        prop_assert_eq!(uart, Uart::new());
    }

    /// Whatever the line's pace, a driver that heeds THRE gets every byte out once, in order, and one that reads
    /// while DR is set gets every byte in.
    #[test]
    fn nothing_is_lost_either_way(
        text in prop::collection::vec(any::<u8>(), 0..200),
        paces in prop::collection::vec(0..20usize, 1..20),
        fifos in any::<bool>(),
    ) {
        let line = &mut Line { input: text.iter().copied().collect(), ..Line::default() };
        let mut uart = if fifos { with_fifos(line, 2) } else { Uart::new() };
        let burst = if fifos { FIFO_SIZE } else { 1 };
        let mut rest = text.as_slice();
        let mut read = Vec::new();
        // One byte of room at least in each round of paces.
        let mut paces = paces.iter().chain([&1]).cycle();
        while !rest.is_empty() || uart.is_sending() || !line.input.is_empty() || !uart.rx.is_empty() {
            line.room = *paces.next().unwrap();
            uart.poll(line);
            let lsr = status(&mut uart, line);
            if lsr.contains(Lsr::DATA) {
                read.push(uart.read(offset::DATA, line));
            }
            if lsr.contains(Lsr::THR_EMPTY) {
                let (now, later) = rest.split_at(rest.len().min(burst));
                now.iter().for_each(|&byte| uart.write(offset::DATA, byte, line));
                rest = later;
            }
        }
        prop_assert_eq!(&line.sent, &text);
        prop_assert_eq!(&read, &text);
    }
}
