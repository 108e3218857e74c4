//! The protocol, both ways: a stream of any bytes, and payloads whose checksum is right.

use proto::{Decoder, FromMachine, Message, ToMachine, frame, frame_len};
use std::fmt::Debug;

/// Decodes one stream.
///
/// # Panics
/// If a message that arrived does not arrive again from its own frame, or one does not arrive after whatever came before it.
pub fn one(data: &[u8]) {
    let Some((&first, data)) = data.split_first() else {
        return;
    };
    let stream = match first & 1 {
        0 => data.to_vec(),
        _ => data.split(|&byte| byte == 0).flat_map(sealed).collect(),
    };
    if first & 2 == 0 {
        taken::<ToMachine>(&stream, ToMachine::Hello { version: 7 });
    } else {
        let line = "up".into();
        taken::<FromMachine>(&stream, FromMachine::Log { line });
    }
}

/// The frame of a payload, which need be no message. Zeros part the payloads of an input, so each byte stands one higher there.
fn sealed(payload: &[u8]) -> Vec<u8> {
    let mut payload: Vec<u8> = payload.iter().map(|byte| byte.wrapping_sub(1)).collect();
    let checksum = crc::Crc::<u32>::new(&crc::CRC_32_ISCSI).checksum(&payload);
    payload.extend(checksum.to_le_bytes());
    let mut framed = vec![0; 1 + frame_len(payload.len())];
    let end = 1 + cobs::encode(&payload, &mut framed[1..]);
    framed.truncate(end + 1);
    framed
}

fn taken<M: Message + Debug + PartialEq>(stream: &[u8], last: M) {
    let mut decoder = Decoder::<M>::new();
    let messages: Vec<M> = stream.iter().filter_map(|&b| decoder.push(b)).collect();
    let zeros = stream.iter().filter(|&&byte| byte == 0).count() as u64;
    let seen = decoder.dropped() + decoder.unknown() + messages.len() as u64;
    assert!(seen <= zeros, "{seen} frames between {zeros} zeros");
    for message in messages {
        // One of a kind that only a later version knows cannot be sent.
        if let Ok(again) = frame(&message) {
            let mut whole = Decoder::<M>::new();
            let got: Vec<M> = again.iter().filter_map(|&b| whole.push(b)).collect();
            assert_eq!(got, [message]);
        }
    }
    let Ok(bytes) = frame(&last) else {
        panic!("{last:?} is short");
    };
    let got: Vec<M> = bytes.iter().filter_map(|&b| decoder.push(b)).collect();
    assert_eq!(got.last(), Some(&last), "after noise");
}
