//! The serial line of a machine, both ways, without anyone waiting for anyone.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::mpsc::{Sender, channel};
use std::thread;

/// Hands on what the machine sends, `None` when the line is closed, from a thread of its own.
pub fn listen<E: Send + 'static>(
    mut line: TcpStream,
    events: Sender<E>,
    event: fn(Option<Vec<u8>>) -> E,
) {
    thread::spawn(move || {
        let mut buffer = vec![0; 1 << 16];
        // A reset is how a killed emulator's line ends.
        while let Ok(len @ 1..) = line.read(&mut buffer) {
            if events.send(event(Some(buffer[..len].to_vec()))).is_err() {
                return;
            }
        }
        let _ = events.send(event(None));
    });
}

/// Where to put what the machine is to receive. It never blocks; the machine takes it at its own speed.
#[derive(Clone, Debug)]
pub struct Keys(Sender<Vec<u8>>);

impl Keys {
    /// Starts the thread that writes to the line.
    #[must_use]
    pub fn new(mut line: TcpStream) -> Keys {
        let (keys, queue) = channel::<Vec<u8>>();
        thread::spawn(move || {
            for bytes in queue {
                if line.write_all(&bytes).is_err() {
                    return;
                }
            }
        });
        Keys(keys)
    }

    /// Sends `bytes`; they are lost when the machine is off.
    pub fn send(&self, bytes: Vec<u8>) {
        let _ = self.0.send(bytes);
    }
}
