//! An emulator at work: its process, its serial line, its log. Dropping it ends the process, and so does the kernel
//! when we are killed.

use super::{Control, End};
use crate::bound;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// An emulator at work.
pub struct Running {
    process: Child,
    serial: TcpStream,
    control: Option<Control>,
    folder: TempDir,
    log: PathBuf,
    judge: Judge,
    limit: Option<Instant>,
}

/// What Bochs calls an error and is none: each access of a guest to an emulated device is an EPT violation. There
/// are some 17,000 in a boot of Debian, which cost no time that can be measured, but hide the lines that matter.
const NOISE: &str = "VMEXIT: EPT violation";

/// Reads the end of a run from the emulator's log and exit status.
pub(super) type Judge = Box<dyn Fn(&str, ExitStatus) -> End + Send>;

/// How a run ended.
#[derive(Clone, Debug)]
pub struct Finished {
    /// In which way
    pub end: End,
    /// Its log, or where it has none what it wrote to its standard error
    pub log: String,
}

/// The sockets that the emulator connects its two serial ports to.
pub(super) struct Lines([TcpListener; 2]);

impl Lines {
    pub(super) fn open() -> Result<Lines> {
        let open =
            || TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).context("no socket for the serial port");
        Ok(Lines([open()?, open()?]))
    }

    /// Where they listen.
    pub(super) fn ports(&self) -> Result<[u16; 2]> {
        let [one, two] = &self.0;
        Ok([one.local_addr()?.port(), two.local_addr()?.port()])
    }

    fn accept(&self, process: &mut Child) -> Result<(TcpStream, Control)> {
        let [one, two] = &self.0;
        let serial = accept(one, process)?;
        Ok((serial, Control::new(accept(two, process)?)?))
    }
}

impl Running {
    pub(super) fn spawn(
        command: Command,
        lines: Lines,
        folder: TempDir,
        log: PathBuf,
        judge: Judge,
    ) -> Result<Running> {
        let output = File::create(folder.path().join("output"))?;
        let mut process = bound::to_us(&command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .context("does not start")?;
        let (serial, control) = match lines.accept(&mut process) {
            Ok(lines) => lines,
            Err(error) => {
                let _ = process.kill();
                let _ = process.wait();
                let output = std::fs::read(folder.path().join("output")).unwrap_or_default();
                return Err(error.context(String::from_utf8_lossy(&output).into_owned()));
            }
        };
        Ok(Running {
            process,
            serial,
            control: Some(control),
            folder,
            log,
            judge,
            limit: None,
        })
    }

    /// For an emulator that cannot end by itself after so long.
    pub(super) fn set_limit(&mut self, limit: Option<Duration>) {
        self.limit = limit.map(|limit| Instant::now() + limit);
    }

    /// Whether the limit that the emulator does not keep itself has passed.
    #[must_use]
    pub fn overdue(&self) -> bool {
        self.limit.is_some_and(|limit| Instant::now() >= limit)
    }

    /// The serial line, both ways.
    ///
    /// # Errors
    /// When the host has no more file descriptors.
    pub fn serial(&self) -> Result<TcpStream> {
        Ok(self.serial.try_clone()?)
    }

    /// The second serial line, once.
    pub fn take_control(&mut self) -> Option<Control> {
        self.control.take()
    }

    /// Waits until the emulator ends by itself, but not longer than `grace`; then ends it.
    ///
    /// # Errors
    /// When the process cannot be waited for.
    pub fn finish(mut self, grace: Duration) -> Result<Finished> {
        let until = Instant::now() + grace;
        let status = loop {
            match self.process.try_wait()? {
                Some(status) => break Some(status),
                None if Instant::now() >= until => break None,
                None => std::thread::sleep(Duration::from_millis(10)),
            }
        };
        if status.is_none() {
            self.process.kill()?;
            self.process.wait()?;
        }
        let log = self.log();
        let end = match status {
            Some(status) => (self.judge)(&log, status),
            None if self.overdue() => End::Limit,
            None => End::Killed,
        };
        Ok(Finished { end, log })
    }

    /// The emulator's log as it stands, but for what is no news; while it has none, what it wrote to its standard
    /// error.
    #[must_use]
    pub fn log(&self) -> String {
        let read = |path: PathBuf| std::fs::read(path).unwrap_or_default();
        let mut bytes = read(self.log.clone());
        if bytes.is_empty() {
            bytes = read(self.folder.path().join("output"));
        }
        let text = String::from_utf8_lossy(&bytes);
        let lines = text.split_inclusive('\n');
        lines.filter(|line| !line.contains(NOISE)).collect()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// Waits for the emulator to connect its serial port, or to end without having done so.
fn accept(listener: &TcpListener, process: &mut Child) -> Result<TcpStream> {
    listener.set_nonblocking(true)?;
    let until = Instant::now() + Duration::from_secs(30);
    loop {
        match listener.accept() {
            Ok((stream, _)) => {
                stream.set_nonblocking(false)?;
                stream.set_nodelay(true)?;
                return Ok(stream);
            }
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error.into()),
        }
        if let Some(status) = process.try_wait()? {
            bail!("it ended before the machine was switched on ({status})");
        }
        if Instant::now() >= until {
            bail!("it did not switch the machine on within 30 s");
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}
