//! The lock file: which versions the project was tested with. Its place is the repository, so that a change is seen and reviewed.

use super::package::Origin;
use crate::report::Reporter;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};

const HEADER: &str = "# What Bulkhead is tested with. A version that is not here is used with a warning, other content under a\n\
                      # version that is here is refused. xtask adds what has no line yet; remove a line to accept another.\n\n";

/// The lock file's contents.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Lock {
    #[serde(default)]
    supply: Vec<Origin>,
}

fn place() -> PathBuf {
    crate::workspace::root().join("xtask/supplies.lock")
}

/// What was tested under this name, if anything.
pub(super) fn tested(suite: &str, name: &str) -> Result<Option<Origin>> {
    Ok(read(&place())?
        .supply
        .into_iter()
        .find(|origin| origin.suite == suite && origin.name == name))
}

/// Compares what was just fetched with what was tested, and adds it where nothing was.
pub(super) fn admit(report: &Reporter, fetched: &Origin) -> Result<()> {
    admit_at(&place(), report, fetched)
}

fn admit_at(path: &Path, report: &Reporter, fetched: &Origin) -> Result<()> {
    let mut lock = read(path)?;
    let known = lock
        .supply
        .iter()
        .find(|origin| origin.suite == fetched.suite && origin.name == fetched.name);
    let Some(known) = known else {
        lock.supply.push(fetched.clone());
        lock.supply
            .sort_by(|one, other| (&one.name, &one.suite).cmp(&(&other.name, &other.suite)));
        // A checkout that cannot be written to is no reason not to run.
        if let Err(error) = fs::write(path, format!("{HEADER}{}", toml::to_string(&lock)?)) {
            report.warn(format_args!(
                "cannot note the version in {}: {error}",
                path.display()
            ));
        }
        return Ok(());
    };
    if known.file == fetched.file && known.sha256 != fetched.sha256 {
        bail!(
            "{} was fetched with other content than the tested one\n  fetched: SHA-256 {}\n  tested:  SHA-256 {}\n  \
             mend: find out why; if it is right, remove its lines from {}",
            fetched.file,
            fetched.sha256,
            known.sha256,
            path.display()
        );
    }
    Ok(())
}

fn read(path: &Path) -> Result<Lock> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Lock::default()),
        Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
    };
    toml::from_str(&text).with_context(|| format!("{} is not a lock file", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn origin(name: &str, version: &str, sha256: &str) -> Origin {
        let [name, version, sha256] = [name, version, sha256].map(str::to_owned);
        let file = format!("{name}_{version}.deb");
        Origin {
            suite: "trixie".to_owned(),
            package: name.clone(),
            name,
            version,
            file,
            sha256,
        }
    }

    #[test]
    fn a_first_version_is_noted_and_a_second_one_is_not() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lock");
        let report = Reporter::new();
        admit_at(&path, &report, &origin("ovmf", "1", "aa"))?;
        admit_at(&path, &report, &origin("bochs", "3", "bb"))?;
        admit_at(&path, &report, &origin("ovmf", "2", "cc"))?;
        let lock = read(&path)?;
        assert_eq!(
            lock.supply,
            [origin("bochs", "3", "bb"), origin("ovmf", "1", "aa")]
        );
        Ok(())
    }

    #[test]
    fn other_content_under_a_tested_version_is_refused() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("lock");
        admit_at(&path, &Reporter::new(), &origin("ovmf", "1", "aa"))?;
        let error = admit_at(&path, &Reporter::new(), &origin("ovmf", "1", "ab"))
            .expect_err("must be refused");
        assert!(
            error
                .to_string()
                .contains("ovmf_1.deb was fetched with other content"),
            "{error}"
        );
        Ok(())
    }

    #[test]
    fn a_damaged_lock_file_is_named() -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), "[[supply]]\nname = 1\n")?;
        let error = read(file.path()).expect_err("must be refused");
        assert!(
            format!("{error:#}").contains("is not a lock file"),
            "{error:#}"
        );
        Ok(())
    }
}
