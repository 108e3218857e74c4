//! Where the sockets of running machines are: one a process, called by its id.

use anyhow::{Context, Result, ensure};
use std::fs::{DirBuilder, read_dir, remove_file};
use std::io::ErrorKind;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

/// The user's folder for them, which nobody else may enter.
///
/// # Errors
/// When it cannot be made, or is another's.
pub fn folder() -> Result<PathBuf> {
    let user = rustix::process::getuid().as_raw();
    let folder = match std::env::var_os("XDG_RUNTIME_DIR").map(PathBuf::from) {
        Some(runtime) if runtime.is_absolute() && runtime.is_dir() => runtime.join("bulkhead"),
        _ => std::env::temp_dir().join(format!("bulkhead-{user}")),
    };
    match DirBuilder::new().mode(0o700).create(&folder) {
        Err(error) if error.kind() != ErrorKind::AlreadyExists => {
            return Err(error).with_context(|| folder.display().to_string());
        }
        _ => {}
    }
    let found = folder.symlink_metadata()?;
    // In a folder that all may write to, another could have made it first.
    ensure!(
        found.is_dir() && found.uid() == user && found.mode() & 0o077 == 0,
        "{} is not a folder that only you may enter\n  mend: remove it, or name another place in XDG_RUNTIME_DIR",
        folder.display()
    );
    Ok(folder)
}

/// The socket of a process.
pub(super) fn socket(folder: &Path, process: u32) -> PathBuf {
    folder.join(format!("run-{process}.sock"))
}

/// Each machine that runs: the id of its process, and a connection to it. What a killed one has left is removed.
pub(super) fn running(folder: &Path) -> Vec<(u32, UnixStream)> {
    let entries = read_dir(folder).into_iter().flatten().flatten();
    let mut running: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name();
            let process = name.to_str()?.strip_prefix("run-")?.strip_suffix(".sock")?;
            let process = process.parse().ok()?;
            match UnixStream::connect(entry.path()) {
                Ok(stream) => Some((process, stream)),
                Err(error) => {
                    if error.kind() == ErrorKind::ConnectionRefused {
                        // If it cannot be removed, it stays and is refused again.
                        let _ = remove_file(entry.path());
                    }
                    None
                }
            }
        })
        .collect();
    running.sort_by_key(|(process, _)| *process);
    running
}
