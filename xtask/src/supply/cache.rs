//! The user's cache folder. An entry appears whole or not at all: it is made in a folder of its own and renamed into place under
//! a lock, and is never changed after that.

use crate::report::Reporter;
use anyhow::{Context, Result, anyhow};
use sha2::{Digest, Sha256};
use std::ffi::OsString;
use std::fs::{self, File, TryLockError};
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// The cache folder.
#[derive(Clone, Debug)]
pub(crate) struct Cache {
    root: PathBuf,
}

/// The right to add entries, held by one run at a time.
#[derive(Debug)]
pub(super) struct Guard {
    _file: File,
    work: PathBuf,
}

impl Cache {
    /// `BULKHEAD_CACHE`, else `bulkhead` in the user's cache folder.
    pub(crate) fn of_user() -> Result<Self> {
        let root = folder(|name| std::env::var_os(name).filter(|value| !value.is_empty()))
            .context(
                "no folder to keep fetched files in: set HOME, XDG_CACHE_HOME or BULKHEAD_CACHE",
            )?;
        // Builds run in other folders.
        let root = std::path::absolute(root)?;
        Ok(Self { root })
    }

    /// Where it is.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The entry's folder, if it is there.
    pub(super) fn get(&self, kind: &str, key: &str) -> Option<PathBuf> {
        Some(self.root.join(kind).join(key)).filter(|entry| entry.is_dir())
    }

    /// The folders of all entries of a kind.
    pub(crate) fn entries(&self, kind: &str) -> Vec<PathBuf> {
        let Ok(folder) = fs::read_dir(self.root.join(kind)) else {
            return Vec::new();
        };
        folder.flatten().map(|entry| entry.path()).collect()
    }

    /// Waits for the right to add entries.
    pub(super) fn lock(&self, report: &Reporter) -> Result<Guard> {
        let mend = || {
            let root = self.root.display();
            format!(
                "cannot write to {root}: make it writable, or name another folder in BULKHEAD_CACHE"
            )
        };
        fs::create_dir_all(&self.root).with_context(mend)?;
        let file = File::create(self.root.join("lock")).with_context(mend)?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                report.say("cache", "another run is filling it, waiting");
                file.lock().with_context(mend)?;
            }
            Err(TryLockError::Error(error)) => return Err(anyhow!(error).context(mend())),
        }
        // Whatever a killed run left half made.
        let work = self.root.join("work");
        if work.exists() {
            fs::remove_dir_all(&work).with_context(mend)?;
        }
        fs::create_dir_all(&work).with_context(mend)?;
        Ok(Guard { _file: file, work })
    }

    /// Puts a finished folder in its place.
    pub(super) fn install(
        &self,
        _: &Guard,
        kind: &str,
        key: &str,
        made: TempDir,
    ) -> Result<PathBuf> {
        let entry = self.root.join(kind).join(key);
        if !entry.is_dir() {
            fs::create_dir_all(self.root.join(kind))?;
            fs::rename(made.path(), &entry)
                .with_context(|| format!("cannot move {} into place", entry.display()))?;
        }
        Ok(entry)
    }

    /// The entry's folder, made by `make` if it is missing.
    pub(super) fn get_or_make(
        &self,
        report: &Reporter,
        (kind, key): (&str, &str),
        make: impl FnOnce(&Guard, &Path) -> Result<()>,
    ) -> Result<PathBuf> {
        if let Some(entry) = self.get(kind, key) {
            return Ok(entry);
        }
        let guard = self.lock(report)?;
        if let Some(entry) = self.get(kind, key) {
            return Ok(entry);
        }
        let made = guard.folder()?;
        make(&guard, made.path())?;
        self.install(&guard, kind, key, made)
    }
}

impl Guard {
    /// A folder on the cache's own file system, gone when dropped.
    pub(super) fn folder(&self) -> Result<TempDir> {
        let folder = tempfile::Builder::new()
            .prefix("new-")
            .tempdir_in(&self.work)?;
        // tempfile makes it for its owner alone; an entry is for whoever may read the cache.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755))?;
        }
        Ok(folder)
    }
}

