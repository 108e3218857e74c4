//! One fetched package: a file in the cache with a note of where it came from.

use super::apt::{Apt, Kind};
use super::cache::{self, Cache};
use super::{command, lock};
use crate::report::Reporter;
use anyhow::{Context, Result, bail};
use serde::{Deserialize, Serialize};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::SystemTime;

const KIND: &str = "fetched";
const NOTE: &str = "origin.toml";
/// From the package that names the newest kernel to the file itself: image, then binary; a longer way is a circle.
const STEPS: usize = 4;

/// Where a fetched file came from.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Origin {
    /// What was asked for.
    pub(crate) name: String,
    /// Of which suite.
    pub(crate) suite: String,
    /// The package that holds it: another one where `name` only points to it.
    pub(crate) package: String,
    pub(crate) version: String,
    pub(crate) file: String,
    pub(crate) sha256: String,
}

/// A fetched file.
#[derive(Clone, Debug)]
pub(crate) struct Package {
    pub(crate) origin: Origin,
    pub(crate) path: PathBuf,
}

/// What is asked for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Want {
    /// The package of this name.
    Binary,
    /// The package that holds the kernel to which the one of this name points.
    Kernel,
    /// The upstream tarball of the source package of this name.
    Tarball,
}

/// The package, from the cache if it is there in whatever version, else from the archive.
pub(super) fn get(
    report: &Reporter,
    cache: &Cache,
    want: Want,
    suite: &str,
    name: &str,
) -> Result<Package> {
    let package = match find(cache, suite, name)? {
        Some(package) => package,
        None => {
            let guard = cache.lock(report)?;
            match find(cache, suite, name)? {
                Some(package) => package,
                None => {
                    let folder = guard.folder()?;
                    let origin = fetch(report, cache, want, (suite, name), folder.path())
                        .with_context(|| format!("cannot fetch {name} of Debian's {suite}"))?;
                    lock::admit(report, &origin)?;
                    fs::write(folder.path().join(NOTE), toml::to_string(&origin)?)?;
                    report.say(
                        "fetched",
                        format_args!(
                            "{} {} (SHA-256 {})",
                            origin.package, origin.version, origin.sha256
                        ),
                    );
                    let key = format!("{suite}-{}-{}", origin.file, &origin.sha256[..16]);
                    let entry = cache.install(&guard, KIND, &key, folder)?;
                    Package {
                        path: entry.join(&origin.file),
                        origin,
                    }
                }
            }
        }
    };
    if let Some(tested) =
        lock::tested(suite, name)?.filter(|tested| tested.version != package.origin.version)
    {
        report.warn(format_args!(
            "{} of {suite} is {}; tested is {}",
            name, package.origin.version, tested.version
        ));
    }
    Ok(package)
}

/// All that was ever fetched, oldest first.
pub(crate) fn all(cache: &Cache) -> Vec<Package> {
    let mut found: Vec<(SystemTime, Package)> = cache
        .entries(KIND)
        .iter()
        .filter_map(|entry| read(entry))
        .collect();
    found.sort_by_key(|(time, _)| *time);
    found.into_iter().map(|(_, package)| package).collect()
}

fn read(entry: &Path) -> Option<(SystemTime, Package)> {
    let note = entry.join(NOTE);
    let origin: Origin = toml::from_str(&fs::read_to_string(&note).ok()?).ok()?;
    let path = entry.join(&origin.file);
    let time = note.metadata().ok()?.modified().ok()?;
    path.is_file().then_some((time, Package { origin, path }))
}

/// The tested version where it was fetched, else the one fetched last.
pub(super) fn find(cache: &Cache, suite: &str, name: &str) -> Result<Option<Package>> {
    let mut found: Vec<_> = all(cache)
        .into_iter()
        .filter(|package| package.origin.suite == suite && package.origin.name == name)
        .collect();
    let tested = lock::tested(suite, name)?;
    let best = found.iter().rposition(|package| {
        tested
            .as_ref()
            .is_some_and(|tested| tested.sha256 == package.origin.sha256)
    });
    Ok(match best {
        Some(index) => Some(found.swap_remove(index)),
        None => found.pop(),
    })
}

