use super::*;
use alloc::format;
use alloc::string::String;
use alloc::vec;
use alloc::vec::Vec;
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

fn text() -> impl Strategy<Value = String> {
    "[a-z0-9 -]{0,40}"
}

fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        Just(Command::List),
        Just(Command::Cores),
        Just(Command::Off),
        text().prop_map(|vm| Command::Start { vm }),
        text().prop_map(|vm| Command::Stop { vm }),
        text().prop_map(|vm| Command::Pause { vm }),
        text().prop_map(|vm| Command::Resume { vm }),
        text().prop_map(|vm| Command::Reset { vm }),
        text().prop_map(|vm| Command::Statistics { vm }),
    ]
}

fn to_machine() -> impl Strategy<Value = ToMachine> {
    let bytes = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..600);
    prop_oneof![
        any::<u16>().prop_map(|version| ToMachine::Hello { version }),
        (any::<u16>(), bytes).prop_map(|(vm, bytes)| ToMachine::Input { vm, bytes }),
        (any::<u32>(), command()).prop_map(|(id, command)| ToMachine::Request { id, command }),
    ]
}

fn vm_info() -> impl Strategy<Value = VmInfo> {
    let state = prop::sample::select(vec![
        VmState::Off,
        VmState::Starting,
        VmState::Running,
        VmState::Paused,
        VmState::Stopping,
    ]);
    let cores = prop::collection::vec(any::<u32>(), 0..9);
    let numbers = (any::<u32>(), any::<[u64; 4]>());
    (text(), state, prop::option::of(text()), cores, numbers).prop_map(
        |(name, state, last_end, cores, (vcpus, [memory, uptime, tsc, exits]))| VmInfo {
            name,
            state,
            last_end,
            vcpus,
            cores,
            memory,
            uptime: Ticks(uptime),
            tsc: Hz(tsc),
            exits,
            root_ticks: Ticks(uptime / 2),
        },
    )
}

fn answer() -> impl Strategy<Value = Answer> {
    let row = (
        text(),
        any::<[u64; 3]>(),
        prop::collection::vec(any::<u64>(), 0..33),
    )
        .prop_map(|(kind, [count, ticks, worst], histogram)| ExitRow {
            kind,
            count,
            ticks: Ticks(ticks),
            worst: Ticks(worst),
            histogram,
        });
    let vcpu = (any::<u32>(), prop::collection::vec(row, 0..5)).prop_map(|(vcpu, rows)| {
        let core = vcpu / 2;
        VcpuStatistics { vcpu, core, rows }
    });
    let statistics = (text(), prop::collection::vec(vcpu, 0..4)).prop_map(|(vm, vcpus)| {
        let tsc = Hz(2_000_000_000);
        Answer::Statistics(VmStatistics { vm, tsc, vcpus })
    });
    let core = (any::<u32>(), any::<bool>(), any::<bool>(), text()).prop_map(
        |(number, up, dedicated, vm)| CoreInfo {
            number,
            apic_id: number / 3,
            up,
            dedicated,
            vcpus: vec![Occupant { vm, vcpu: 1 }],
        },
    );
    prop_oneof![
        prop::collection::vec(vm_info(), 0..9).prop_map(Answer::Vms),
        text().prop_map(Answer::Done),
        text().prop_map(Answer::Refused),
        statistics,
        prop::collection::vec(core, 0..9).prop_map(Answer::Cores),
    ]
}

fn from_machine() -> impl Strategy<Value = FromMachine> {
    let bytes = prop::collection::vec(prop_oneof![Just(0), any::<u8>()], 0..600);
    let names = prop::collection::vec(text(), 0..9);
    prop_oneof![
        (any::<u16>(), names).prop_map(|(version, vms)| FromMachine::Hello { version, vms }),
        (any::<u16>(), bytes).prop_map(|(vm, bytes)| FromMachine::Console { vm, bytes }),
        text().prop_map(|line| FromMachine::Log { line }),
        (any::<u32>(), answer()).prop_map(|(id, answer)| FromMachine::Reply { id, answer }),
    ]
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
