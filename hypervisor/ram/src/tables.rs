//! Frames for page tables, nested and the host's own.

use crate::{Extent, Frames, Use, Window};
use seam::TableMem;
use spec::{Hpa, PAGE_SIZE};
use spin::Mutex;

/// Page-table memory out of the machine's free frames. The lock is held for one frame at a time, when a VM is made or
/// ends; never on an exit.
#[derive(Clone, Copy, Debug)]
pub struct FrameTables<'a> {
    /// Where free frames come from
    pub frames: &'a Mutex<Frames>,
    /// How they are reached
    pub window: Window,
    /// What for
    pub used: Use,
}

impl FrameTables<'_> {
    /// These, for something else.
    #[must_use]
    pub const fn to_use(self, used: Use) -> Self {
        Self { used, ..self }
    }

    /// Reads the frame at `at`, each word once; `false` outside the window.
    #[must_use]
    pub fn read_frame(&self, at: Hpa, words: &mut [u64; 512]) -> bool {
        self.window.read_frame(at, words).is_some()
    }

    /// Copies `bytes`, at most a frame of them, to the start of a frame that [`TableMem::alloc`] gave. `false`, and nothing
    /// is copied, if they are more or the frame lies outside memory.
    #[must_use]
    pub fn fill(&mut self, frame: Hpa, bytes: &[u8]) -> bool {
        bytes.len() as u64 <= PAGE_SIZE && self.window.write(frame, bytes).is_some()
    }
}

impl TableMem for FrameTables<'_> {
    fn alloc(&mut self) -> Option<Hpa> {
        let frame = self
            .frames
            .lock()
            .take(PAGE_SIZE, PAGE_SIZE, self.used)?
            .start;
        self.window.scrub_frame(frame)?;
        Some(frame)
    }

    fn free(&mut self, frame: Hpa) {
        // A frame that finds no room in the table of free ranges is lost, never given twice.
        let _ = self.frames.lock().add(Extent {
            start: frame,
            len: PAGE_SIZE,
        });
    }

    fn read(&self, frame: Hpa, index: usize) -> u64 {
        self.window.load(word(frame, index)).unwrap_or(0)
    }

    fn write(&mut self, frame: Hpa, index: usize, entry: u64) {
        let _ = self.window.store(word(frame, index), entry);
    }
}

/// A word of a frame.
const fn word(frame: Hpa, index: usize) -> Hpa {
    // A frame's low twelve bits are zero.
    Hpa(frame.0 | ((index as u64 & 511) << 3))
}
