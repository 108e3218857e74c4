//! What a machine shows that has no serial line.

use crate::{Boot, tools};
use anyhow::{Result, bail};
use monitor::screen::{Pixels, Screen};
use std::fmt::Write;
use std::time::{Duration, Instant};
use xtask::machine::{Picture, Runner};

/// How long the screen may take by the wall clock to show it.
const PATIENCE: Duration = Duration::from_secs(300);
/// How often one looks.
const PAUSE: Duration = Duration::from_millis(250);

/// A picture that is drawn as the hypervisor draws.
struct Drawn(Picture);

impl Pixels for Drawn {
    fn size(&self) -> (usize, usize) {
        (self.0.width, self.0.pixels.len() / self.0.width)
    }

    fn set(&mut self, x: usize, y: usize, shade: u8) {
        self.0.pixels[y * self.0.width + x] = [shade; 3];
    }
}

/// How this text looks on a screen of the size of `like`.
fn drawn(text: &str, like: &Picture) -> Option<Picture> {
    let mut screen = Screen::new(Drawn(like.clone()))?;
    screen.clear();
    write!(screen, "{text}").ok()?;
    Some(screen.pixels().0.clone())
}

impl Boot {
    /// Boots in QEMU without VT-x and without a serial line, and waits until the screen shows this text and nothing else.
    ///
    /// # Errors
    /// When it does not, or the machine goes off.
    pub fn shows(self, text: &str) -> Result<()> {
        let Runner::Qemu(qemu) = tools::qemu()? else {
            bail!("the other emulator has no screen to look at");
        };
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        self.contents()?.write(&disk)?;
        let mut shown = qemu.show(self.machine(), &disk)?;
        let until = Instant::now() + PATIENCE;
        let differ = loop {
            let picture = shown.picture()?;
            let wanted = drawn(text, &picture);
            if wanted.as_ref() == Some(&picture) {
                return Ok(());
            }
            if Instant::now() >= until {
                let wanted = wanted.map_or(Vec::new(), |wanted| wanted.pixels);
                let pairs = wanted.iter().zip(&picture.pixels);
                break pairs.filter(|(wanted, there)| wanted != there).count();
            }
            std::thread::sleep(PAUSE);
        };
        bail!("{differ} pixels are not as in {text:?}")
    }
}
