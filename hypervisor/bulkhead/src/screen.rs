//! The screen: last words and refusals, and the boot log where there is no serial line.
// UNSAFETY: writes the screen's memory; a panic takes its lock by force.
#![allow(unsafe_code)]

use core::fmt::{Arguments, Write};
use monitor::screen::{Pixels, Screen};
use spin::Mutex;

/// The screen's memory as the loader mapped it: 4 bytes for each pixel.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Memory {
    /// Its first pixel
    pub(crate) at: *mut u32,
    /// Pixels of a line that are seen
    pub(crate) width: usize,
    /// Lines
    pub(crate) height: usize,
    /// Pixels from one line to the next, no less than `width`
    pub(crate) stride: usize,
    /// The lowest bit of each colour, which has 8
    pub(crate) colours: [u8; 3],
}

// SAFETY: device memory that nobody else writes, and no Rust value lies in.
unsafe impl Send for Memory {}

impl Memory {
    /// Bytes from its first pixel on.
    pub(crate) const fn len(&self) -> u64 {
        // The loader has held this product against what there is.
        (self.stride * self.height * size_of::<u32>()) as u64
    }
}

impl Pixels for Memory {
    fn size(&self) -> (usize, usize) {
        (self.width, self.height)
    }

    fn set(&mut self, x: usize, y: usize, shade: u8) {
        if x >= self.width || y >= self.height {
            return;
        }
        let colour = |bit: &u8| u32::from(shade).wrapping_shl((*bit).into());
        let pixel = self.colours.iter().map(colour).fold(0, |a, b| a | b);
        // SAFETY: the pixel lies within the memory that `boot::screen` vouches for, which stays mapped.
        unsafe { self.at.add(y * self.stride + x).write_volatile(pixel) };
    }
}

static SCREEN: Mutex<Option<Screen<Memory>>> = Mutex::new(None);

/// Takes over the screen.
pub(crate) fn open(memory: Memory) {
    let mut screen = SCREEN.lock();
    *screen = Screen::new(memory);
    if let Some(screen) = screen.as_mut() {
        screen.clear();
    }
}

/// What has to stay mapped of it.
pub(crate) fn memory() -> Option<Memory> {
    SCREEN.lock().as_ref().map(|screen| *screen.pixels())
}

/// There is none after all.
pub(crate) fn close() {
    *SCREEN.lock() = None;
}

/// Shows a line of the boot log.
pub(crate) fn line(text: &str) {
    if let Some(screen) = SCREEN.lock().as_mut() {
        let _ = writeln!(screen, "{text}");
    }
}

/// Shows this alone; says whether there is a screen.
pub(crate) fn page(text: Arguments<'_>) -> bool {
    let mut screen = SCREEN.lock();
    let Some(screen) = screen.as_mut() else {
        return false;
    };
    screen.clear();
    let _ = screen.write_fmt(text);
    true
}

/// Shows a report past the lock.
pub(crate) fn last_words(report: Arguments<'_>) {
    // SAFETY: the machine has died: whoever holds the lock does not come back.
    unsafe { SCREEN.force_unlock() };
    page(report);
}
