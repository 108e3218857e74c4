//! The second serial port of a machine, which carries frames of `proto` both ways.

use super::serial::{self, Keys};
use std::net::TcpStream;
use std::sync::mpsc::{Receiver, channel};

/// The second serial port. It is read from the start, whether or not anyone wants what comes: an emulator waits when it
/// is not.
#[derive(Debug)]
pub struct Control {
    /// What the machine sends, `None` at the end of the line
    pub heard: Receiver<Option<Vec<u8>>>,
    /// What the machine is to receive
    pub keys: Keys,
}

impl Control {
    /// Takes over the machine's end of the line.
    pub(crate) fn new(line: TcpStream) -> std::io::Result<Control> {
        let (events, heard) = channel();
        serial::listen(line.try_clone()?, events, |piece| piece);
        Ok(Control {
            heard,
            keys: Keys::new(line),
        })
    }
}
