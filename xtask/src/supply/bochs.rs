//! The emulator: Bochs, built from Debian's tarball with the faults cured.

use super::cache::{self, Cache};
use super::package::{self, Want};
use super::{Emulator, command, cure};
use crate::report::Reporter;
use anyhow::{Context, Result, bail};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;

/// What the build needs, each with its Debian package.
pub(crate) const PROGRAMS: [(&str, &str); 5] = [
    ("g++", "build-essential"),
    ("gcc", "build-essential"),
    ("make", "build-essential"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// The upstream version that the cures fit.
pub(super) const VERSION: &str = "3.0+dfsg";
/// Its suite and its source package.
pub(super) const PACKAGE: (&str, &str) = ("trixie", "bochs");

/// Its folder in the cache.
const KIND: &str = "bochs";

/// Debian's own binary has the debugger compiled in, which makes it four times slower. The remote framebuffer is the one display
/// that needs no library.
const CONFIGURE: [&str; 19] = [
    "--with-nogui",
    "--with-rfb",
    "--without-x",
    "--without-x11",
    "--enable-smp",
    "--enable-x86-64",
    "--enable-vmx=2",
    "--enable-svm",
    "--enable-avx",
    "--enable-evex",
    "--enable-monitor-mwait",
    "--enable-long-phy-address",
    "--enable-pci",
    "--enable-all-optimizations",
    "--disable-docbook",
    "--disable-plugins",
    "--enable-cpu-level=6",
    "--enable-ne2000",
    "--enable-e1000",
];
/// It reads memory through pointers of other types.
const FLAGS: &str = "-O2 -fno-strict-aliasing";

pub(super) fn emulator(report: &Reporter) -> Result<Emulator> {
    if let Some(named) = named() {
        return named_build(named);
    }
    let cache = Cache::of_user()?;
    let share = match built(&cache) {
        Some(entry) => entry,
        None => {
            command::require(&PROGRAMS, "building the emulator")?;
            let tarball = package::get(report, &cache, Want::Tarball, PACKAGE.0, PACKAGE.1)?;
            if tarball.origin.version != VERSION {
                bail!(
                    "the archive has Bochs {}, and the cures are for {VERSION}\n  mend: name a cured build in BULKHEAD_BOCHS",
                    tarball.origin.version
                );
            }
            cache.get_or_make(report, (KIND, &recipe()), |guard, made| {
                let sources = guard.folder()?;
                let log = cache.root().join("bochs-build.log");
                build(report, &tarball.path, sources.path(), &log).with_context(|| {
                    format!("cannot build the emulator (all output: {})", log.display())
                })?;
                fs::copy(sources.path().join("bochs"), made.join("bochs"))?;
                Ok(())
            })?
        }
    };
    Ok(Emulator {
        program: share.join("bochs"),
        version: VERSION.to_owned(),
        share,
    })
}

/// The build that the user names instead of ours.
pub(super) fn named() -> Option<PathBuf> {
    std::env::var_os("BULKHEAD_BOCHS")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
}

/// Our build, if the cache has it.
pub(super) fn built(cache: &Cache) -> Option<PathBuf> {
    cache.get(KIND, &recipe())
}

/// The entry's name, made of what decides how the emulator comes out.
fn recipe() -> String {
    let settings = CONFIGURE.join(" ");
    let cures = cure::CURES.iter().map(|(_, text)| text.as_bytes());
    let parts = [VERSION.as_bytes(), settings.as_bytes(), FLAGS.as_bytes()];
    let hash = cache::key(parts.into_iter().chain(cures));
    format!("{VERSION}-{hash}")
}

fn build(report: &Reporter, tarball: &Path, folder: &Path, log: &Path) -> Result<()> {
    fs::write(log, "")?;
    let mut unpack = Command::new("tar");
    unpack
        .arg("--extract")
        .arg("--file")
        .arg(tarball)
        .arg("--directory")
        .arg(folder)
        .arg("--strip-components=1");
    command::run(&mut unpack, log, |_| true)?;
    cure::apply_all(folder)?;
    {
        let _progress = report.progress("build", "Bochs: configure", 1);
        let mut configure = Command::new("./configure");
        configure
            .current_dir(folder)
            .args(CONFIGURE)
            .env("CFLAGS", FLAGS)
            .env("CXXFLAGS", FLAGS);
        command::run(&mut configure, log, |_| true)?;
    }
    let mut total = 0;
    command::run(&mut make(folder, "--dry-run"), log, |line| {
        total += u64::from(compiles(line));
        false
    })?;
    let jobs = thread::available_parallelism().map_or(1, usize::from);
    let progress = report.progress(
        "build",
        format_args!("Bochs, {total} files, {jobs} at a time"),
        total,
    );
    command::run(&mut make(folder, &format!("--jobs={jobs}")), log, |line| {
        if compiles(line) {
            progress.advance();
        }
        true
    })
}

fn make(folder: &Path, option: &str) -> Command {
    let mut make = Command::new("make");
    // Under `cargo`, a jobserver of another make may be inherited.
    make.current_dir(folder)
        .args([option, "bochs"])
        .env_remove("MAKEFLAGS")
        .env_remove("MFLAGS");
    make
}

fn compiles(line: &str) -> bool {
    line.contains(" -c ")
}

pub(super) fn named_build(named: PathBuf) -> Result<Emulator> {
    let program = if named.is_dir() {
        named.join("bochs")
    } else {
        named
    };
    let output = Command::new(&program)
        .args(["--help"])
        .output()
        .with_context(|| {
            format!(
                "BULKHEAD_BOCHS names {}, which does not start",
                program.display()
            )
        })?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text);
    let version = version(&text).with_context(|| {
        format!(
            "BULKHEAD_BOCHS names {}, which does not call itself Bochs",
            program.display()
        )
    })?;
    let share = program.parent().unwrap_or(Path::new("/")).to_path_buf();
    Ok(Emulator {
        version: version.to_owned(),
        share,
        program,
    })
}

fn version(text: &str) -> Option<&str> {
    text.split_once("Bochs x86 Emulator ")?
        .1
        .split_whitespace()
        .next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_banner_tells_the_version() {
        assert_eq!(
            version("=====\n          Bochs x86 Emulator 3.0\n  Built from"),
            Some("3.0")
        );
        assert_eq!(version("QEMU emulator version 10.0"), None);
    }

    #[test]
    fn counts_compilations_only() {
        assert!(compiles("g++ -O2 -I. -c cpu.cc -o cpu.o"));
        assert!(!compiles("make -C cpu libcpu.a"));
    }
}