fn folder(variable: impl Fn(&str) -> Option<OsString>) -> Option<PathBuf> {
    if let Some(named) = variable("BULKHEAD_CACHE") {
        return Some(PathBuf::from(named));
    }
    // The XDG base directory specification has relative paths ignored.
    let shared = variable("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .filter(|path| path.is_absolute());
    let base = shared.or_else(|| Some(PathBuf::from(variable("HOME")?).join(".cache")))?;
    Some(base.join("bulkhead"))
}

/// A short name for what `parts` say together.
pub(super) fn key<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> String {
    let mut hash = Sha256::new();
    for part in parts {
        // The length keeps ("ab", "c") from ("a", "bc").
        hash.update((part.len() as u64).to_le_bytes());
        hash.update(part);
    }
    let mut text = hex(&hash.finalize());
    text.truncate(16);
    text
}

/// The SHA-256 of a file, in hexadecimal.
pub(super) fn sha256(path: &Path) -> Result<String> {
    let mut hash = Sha256::new();
    let mut file = File::open(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut buffer = vec![0; 1 << 16];
    loop {
        match std::io::Read::read(&mut file, &mut buffer)? {
            0 => return Ok(hex(&hash.finalize())),
            count => hash.update(&buffer[..count]),
        }
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with(variables: &[(&str, &str)]) -> Option<PathBuf> {
        folder(|name| {
            variables
                .iter()
                .find(|(n, _)| *n == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn the_users_choice_goes_before_the_systems() {
        let (home, xdg, own) = (
            ("HOME", "/h"),
            ("XDG_CACHE_HOME", "/x"),
            ("BULKHEAD_CACHE", "/b"),
        );
        assert_eq!(with(&[]), None);
        assert_eq!(with(&[home]), Some("/h/.cache/bulkhead".into()));
        assert_eq!(with(&[home, xdg]), Some("/x/bulkhead".into()));
        assert_eq!(
            with(&[home, ("XDG_CACHE_HOME", "x")]),
            Some("/h/.cache/bulkhead".into())
        );
        assert_eq!(with(&[home, xdg, own]), Some("/b".into()));
    }

    #[test]
    fn a_key_tells_parts_apart() {
        let (one, other): ([&[u8]; 2], [&[u8]; 2]) = ([b"ab", b"c"], [b"a", b"bc"]);
        assert_ne!(key(one), key(other));
        assert_eq!(key(one), key(one));
        assert_eq!(key(one).len(), 16);
    }

    #[test]
    fn an_entry_is_made_once_and_never_half() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let cache = Cache {
            root: folder.path().join("cache"),
        };
        let report = Reporter::new();
        let failed = cache.get_or_make(&report, ("kind", "key"), |_, path| {
            fs::write(path.join("file"), "half")?;
            anyhow::bail!("no more")
        });
        assert!(failed.is_err());
        assert_eq!(cache.get("kind", "key"), None);
        let entry = cache.get_or_make(&report, ("kind", "key"), |_, path| {
            Ok(fs::write(path.join("file"), "whole")?)
        })?;
        assert_eq!(fs::read_to_string(entry.join("file"))?, "whole");
        let again =
            cache.get_or_make(&report, ("kind", "key"), |_, _| anyhow::bail!("made twice"))?;
        assert_eq!(again, entry);
        Ok(())
    }

    #[test]
    fn two_runs_take_turns() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let cache = Cache {
            root: folder.path().to_path_buf(),
        };
        let guard = cache.lock(&Reporter::new())?;
        let file = File::open(folder.path().join("lock"))?;
        assert!(matches!(file.try_lock(), Err(TryLockError::WouldBlock)));
        drop(guard);
        assert!(file.try_lock().is_ok());
        Ok(())
    }

    #[test]
    fn sha256_of_a_known_text() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "abc")?;
        // FIPS 180-2, appendix B.1.
        let expected = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(sha256(file.path())?, expected);
        Ok(())
    }
}
