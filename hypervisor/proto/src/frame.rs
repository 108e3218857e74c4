//! Frames: zero, COBS of (postcard of the message, its CRC-32C in little endian), zero.
//!
//! The zero in front ends what noise may have begun on an idle line, so that it costs the noise and not the frame.

use crate::Message;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;
use crc::{CRC_32_ISCSI, Crc};
use postcard::ser_flavors::crc::CrcModifier;
use postcard::ser_flavors::{Cobs, Slice};

static CRC: Crc<u32> = Crc::<u32>::new(&CRC_32_ISCSI);

/// Bytes of the checksum.
pub(crate) const CHECKSUM: usize = size_of::<u32>();

/// A message is longer than its readers accept, or than the room for it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct TooLong;

impl fmt::Display for TooLong {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the message is too long")
    }
}

impl core::error::Error for TooLong {}

/// The most bytes that a frame of a message of `len` bytes takes.
#[must_use]
pub const fn frame_len(len: usize) -> usize {
    // Both zeros, and of COBS the first code byte and one for each 254 bytes.
    let payload = len.saturating_add(CHECKSUM);
    payload.saturating_add(payload / 254).saturating_add(3)
}

/// Writes the frame of a message into `out` and gives its length.
///
/// # Errors
/// It does not fit, or no reader would accept it, since it is longer than [`Message::LIMIT`]. `out` then holds nothing of use.
pub fn encode<M: Message>(message: &M, out: &mut [u8]) -> Result<usize, TooLong> {
    checked_len(message)?;
    let [start, out @ ..] = out else {
        return Err(TooLong);
    };
    *start = 0;
    let cobs = Cobs::try_new(Slice::new(out)).map_err(|_| TooLong)?;
    let written = postcard::serialize_with_flavor(message, CrcModifier::new(cobs, CRC.digest()));
    // COBS ends with a zero of its own.
    Ok(written.map_err(|_| TooLong)?.len().saturating_add(1))
}

/// The frame of a message.
///
/// # Errors
/// No reader would accept it, since it is longer than [`Message::LIMIT`].
pub fn frame<M: Message>(message: &M) -> Result<Vec<u8>, TooLong> {
    let mut out = vec![0; frame_len(checked_len(message)?)];
    let len = encode(message, &mut out)?;
    out.truncate(len);
    Ok(out)
}

/// Bytes of a message, if readers accept it.
fn checked_len<M: Message>(message: &M) -> Result<usize, TooLong> {
    // Only a sequence of unknown length could fail, and the messages have none; or an `Unknown`, which nobody sends.
    let len = postcard::experimental::serialized_size(message).map_err(|_| TooLong)?;
    if len > M::LIMIT {
        Err(TooLong)
    } else {
        Ok(len)
    }
}

/// What an intact payload may be worth.
pub(crate) enum Payload<M> {
    Message(M),
    /// Its checksum is right, but this version does not know it.
    Unknown,
    /// Its checksum is wrong.
    Broken,
}

/// Reads what stood in a frame. Bytes after the last that this version knows are allowed: later versions may have added them.
pub(crate) fn decode<M: Message>(payload: &[u8]) -> Payload<M> {
    let Some((message, checksum)) = payload.split_last_chunk::<CHECKSUM>() else {
        return Payload::Broken;
    };
    if CRC.checksum(message) != u32::from_le_bytes(*checksum) {
        return Payload::Broken;
    }
    postcard::from_bytes(message)
        .ok()
        .or_else(|| {
            let (number, id) = postcard::from_bytes(message).ok()?;
            M::unknown(number, id)
        })
        .map_or(Payload::Unknown, Payload::Message)
}
