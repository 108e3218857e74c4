mod any;

use super::*;
use crate::trace::TraceChunk;
use alloc::format;
use alloc::vec;
use alloc::vec::Vec;
use any::{from_machine, to_machine};
use proptest::prelude::*;
use spec::{Hz, Ticks};

fn decoded<M: Message>(decoder: &mut Decoder<M>, bytes: &[u8]) -> Vec<M> {
    bytes
        .iter()
        .filter_map(|byte| decoder.push(*byte))
        .collect()
}

/// The messages of a stream.
fn received<M: Message>(bytes: &[u8]) -> Vec<M> {
    decoded(&mut Decoder::new(), bytes)
}

fn log(line: &str) -> FromMachine {
    FromMachine::Log { line: line.into() }
}

/// The frame of these bytes as a message, with the right checksum.
fn raw(message: &[u8]) -> Vec<u8> {
    let crc = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(message);
    let payload = [message, &crc.to_le_bytes()].concat();
    let mut stuffed = vec![0; frame_len(message.len())];
    let len = cobs::encode(&payload, &mut stuffed);
    [&[0], &stuffed[..len], &[0]].concat()
}

#[test]
fn the_frame_is_as_its_page_says() {
    let hello = ToMachine::Hello { version: 1 };
    assert_eq!(frame(&hello).unwrap(), raw(&[0, 1]));
    let input = ToMachine::Input {
        vm: 300,
        bytes: b"ls\r".to_vec(),
    };
    assert_eq!(
        frame(&input).unwrap(),
        raw(&[1, 0xac, 2, 3, b'l', b's', b'\r'])
    );
    let request = ToMachine::Request {
        id: 7,
        command: Command::Start { vm: "a".into() },
    };
    assert_eq!(frame(&request).unwrap(), raw(&[2, 7, 1, 1, b'a']));
    let reply = FromMachine::Reply {
        id: 7,
        answer: Answer::Done("b".into()),
    };
    assert_eq!(frame(&reply).unwrap(), raw(&[3, 7, 1, 1, b'b']));
    assert_eq!(frame(&log("c")).unwrap(), raw(&[2, 1, b'c']));
    let request = ToMachine::Request {
        id: 7,
        command: Command::Set {
            vm: "a".into(),
            weight: Some(200),
            budget: None,
            period: Some(1),
        },
    };
    let set = [2, 7, 9, 1, b'a', 1, 200, 1, 0, 1, 1];
    assert_eq!(frame(&request).unwrap(), raw(&set));
    let trace = Command::Trace { core: 1, from: 2 };
    for (command, bytes) in [
        (Command::Times, &[2, 7, 10][..]),
        (trace, &[2, 7, 11, 1, 2]),
    ] {
        let request = ToMachine::Request { id: 7, command };
        assert_eq!(frame(&request).unwrap(), raw(bytes));
    }
    let event = trace::Event {
        what: trace::What::Block,
        vm: 1,
        vcpu: 2,
        arg: 3,
    };
    let chunk = TraceChunk::new(1, Hz(2), Ticks(3), 4, 5, [(Ticks(6), event.pack())]);
    let reply = FromMachine::Reply {
        id: 7,
        answer: Answer::Trace(chunk),
    };
    // 5, 2 in the bits from 5 on, 1 in those from 13 on, 3 in those from 21 on; seven bits a byte.
    let word = [0xc5, 0xc0, 0x80, 0x03];
    assert_eq!(
        frame(&reply).unwrap(),
        raw(&[&[3, 7, 6, 1, 2, 3, 4, 5, 1, 6][..], &word].concat())
    );
}

#[test]
fn a_newer_message_is_skipped_and_a_newer_command_can_be_refused() {
    let mut decoder = Decoder::<ToMachine>::new();
    let bytes = [raw(&[99, 1, 2, 3]), raw(&[2, 9, 200, 1]), raw(&[0, 1])].concat();
    let command = Command::Unknown;
    assert_eq!(
        decoded(&mut decoder, &bytes),
        [
            ToMachine::Request { id: 9, command },
            ToMachine::Hello { version: 1 }
        ]
    );
    assert_eq!((decoder.dropped(), decoder.unknown()), (0, 1));
    let answer = Answer::Unknown;
    assert_eq!(
        received::<FromMachine>(&raw(&[3, 9, 200, 1])),
        [FromMachine::Reply { id: 9, answer }]
    );
}

#[test]
fn what_a_later_version_adds_at_the_end_is_let_be() {
    assert_eq!(
        received::<FromMachine>(&raw(&[2, 1, b'c', 1, 2, 3])),
        [log("c")]
    );
}

#[test]
fn what_nobody_sends_cannot_be_sent() {
    let command = Command::Unknown;
    assert_eq!(frame(&ToMachine::Request { id: 1, command }), Err(TooLong));
}

#[test]
fn a_message_as_long_as_readers_accept_arrives_and_a_longer_one_is_not_sent() {
    let input = |len| ToMachine::Input {
        vm: 0,
        bytes: vec![1; len],
    };
    let most = ToMachine::LIMIT - 4;
    let bytes = frame(&input(most)).unwrap();
    assert_eq!(received::<ToMachine>(&bytes), [input(most)]);
    assert_eq!(frame(&input(most + 1)), Err(TooLong));
    let mut out = vec![0; 2 * ToMachine::LIMIT];
    assert_eq!(encode(&input(most + 1), &mut out), Err(TooLong));
}

