//! All that xtask brings so that a fresh Debian machine can run Bulkhead: the emulator, its firmware, a guest to boot, and the
//! compiler's targets. What was fetched or built stays in the user's cache folder, and nothing there is asked for again: only a
//! missing thing reaches for the network.

mod apt;
mod bochs;
pub(crate) mod cache;
mod command;
mod cure;
mod debian;
mod firmware;
mod initrd;
mod lock;
mod modules;
mod package;
mod sources;
mod stress;
mod toolchain;
mod vmlinux;

use crate::report::Reporter;
use anyhow::Result;
use cache::Cache;
use std::path::PathBuf;

pub(crate) use apt::PROGRAMS as FETCH_PROGRAMS;
pub(crate) use bochs::PROGRAMS as BUILD_PROGRAMS;
pub(crate) use command::find;
pub(crate) use initrd::first_process;
pub(crate) use toolchain::{TARGETS, has_target};

/// What the guest's shell prompts with, as a regular expression. The shell sends a question about the cursor (`ESC [ 6 n`) behind
/// it, so that a prompt is not the end of the output.
pub const PROMPT: &str = r"debian:\S*# ";

/// A Bochs with the faults cured that would mislead a hypervisor's tests.
#[derive(Clone, Debug)]
pub struct Emulator {
    /// What to start.
    pub program: PathBuf,
    /// As it names itself.
    pub version: String,
    /// What `BXSHARE` should name: the folder of the build.
    pub share: PathBuf,
}

/// UEFI firmware.
#[derive(Clone, Debug)]
pub struct Firmware {
    /// The whole image, for Bochs.
    pub code: PathBuf,
    /// Where its last byte is the last below 4 GiB.
    pub address: u64,
    /// The VGA BIOS beside it.
    pub vga_bios: PathBuf,
    /// The code alone, for QEMU's first flash.
    pub qemu_code: PathBuf,
    /// Fresh variables, to be copied for QEMU's second flash.
    pub qemu_vars: PathBuf,
}

/// What a Debian guest boots from.
#[derive(Clone, Debug)]
pub struct GuestKit {
    /// Debian's kernel, unmodified.
    pub kernel: PathBuf,
    /// A small initramfs around Debian's busybox.
    pub initrd: PathBuf,
    /// The kernel package's version.
    pub version: String,
}

/// A release of Debian that a guest comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum Suite {
    /// Debian 12, Linux 6.1: the default, the quickest to unpack itself in an emulator.
    #[default]
    Bookworm,
    /// Debian 13, Linux 6.12.
    Trixie,
    /// What Debian is made of at present, Linux 7.2 and later.
    Newest,
}

impl Suite {
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::Bookworm, Self::Trixie, Self::Newest];

    /// As the archive names it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Bookworm => "bookworm",
            Self::Trixie => "trixie",
            Self::Newest => "sid",
        }
    }
}

/// Bochs: the one that `BULKHEAD_BOCHS` names, else our own build.
///
/// # Errors
/// What is missing to fetch or build it, with the mend.
pub fn emulator(report: &Reporter) -> Result<Emulator> {
    bochs::emulator(report)
}

/// Debian's OVMF and VGA BIOS.
///
/// # Errors
/// What is missing to fetch them, with the mend.
pub fn firmware(report: &Reporter) -> Result<Firmware> {
    firmware::firmware(report)
}

/// The cloud kernel of `suite`, and the initramfs that goes with it.
///
/// # Errors
/// What is missing to fetch them, with the mend.
pub fn guest(report: &Reporter, suite: Suite) -> Result<GuestKit> {
    debian::guest(report, suite)
}

/// An initramfs for any of the kernels, with programs that put a kernel under stress.
///
/// # Errors
/// What is missing to fetch them, with the mend.
pub fn stress(report: &Reporter) -> Result<PathBuf> {
    stress::initrd(report)
}

