//! What waits to be sent: whole frames, in bounded memory.

use crate::{FromMachine, Message, TooLong, frame, frame_len};
use alloc::collections::VecDeque;

/// Frames that wait for the line. A message is taken whole or not at all, so that a full outbox never sends half a frame.
#[derive(Debug)]
pub struct Outbox {
    bytes: VecDeque<u8>,
    capacity: usize,
}

/// Bytes of a [`FromMachine::Console`] before those of the VM: its number in the list, the VM's, their count.
const CONSOLE_HEAD: usize = 1 + 3 + 5;

impl Outbox {
    /// An empty one for at most `capacity` bytes, which it takes from the heap at once.
    #[must_use]
    pub fn new(capacity: usize) -> Self {
        Self {
            bytes: VecDeque::with_capacity(capacity),
            capacity,
        }
    }

    /// Queues a message.
    ///
    /// # Errors
    /// There is no room for it now, or it is longer than any reader accepts. Nothing of it is sent.
    pub fn push<M: Message>(&mut self, message: &M) -> Result<(), TooLong> {
        let frame = frame(message)?;
        if frame.len() > self.free() {
            return Err(TooLong);
        }
        self.bytes.extend(frame);
        Ok(())
    }

    /// Bytes that can be queued.
    #[must_use]
    pub fn free(&self) -> usize {
        self.capacity.saturating_sub(self.bytes.len())
    }

    /// How many bytes of a VM one [`FromMachine::Console`] can carry that leaves `reserve` bytes free for replies and log lines.
    #[must_use]
    pub fn console_room(&self, reserve: usize) -> usize {
        let free = self.free().saturating_sub(reserve);
        // What a frame adds to its payload grows by a byte for each 254.
        let room = free.saturating_sub(frame_len(CONSOLE_HEAD).saturating_add(free / 254));
        room.min(FromMachine::LIMIT - CONSOLE_HEAD)
    }

    /// The next byte to send.
    pub fn pop(&mut self) -> Option<u8> {
        self.bytes.pop_front()
    }

    /// Whether nothing waits.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }
}
