//! A machine in QEMU that has a screen and no serial line.

use super::{Machine, Qemu};
use crate::bound;
use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// How long QEMU may take to open its monitor.
const PATIENCE: Duration = Duration::from_secs(30);

/// A machine at work that can only be looked at. Dropping it ends it.
#[derive(Debug)]
pub struct Shown {
    process: Child,
    monitor: BufReader<UnixStream>,
    folder: TempDir,
}

/// What its screen shows.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Picture {
    /// Pixels of a line
    pub width: usize,
    /// Red, green and blue of each pixel, line by line
    pub pixels: Vec<[u8; 3]>,
}

impl Qemu {
    /// Boots the machine without a serial line.
    ///
    /// # Errors
    /// When QEMU does not start.
    pub fn show(&self, machine: &Machine, disk: &Path) -> Result<Shown> {
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let (mut command, socket) = (self.command(), folder.path().join("qmp"));
        let vars = self.own_vars(folder.path())?;
        command.args(self.arguments(machine, disk, &vars));
        command.args(["-serial", "none", "-vga", "std", "-qmp"]);
        command.arg(format!("unix:{},server=on,wait=off", socket.display()));
        let output = std::fs::File::create(folder.path().join("output"))?;
        let mut process = bound::to_us(&command)
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            .spawn()
            .with_context(|| self.program.display().to_string())?;
        let monitor = connect(&socket).inspect_err(|_| {
            let _ = process.kill();
            let _ = process.wait();
        })?;
        let mut shown = Shown {
            process,
            monitor: BufReader::new(monitor),
            folder,
        };
        // The greeting comes first (QEMU Machine Protocol Specification, "Server Greeting").
        shown.heard()?;
        shown.ask(&json!({"execute": "qmp_capabilities"}))?;
        Ok(shown)
    }
}

fn connect(socket: &Path) -> Result<UnixStream> {
    let until = Instant::now() + PATIENCE;
    loop {
        match UnixStream::connect(socket) {
            Ok(stream) => return Ok(stream),
            Err(error) if Instant::now() >= until => return Err(error).context("QEMU's monitor"),
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

impl Shown {
    /// What the screen shows now.
    ///
    /// # Errors
    /// When the machine is off.
    pub fn picture(&mut self) -> Result<Picture> {
        let file = self.folder.path().join("screen.ppm");
        self.ask(&json!({"execute": "screendump", "arguments": {"filename": file}}))?;
        Picture::parse(&std::fs::read(&file)?).context("QEMU's picture")
    }

    fn heard(&mut self) -> Result<Value> {
        let mut line = String::new();
        let len = self.monitor.read_line(&mut line)?;
        ensure!(len > 0, "QEMU has closed its monitor");
        Ok(serde_json::from_str(&line)?)
    }

    fn ask(&mut self, command: &Value) -> Result<()> {
        writeln!(self.monitor.get_mut(), "{command}")?;
        loop {
            let heard = self.heard()?;
            // Events come in between.
            if heard.get("return").is_some() {
                return Ok(());
            }
            if let Some(error) = heard.get("error") {
                bail!("QEMU: {error}");
            }
        }
    }
}

impl Drop for Shown {
    fn drop(&mut self) {
        // Both fail only when the process is gone already.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Picture {
    /// Reads a binary PPM file of 8 bits a colour, as QEMU writes it: `P6`, width, height and 255, each behind white space, then the
    /// pixels.
    fn parse(file: &[u8]) -> Option<Picture> {
        let mut words = file.splitn(5, |byte| byte.is_ascii_whitespace());
        let mut word = || std::str::from_utf8(words.next()?).ok();
        let (kind, width, height, most) = (word()?, word()?, word()?, word()?);
        let (width, height) = (width.parse::<usize>().ok()?, height.parse::<usize>().ok()?);
        let (pixels, rest) = words.next()?.as_chunks::<3>();
        let sound = kind == "P6" && most == "255" && rest.is_empty();
        (sound && width > 0 && pixels.len() == width.checked_mul(height)?).then(|| Picture {
            width,
            pixels: pixels.to_vec(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::Picture;

    #[test]
    fn a_picture_has_the_pixels_of_the_file() {
        let picture = Picture::parse(b"P6\n2 1\n255\n\x0a \x01\x02\x03\x04").unwrap();
        assert_eq!(picture.width, 2);
        assert_eq!(picture.pixels, [[10, 32, 1], [2, 3, 4]]);
    }

    #[test]
    fn a_picture_that_is_cut_is_none() {
        assert!(Picture::parse(b"P6\n2 1\n255\nabcde").is_none());
        assert!(Picture::parse(b"P6\n2 1\n255").is_none());
        assert!(Picture::parse(b"P5\n2 1\n255\nabcdef").is_none());
    }
}
