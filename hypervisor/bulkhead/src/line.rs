//! The serial line of a VM, up to where the machine's consoles take over: two rings.

use crate::console;
use heapless::Deque;
use seam::SerialLine;
use spin::Mutex;

/// Bytes that wait for the consoles.
const OUT: usize = 16 * 1024;
/// Bytes that wait for the guest.
const IN: usize = 4 * 1024;

/// Both directions of a VM's console. The core that serves the VM's UART and the one that serves the consoles meet here.
#[derive(Debug, Default)]
pub(crate) struct Line {
    out: Mutex<Deque<u8, OUT>>,
    input: Mutex<Deque<u8, IN>>,
}

impl Line {
    /// Takes what the guest has sent, as much of it as `into` holds; gives how much that was.
    pub(crate) fn take(&self, into: &mut [u8]) -> usize {
        let mut out = self.out.lock();
        let mut taken = 0;
        while let Some(place) = into.get_mut(taken)
            && let Some(byte) = out.pop_front()
        {
            *place = byte;
            taken += 1;
        }
        taken
    }

    /// Forgets what was typed for a guest that has gone.
    pub(crate) fn forget_input(&self) {
        self.input.lock().clear();
    }

    /// Whether nothing waits that the guest has sent.
    pub(crate) fn is_silent(&self) -> bool {
        self.out.lock().is_empty()
    }

    /// Whether nobody is at it just now.
    pub(crate) fn is_free(&self) -> bool {
        self.out.try_lock().is_some() && self.input.try_lock().is_some()
    }

    /// Puts a byte where the guest's UART gets it from. What does not fit is lost, as on a line without flow control.
    pub(crate) fn give(&self, byte: u8) {
        let _ = self.input.lock().push_back(byte);
    }
}

/// The guest's end of a [`Line`].
#[derive(Clone, Copy, Debug)]
pub(crate) struct GuestLine(pub(crate) &'static Line);

impl SerialLine for GuestLine {
    fn send(&mut self, byte: u8) -> bool {
        let mut out = self.0.out.lock();
        let was_empty = out.is_empty();
        let taken = out.push_back(byte).is_ok();
        drop(out);
        if was_empty {
            console::ring();
        }
        taken
    }

    fn receive(&mut self) -> Option<u8> {
        self.0.input.lock().pop_front()
    }
}
