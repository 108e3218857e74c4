//! A FIFO of sixteen bytes.

use spec::uart::FIFO_SIZE;

/// First in, first out; at most [`FIFO_SIZE`] bytes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fifo {
    bytes: [u8; FIFO_SIZE],
    head: u8,
    len: u8,
}

impl Fifo {
    pub(super) const EMPTY: Fifo = Fifo {
        bytes: [0; FIFO_SIZE],
        head: 0,
        len: 0,
    };

    #[inline]
    pub(super) const fn len(&self) -> usize {
        self.len as usize
    }

    #[inline]
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    #[inline]
    pub(super) const fn clear(&mut self) {
        self.len = 0;
    }

    /// The oldest byte, which stays.
    #[inline]
    pub(super) fn front(&self) -> Option<u8> {
        (self.len > 0).then(|| self.bytes[Self::slot(self.head, 0)])
    }

    /// Takes the oldest byte.
    #[inline]
    pub(super) fn pop(&mut self) -> Option<u8> {
        let byte = self.front()?;
        self.head = self.head.wrapping_add(1);
        self.len -= 1;
        Some(byte)
    }

    /// Adds a byte; `false` if there is no room, and then it is not taken.
    #[inline]
    pub(super) fn push(&mut self, byte: u8) -> bool {
        if self.len() == FIFO_SIZE {
            return false;
        }
        self.bytes[Self::slot(self.head, self.len)] = byte;
        self.len += 1;
        true
    }

    /// Always below [`FIFO_SIZE`], which is a power of two that divides 256, so `head` may wrap.
    #[inline]
    const fn slot(head: u8, nth: u8) -> usize {
        head.wrapping_add(nth) as usize % FIFO_SIZE
    }
}

const _: () = assert!(256 % FIFO_SIZE == 0);

impl PartialEq for Fifo {
    /// Equal if they hold the same bytes in the same order; where in the ring they lie does not show.
    fn eq(&self, other: &Self) -> bool {
        self.len == other.len
            && (0..self.len).all(|i| {
                self.bytes[Self::slot(self.head, i)] == other.bytes[Self::slot(other.head, i)]
            })
    }
}

impl Eq for Fifo {}

#[cfg(test)]
mod tests {
    extern crate std;
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        #[test]
        fn it_is_a_queue_of_sixteen(ops in prop::collection::vec(any::<Option<u8>>(), 0..600)) {
            let mut fifo = Fifo::EMPTY;
            let mut model = VecDeque::new();
            for op in ops {
                match op {
                    Some(byte) => {
                        let room = model.len() < FIFO_SIZE;
                        prop_assert_eq!(fifo.push(byte), room);
                        if room {
                            model.push_back(byte);
                        }
                    }
                    None => prop_assert_eq!(fifo.pop(), model.pop_front()),
                }
                prop_assert_eq!(fifo.len(), model.len());
                prop_assert_eq!(fifo.front(), model.front().copied());
            }
        }
    }
}
