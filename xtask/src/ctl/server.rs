//! The socket of a running machine.

use super::folder;
use crate::link::Link;
use anyhow::{Context, Result};
use proto::{Answer, Decoder, FromMachine, ToMachine, VERSION, frame};
use std::io::{Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::thread;

/// The socket of a running machine; it goes when this is dropped.
#[derive(Debug)]
pub struct Server(PathBuf);

impl Server {
    /// Opens the socket of this process in `folder`, and hands on what is asked there to the machine.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn open(folder: &Path, link: &Link, vms: &[String]) -> Result<Server> {
        Self::open_as(folder, std::process::id(), link, vms)
    }

    pub(super) fn open_as(
        folder: &Path,
        process: u32,
        link: &Link,
        vms: &[String],
    ) -> Result<Server> {
        let path = folder::socket(folder, process);
        // One of this name was left by a process that had our id before.
        let _ = std::fs::remove_file(&path);
        let listener = UnixListener::bind(&path).with_context(|| path.display().to_string())?;
        let (link, vms) = (link.clone(), Arc::<[String]>::from(vms));
        thread::spawn(move || {
            for client in listener.incoming().flatten() {
                let (link, vms) = (link.clone(), Arc::clone(&vms));
                // A client that goes ends its own thread alone.
                thread::spawn(move || serve(client, &link, &vms));
            }
        });
        Ok(Server(path))
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // Fails only when someone has removed it already.
        let _ = std::fs::remove_file(&self.0);
    }
}

fn serve(mut client: UnixStream, link: &Link, vms: &[String]) -> Result<()> {
    let mut decoder = Decoder::new();
    let mut buffer = [0; 4096];
    loop {
        let len = client.read(&mut buffer)?;
        if len == 0 {
            return Ok(());
        }
        for message in buffer[..len].iter().filter_map(|&byte| decoder.push(byte)) {
            let reply = match message {
                ToMachine::Hello { .. } => FromMachine::Hello {
                    version: VERSION,
                    vms: vms.to_vec(),
                },
                ToMachine::Request { id, command } => FromMachine::Reply {
                    id,
                    answer: link
                        .ask(command)
                        .unwrap_or_else(|silent| Answer::Refused(silent.to_string())),
                },
                // Consoles have doors of their own.
                ToMachine::Input { .. } => continue,
            };
            client.write_all(&frame(&reply)?)?;
        }
    }
}
