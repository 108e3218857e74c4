//! What the schedulers did, from the rings of a machine's cores to files for people: a picture, and a trace that
//! Perfetto and Chrome open.

mod collect;
mod perfetto;
mod picture;
mod recording;
#[cfg(test)]
mod tests;
mod timeline;

pub use collect::{Wanted, collect};
pub use recording::{Recording, Ring};

use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use timeline::Timeline;

/// Writes `trace.json` and `trace.svg` into a folder, which is made if there is none, and gives their places.
///
/// # Errors
/// When a file cannot be written.
pub fn write(recording: &Recording, folder: &Path) -> Result<[PathBuf; 2]> {
    let timeline = Timeline::new(recording);
    std::fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
    let put = |name, text: String| -> Result<PathBuf> {
        let path = folder.join(name);
        std::fs::write(&path, text).with_context(|| path.display().to_string())?;
        Ok(path)
    };
    Ok([
        put("trace.json", perfetto::json(recording, &timeline)?)?,
        put("trace.svg", picture::svg(recording, &timeline))?,
    ])
}