#[test]
fn an_endless_frame_takes_bounded_memory_and_counts_once() {
    let mut decoder = Decoder::<ToMachine>::new();
    let mut endless = vec![7; 100 * ToMachine::LIMIT];
    endless.extend(frame(&ToMachine::Hello { version: 1 }).unwrap());
    assert_eq!(decoded(&mut decoder, &endless).len(), 1);
    assert_eq!(decoder.dropped(), 1);
    assert!(decoder.capacity() <= 2 * ToMachine::LIMIT);
}

#[test]
fn a_sequence_that_claims_to_be_huge_is_no_allocation() {
    let huge = [3, 9, 0, 0xff, 0xff, 0xff, 0xff, 0x0f];
    let mut decoder = Decoder::<FromMachine>::new();
    let answer = Answer::Unknown;
    assert_eq!(
        decoded(&mut decoder, &raw(&huge)),
        [FromMachine::Reply { id: 9, answer }]
    );
    assert!(decoded(&mut decoder, &raw(&[1, 0, 0xff, 0xff, 0xff, 0xff, 0x0f])).is_empty());
    assert_eq!(decoder.unknown(), 1);
}

#[test]
fn an_outbox_takes_frames_whole_or_not_at_all() {
    let mut outbox = Outbox::new(40);
    assert_eq!(outbox.push(&log("one")), Ok(()));
    assert_eq!(outbox.push(&log("two")), Ok(()));
    assert_eq!(outbox.push(&log(&"x".repeat(30))), Err(TooLong));
    let bytes: Vec<u8> = core::iter::from_fn(|| outbox.pop()).collect();
    assert_eq!(received::<FromMachine>(&bytes), [log("one"), log("two")]);
    assert!(outbox.is_empty());
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn what_is_sent_arrives(messages in prop::collection::vec(from_machine(), 0..9)) {
        let bytes: Vec<u8> = messages.iter().flat_map(|it| frame(it).unwrap()).collect();
        prop_assert_eq!(received::<FromMachine>(&bytes), messages);
    }

    #[test]
    fn what_is_sent_to_the_machine_arrives(messages in prop::collection::vec(to_machine(), 0..9)) {
        let bytes: Vec<u8> = messages.iter().flat_map(|it| frame(it).unwrap()).collect();
        let mut decoder = Decoder::<ToMachine>::new();
        prop_assert_eq!(decoded(&mut decoder, &bytes), messages);
        prop_assert_eq!((decoder.dropped(), decoder.unknown()), (0, 0));
    }

    #[test]
    fn any_bytes_are_taken_and_what_follows_arrives(
        noise in prop::collection::vec(prop_oneof![1 => Just(0u8), 3 => any::<u8>()], 0..2000),
        message in to_machine(),
    ) {
        let mut decoder = Decoder::<ToMachine>::new();
        decoded(&mut decoder, &noise);
        prop_assert_eq!(decoded(&mut decoder, &frame(&message).unwrap()), vec![message]);
        let zeros = noise.iter().filter(|byte| **byte == 0).count() as u64;
        prop_assert!(decoder.dropped() + decoder.unknown() <= zeros + 1);
    }

    #[test]
    fn who_joins_in_the_middle_misses_one_message(
        first in from_machine(),
        second in from_machine(),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut bytes = frame(&first).unwrap();
        // Without the last zero there is always something of the frame left.
        let cut = 1 + cut.index(bytes.len() - 1);
        bytes.drain(..cut);
        bytes.extend(frame(&second).unwrap());
        let got = received::<FromMachine>(&bytes);
        prop_assert_eq!(got.last(), Some(&second));
        prop_assert!(got.len() == 1 || (cut == 1 && got[0] == first));
    }

    #[test]
    fn a_flipped_bit_costs_its_message_alone(
        messages in prop::collection::vec(from_machine(), 3),
        at in any::<prop::sample::Index>(),
        bit in 0u8..8,
    ) {
        let mut frames: Vec<_> = messages.iter().map(|it| frame(it).unwrap()).collect();
        let at = at.index(frames[1].len());
        frames[1][at] ^= 1u8 << bit;
        let got = received::<FromMachine>(&frames.concat());
        prop_assert_eq!(got.first(), Some(&messages[0]));
        prop_assert_eq!(got.last(), Some(&messages[2]));
        prop_assert_eq!(got.len(), 2);
    }

    #[test]
    fn any_payload_with_a_right_checksum_is_taken(payload in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut decoder = Decoder::<FromMachine>::new();
        decoded(&mut decoder, &raw(&payload));
        prop_assert_eq!(decoder.dropped(), 0);
        let mut decoder = Decoder::<ToMachine>::new();
        decoded(&mut decoder, &raw(&payload));
        prop_assert_eq!(decoder.dropped(), 0);
    }

    #[test]
    fn a_buffer_holds_the_frame_or_is_refused(message in from_machine(), len in 0usize..2000) {
        let whole = frame(&message).unwrap();
        let mut out = vec![0xaa; len];
        match encode(&message, &mut out) {
            Ok(written) => prop_assert_eq!(&out[..written], &whole),
            Err(TooLong) => prop_assert!(len < whole.len(), "{}", format!("{len} of {}", whole.len())),
        }
    }

    #[test]
    fn console_room_is_room_indeed(capacity in 0usize..3000, fill in 0usize..1000, reserve in 0usize..500) {
        let mut outbox = Outbox::new(capacity);
        let _ = outbox.push(&log(&"x".repeat(fill)));
        let room = outbox.console_room(reserve);
        let free = outbox.free();
        // COBS adds most where there is no zero.
        let bytes = vec![1; room];
        if room != 0 {
            prop_assert_eq!(outbox.push(&FromMachine::Console { vm: u16::MAX, bytes }), Ok(()));
            prop_assert!(outbox.free() >= reserve.min(free));
        } else {
            prop_assert!(free < reserve + 40);
        }
    }
}
