//! A private apt: the host's program on lists and settings of our own, so that packages of any suite can be had without root and
//! without a trace in the system. apt checks the signatures and the hashes.

use super::cache::Cache;
use super::command;
use super::sources::{self, Archive};
use crate::report::Reporter;
use anyhow::{Context, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// What fetching needs, each with its Debian package.
pub(crate) const PROGRAMS: [(&str, &str); 2] = [("apt-get", "apt"), ("dpkg-deb", "dpkg")];

/// Lists younger than this are not asked for again.
const FRESH: Duration = Duration::from_secs(3600);

/// What is to be downloaded.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Kind {
    /// Binary packages.
    Binary,
    /// The upstream tarball of a source package.
    Tarball,
}

/// The private apt of one suite.
#[derive(Debug)]
pub(super) struct Apt<'a> {
    report: &'a Reporter,
    suite: &'a str,
    kind: Kind,
    folder: PathBuf,
}

impl<'a> Apt<'a> {
    pub(super) fn new(report: &'a Reporter, cache: &Cache, suite: &'a str, kind: Kind) -> Self {
        let name = match kind {
            Kind::Binary => suite.to_owned(),
            Kind::Tarball => format!("{suite}-source"),
        };
        Self {
            report,
            suite,
            kind,
            folder: cache.root().join("apt").join(name),
        }
    }

    /// Downloads one package of the suite into the folder `into`. The caller holds the cache's lock.
    pub(super) fn download(&self, package: &str, into: &Path) -> Result<()> {
        command::require(&PROGRAMS, "fetching Debian packages")?;
        if !self.is_fresh() {
            self.update()?;
        } else if self.get(package, into).is_ok() {
            return Ok(());
        } else {
            // The archive has moved on under the lists.
            self.update()?;
        }
        self.get(package, into)
    }

    fn is_fresh(&self) -> bool {
        let stamp = fs::metadata(self.folder.join("stamp")).and_then(|data| data.modified());
        stamp.is_ok_and(|time| time.elapsed().is_ok_and(|age| age < FRESH))
    }

    /// Fetches the suite's lists from the first archive that has them.
    fn update(&self) -> Result<()> {
        let mut failure = None;
        for archive in sources::archives()? {
            self.settle(&archive)?;
            let what = format!("the package lists of {}", self.suite);
            match self.apt(&["update", "--error-on=any"], &self.folder, &what) {
                Ok(()) => {
                    fs::write(self.folder.join("stamp"), "")?;
                    return Ok(());
                }
                Err(error) => {
                    let text = format!("cannot have {what} from {}", archive.uri);
                    failure.get_or_insert(error.context(text));
                }
            }
        }
        let error = failure.context("no archive to ask")?;
        Err(error.context(
            "no Debian archive answers\n  mend: check the network, or name another archive in BULKHEAD_MIRROR",
        ))
    }

    fn get(&self, package: &str, into: &Path) -> Result<()> {
        let what = format!("{package} of {}", self.suite);
        match self.kind {
            Kind::Binary => self.apt(&["download", package], into, &what),
            Kind::Tarball => self.apt(
                &["source", "--download-only", "--tar-only", package],
                into,
                &what,
            ),
        }
    }

    /// Writes the settings for one archive.
    fn settle(&self, archive: &Archive) -> Result<()> {
        let folder = self.folder.display();
        fs::create_dir_all(self.folder.join("lists/partial"))
            .and_then(|()| fs::create_dir_all(self.folder.join("cache/archives/partial")))
            .with_context(|| format!("cannot make {folder}"))?;
        fs::write(self.folder.join("status"), "")?;
        let (kind, target) = match self.kind {
            Kind::Binary => ("deb", "Packages"),
            Kind::Tarball => ("deb-src", "Sources"),
        };
        let options = format!(
            "arch=amd64 target={target} signed-by={}",
            archive.keyring.display()
        );
        fs::write(
            self.folder.join("sources.list"),
            format!("{kind} [{options}] {} {} main\n", archive.uri, self.suite),
        )?;
        // The system's settings stay in force where they say how to reach the network; its hooks are not for us.
        let settings = format!(
            "#clear APT::Update;\n#clear DPkg;\n\
             APT::Architecture \"amd64\";\n#clear APT::Architectures;\nAPT::Architectures {{ \"amd64\"; }};\n\
             APT::Sandbox::User \"root\";\n\
             Acquire::Languages \"none\";\n\
             Debug::NoLocking \"true\";\n\
             Dir::Etc::sourcelist \"{folder}/sources.list\";\nDir::Etc::sourceparts \"/dev/null\";\n\
             Dir::Etc::preferences \"/dev/null\";\nDir::Etc::preferencesparts \"/dev/null\";\n\
             Dir::State::Lists \"{folder}/lists\";\nDir::State::status \"{folder}/status\";\n\
             Dir::State::extended_states \"{folder}/extended_states\";\n\
             Dir::Cache \"{folder}/cache\";\n"
        );
        fs::write(self.folder.join("apt.conf"), settings)?;
        Ok(())
    }

    fn apt(&self, arguments: &[&str], place: &Path, what: &str) -> Result<()> {
        let progress = self.report.progress("fetch", what, 100);
        let mut command = Command::new("apt-get");
        command
            .current_dir(place)
            .arg("-c")
            .arg(self.folder.join("apt.conf"));
        command
            .args(["--quiet", "-o", "APT::Status-Fd=1"])
            .args(arguments);
        let log = self.folder.join("log");
        fs::write(&log, "")?;
        command::run(&mut command, &log, |line| {
            let percent = percent(line);
            if let Some(percent) = percent {
                progress.set(percent);
            }
            percent.is_none()
        })
    }
}

/// How far a line of apt's status descriptor says that the download is: `dlstatus:1:12.34:text`.
fn percent(line: &str) -> Option<u64> {
    let number = line.strip_prefix("dlstatus:")?.split(':').nth(1)?;
    number.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_status_descriptor() {
        assert_eq!(
            percent("dlstatus:3:14.7336:Retrieving file 3 of 3"),
            Some(14)
        );
        assert_eq!(percent("Get:1 http://one/debian sid InRelease"), None);
        assert_eq!(percent("dlstatus:"), None);
    }
}
