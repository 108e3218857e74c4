//! Frames set aside: a change takes all that it needs before it touches a live table.

use seam::TableMem;
use spec::Hpa;

/// Marks a link, so that the frame at address zero can be one. Bits 10:0 stay clear: a processor that still walks
/// the frame as a table finds the entry absent.
const LINK: u64 = 1 << 11;

/// A chain of frames through their first entries.
#[derive(Default)]
pub(crate) struct Reserve {
    head: Option<Hpa>,
}

impl Reserve {
    /// Sets `count` fresh frames aside; `None`, and nothing taken, if there are not so many.
    pub(crate) fn take(mem: &mut impl TableMem, count: u64) -> Option<Self> {
        let mut reserve = Self::default();
        for _ in 0..count {
            match mem.alloc() {
                Some(frame) => reserve.push(mem, frame),
                None => {
                    reserve.give_back(mem);
                    return None;
                }
            }
        }
        Some(reserve)
    }

    /// Puts a frame, of which no entry is used, into the chain.
    pub(crate) fn push(&mut self, mem: &mut impl TableMem, frame: Hpa) {
        mem.write(frame, 0, self.head.map_or(0, |next| next.0 | LINK));
        self.head = Some(frame);
    }

    /// Takes an empty frame out of the chain.
    pub(crate) fn pop(&mut self, mem: &mut impl TableMem) -> Option<Hpa> {
        let frame = self.head?;
        self.head = match mem.read(frame, 0) {
            0 => None,
            next => Some(Hpa(next & !LINK)),
        };
        mem.write(frame, 0, 0);
        Some(frame)
    }

    /// Gives all frames of the chain back.
    pub(crate) fn give_back(mut self, mem: &mut impl TableMem) {
        while let Some(frame) = self.pop(mem) {
            mem.free(frame);
        }
    }
}
