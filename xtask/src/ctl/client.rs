//! The other end of a running machine's socket.

use super::folder;
use anyhow::{Context, Result, bail};
use proto::{Answer, Command, Decoder, FromMachine, Message, ToMachine, VERSION, frame};
use std::io::{BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longer than the run itself waits for its machine.
const PATIENCE: Duration = Duration::from_secs(15);

/// Which of the machines that run.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Which {
    /// The only one
    Only,
    /// That of the process with this id
    Process(u32),
}

/// A connection to a running machine.
#[derive(Debug)]
pub struct Client {
    process: u32,
    stream: BufReader<UnixStream>,
    decoder: Decoder<FromMachine>,
}

impl Client {
    /// Finds the machine.
    ///
    /// # Errors
    /// When there is none, or not just one.
    pub fn find(folder: &Path, which: Which) -> Result<Client> {
        let mut clients: Vec<Client> = folder::running(folder)
            .into_iter()
            .map(|(process, stream)| Client::new(process, stream))
            .collect();
        match which {
            Which::Process(process) => {
                let found = clients.iter().position(|client| client.process == process);
                match found {
                    Some(at) => Ok(clients.swap_remove(at)),
                    None if clients.is_empty() => bail!(
                        "No machine is run by process {process}, nor by any other: `cargo xtask run` starts one."
                    ),
                    None => bail!(
                        "No machine is run by process {process}. These run: {}.",
                        list(clients)
                    ),
                }
            }
            Which::Only if clients.len() > 1 => bail!(
                "Several machines run. Say which one with `--run PID`: {}.",
                list(clients)
            ),
            Which::Only => clients
                .pop()
                .context("No machine runs: `cargo xtask run` starts one."),
        }
    }

    fn new(process: u32, stream: UnixStream) -> Client {
        Client {
            process,
            stream: BufReader::new(stream),
            decoder: Decoder::new(),
        }
    }

    /// Names of the machine's VMs, in the order of its plan.
    ///
    /// # Errors
    /// When nothing is answered.
    pub fn vms(&mut self) -> Result<Vec<String>> {
        self.send(&ToMachine::Hello { version: VERSION })?;
        loop {
            if let FromMachine::Hello { vms, .. } = self.hear()? {
                return Ok(vms);
            }
        }
    }

    /// Has the machine carry out a command.
    ///
    /// # Errors
    /// When nothing is answered.
    pub fn ask(&mut self, command: Command) -> Result<Answer> {
        const ID: u32 = 1;
        self.send(&ToMachine::Request { id: ID, command })?;
        loop {
            match self.hear()? {
                FromMachine::Reply { id: ID, answer } => return Ok(answer),
                _ => continue,
            }
        }
    }

    fn send(&mut self, message: &impl Message) -> Result<()> {
        let frame = frame(message).context("The command is too long.")?;
        self.stream
            .get_mut()
            .write_all(&frame)
            .with_context(|| self.silent())?;
        Ok(())
    }

    fn hear(&mut self) -> Result<FromMachine> {
        self.stream.get_ref().set_read_timeout(Some(PATIENCE))?;
        loop {
            let mut byte = [0];
            let read = self.stream.read(&mut byte);
            match read.with_context(|| self.silent())? {
                0 => bail!(self.silent()),
                _ => {
                    if let Some(message) = self.decoder.push(byte[0]) {
                        return Ok(message);
                    }
                }
            }
        }
    }

    fn silent(&self) -> String {
        format!(
            "The machine of process {} has ended or does not answer.",
            self.process
        )
    }
}

/// Each process with its VMs.
fn list(clients: Vec<Client>) -> String {
    let machine = |mut client: Client| {
        let vms = client.vms().unwrap_or_default().join(", ");
        format!("{} ({vms})", client.process)
    };
    let machines: Vec<_> = clients.into_iter().map(machine).collect();
    machines.join(", ")
}
