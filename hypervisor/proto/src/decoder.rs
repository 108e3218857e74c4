//! Finds messages in a stream of bytes.

use crate::Message;
use crate::frame::{self, CHECKSUM, Payload};
use alloc::vec::Vec;
use cobs::{DecodeResult, DecoderState};
use core::marker::PhantomData;

/// Finds the messages of one kind in a stream of bytes, whatever else is in it. It keeps at most [`Message::LIMIT`] bytes and a
/// checksum.
#[derive(Debug)]
pub struct Decoder<M> {
    state: DecoderState,
    payload: Vec<u8>,
    /// The frame is too long: the rest of it is let go by.
    skipping: bool,
    dropped: u64,
    unknown: u64,
    of: PhantomData<fn() -> M>,
}

impl<M: Message> Default for Decoder<M> {
    fn default() -> Self {
        Self::new()
    }
}

impl<M: Message> Decoder<M> {
    /// A decoder at the start of a stream, or anywhere in it.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            state: DecoderState::Idle,
            payload: Vec::new(),
            skipping: false,
            dropped: 0,
            unknown: 0,
            of: PhantomData,
        }
    }

    /// Takes the next byte; gives the message that it ends, if it ends one. What is broken, too long or of no known kind is left out.
    pub fn push(&mut self, byte: u8) -> Option<M> {
        if self.skipping {
            if byte == 0 {
                self.drop_frame();
            }
            return None;
        }
        match self.state.feed(byte) {
            Ok(DecodeResult::NoData) => None,
            Ok(DecodeResult::DataContinue(byte)) => {
                if self.payload.len() < M::LIMIT.saturating_add(CHECKSUM) {
                    self.payload.push(byte);
                } else {
                    self.skipping = true;
                }
                None
            }
            Ok(DecodeResult::DataComplete) => self.message(),
            Err(_) => {
                self.drop_frame();
                None
            }
        }
    }

    /// How many frames were dropped because they were broken or too long. Noise between frames counts as one.
    #[must_use]
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// How many frames were intact but of a kind that this version does not know.
    #[must_use]
    pub fn unknown(&self) -> u64 {
        self.unknown
    }

    #[cfg(test)]
    pub(crate) fn capacity(&self) -> usize {
        self.payload.capacity()
    }

    fn message(&mut self) -> Option<M> {
        let payload = frame::decode(&self.payload);
        self.payload.clear();
        match payload {
            Payload::Message(message) => return Some(message),
            Payload::Unknown => self.unknown = self.unknown.saturating_add(1),
            Payload::Broken => self.dropped = self.dropped.saturating_add(1),
        }
        None
    }

    fn drop_frame(&mut self) {
        self.state = DecoderState::Idle;
        self.payload.clear();
        self.skipping = false;
        self.dropped = self.dropped.saturating_add(1);
    }
}