fn fetch(
    report: &Reporter,
    cache: &Cache,
    want: Want,
    (suite, name): (&str, &str),
    folder: &Path,
) -> Result<Origin> {
    let kind = if want == Want::Tarball {
        Kind::Tarball
    } else {
        Kind::Binary
    };
    let apt = Apt::new(report, cache, suite, kind);
    let mut package = name.to_owned();
    for _ in 0..STEPS {
        apt.download(&package, folder)?;
        let path = only_file(folder)?;
        let file = path
            .file_name()
            .unwrap_or_default()
            .to_string_lossy()
            .into_owned();
        let next = if want == Want::Kernel {
            next_kernel(&path)?
        } else {
            None
        };
        let Some(next) = next else {
            let version = match want {
                Want::Tarball => upstream_version(name, &file)?,
                Want::Binary | Want::Kernel => field(&path, "Version")?,
            };
            let (suite, name) = (suite.to_owned(), name.to_owned());
            return Ok(Origin {
                name,
                suite,
                package,
                version,
                sha256: cache::sha256(&path)?,
                file,
            });
        };
        fs::remove_file(&path)?;
        package = next;
    }
    bail!("{package} still names another package, after {STEPS} of them")
}

fn only_file(folder: &Path) -> Result<PathBuf> {
    let mut files = fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
    match (files.pop(), files.is_empty()) {
        (Some(file), true) => Ok(file.path()),
        _ => bail!("apt was to leave one file in {}", folder.display()),
    }
}

/// `bochs_3.0+dfsg.orig.tar.xz` is version `3.0+dfsg`.
fn upstream_version(name: &str, file: &str) -> Result<String> {
    let version = file
        .strip_prefix(name)
        .and_then(|rest| rest.strip_prefix('_'))
        .and_then(|rest| rest.split_once(".orig."));
    Ok(version
        .with_context(|| format!("{file} is not an upstream tarball of {name}"))?
        .0
        .to_owned())
}

/// The package that a kernel's package without a kernel points to.
fn next_kernel(path: &Path) -> Result<Option<String>> {
    // deb-control(5): a package name, then perhaps a version in parentheses, or alternatives behind a bar. The kernel's own
    // packages carry a version in their name; modules and bases are not what is looked for.
    let depends = field(path, "Depends")?;
    let names = depends
        .split(',')
        .filter_map(|item| item.split_whitespace().next());
    let next = names
        .into_iter()
        .find(|name| name.starts_with("linux-image-") || name.starts_with("linux-binary-"));
    Ok(next.map(str::to_owned))
}

fn field(path: &Path, name: &str) -> Result<String> {
    let output = Command::new("dpkg-deb")
        .arg("--field")
        .arg(path)
        .arg(name)
        .output()?;
    if !output.status.success() {
        bail!(
            "dpkg-deb cannot read {}: {}",
            path.display(),
            String::from_utf8_lossy(&output.stderr).trim()
        );
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

impl Package {
    /// Unpacks a binary package into `folder`.
    pub(super) fn unpack(&self, folder: &Path) -> Result<()> {
        let log = tempfile::NamedTempFile::new()?;
        let mut command = Command::new("dpkg-deb");
        command.arg("--extract").arg(&self.path).arg(folder);
        command::run(&mut command, log.path(), |_| true)
            .with_context(|| format!("cannot unpack {}", self.path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_upstream_version() {
        assert_eq!(
            upstream_version("bochs", "bochs_3.0+dfsg.orig.tar.xz").expect("a version"),
            "3.0+dfsg"
        );
        for file in [
            "bochs_3.0-1.dsc",
            "bochsbios_3.0.orig.tar.xz",
            "bochs_3.0-1.debian.tar.xz",
        ] {
            assert!(upstream_version("bochs", file).is_err(), "{file}");
        }
    }
}