/// The initramfs that goes with the kernel of `suite`, with modules of that kernel in `/lib/modules`; each is named by its path below the
/// kernel's own folder of modules, without `.ko`. Only kernels whose package does not pack them.
///
/// # Errors
/// What is missing to fetch them, with the mend, or that there is no such module.
pub fn modules(report: &Reporter, suite: Suite, modules: &[&str]) -> Result<PathBuf> {
    modules::initrd(report, suite, modules)
}

/// The cloud kernel of `suite` as the ELF file that it unpacks itself to, for a start by PVH.
///
/// # Errors
/// What is missing to fetch it, with the mend.
pub fn vmlinux(report: &Reporter, suite: Suite) -> Result<PathBuf> {
    vmlinux::vmlinux(report, suite)
}

/// Adds the compiler's bare-metal targets where they are missing.
///
/// # Errors
/// When they are missing and rustup cannot add them.
pub fn targets(report: &Reporter) -> Result<()> {
    toolchain::targets(report)
}

/// Adds what checks the sources, clippy and rustfmt, where it is missing.
///
/// # Errors
/// When it is missing and rustup cannot add it.
pub fn components(report: &Reporter) -> Result<()> {
    toolchain::components(report)
}

/// The emulator that a run would start without building one, in words; or what is wrong with the one that the user names.
pub(crate) fn built_emulator(cache: &Cache) -> Option<Result<String>> {
    if let Some(named) = bochs::named() {
        return Some(bochs::named_build(named).map(|emulator| {
            let (program, version) = (emulator.program.display(), emulator.version);
            format!("BULKHEAD_BOCHS names {program}, which is Bochs {version}")
        }));
    }
    let entry = bochs::built(cache)?;
    Some(Ok(format!(
        "Bochs {} with {} cures, {}",
        bochs::VERSION,
        cure::CURES.len(),
        entry.display()
    )))
}

/// The faults of the emulator that a cure is there for, by name.
pub fn known_faults() -> impl Iterator<Item = &'static str> {
    cure::CURES.into_iter().map(|(name, _)| name)
}

/// The packages that a run with a guest of `suite` would fetch.
pub(crate) fn outstanding(cache: &Cache, suite: Suite) -> Result<Vec<String>> {
    let mut missing = Vec::new();
    let emulator = bochs::PACKAGE;
    let wanted = firmware::PACKAGES
        .into_iter()
        .chain([debian::BUSYBOX, (suite.name(), debian::KERNEL)]);
    for (suite, name) in wanted.chain((built_emulator(cache).is_none()).then_some(emulator)) {
        if package::find(cache, suite, name)?.is_none() {
            missing.push(format!("{name} of {suite}"));
        }
    }
    Ok(missing)
}

/// What to do about an emulator that is not as it should be; `None` while it or its firmware would first have to be fetched or
/// built.
pub(crate) fn emulator_mend(cache: &Cache) -> Result<Option<String>> {
    for (suite, name) in firmware::PACKAGES {
        if package::find(cache, suite, name)?.is_none() {
            return Ok(None);
        }
    }
    if bochs::named().is_some() {
        let mend = "let BULKHEAD_BOCHS name a build with the cures of xtask/cures, or remove it";
        return Ok(Some(mend.to_owned()));
    }
    Ok(bochs::built(cache)
        .map(|entry| format!("remove {}: the next run builds it anew", entry.display())))
}

/// Each fetched package in words.
pub(crate) fn fetched(cache: &Cache) -> Result<Vec<String>> {
    let line = |package: package::Package| {
        let origin = package.origin;
        let note = match lock::tested(&origin.suite, &origin.name)? {
            Some(tested) if tested.sha256 == origin.sha256 => "as tested".to_owned(),
            Some(tested) => format!("tested is {}", tested.version),
            None => "never tested".to_owned(),
        };
        Ok(format!(
            "{} {} of {}, {note}",
            origin.package, origin.version, origin.suite
        ))
    };
    package::all(cache).into_iter().map(line).collect()
}

/// The Debian archive that would be asked first.
pub(crate) fn archive() -> Result<String> {
    let first = sources::archives()?.into_iter().next();
    Ok(first.map_or_else(String::new, |archive| archive.uri))
}
