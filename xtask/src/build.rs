//! Builds what runs on bare metal, each for its own target.

use crate::report::Reporter;
use crate::{bound, supply, workspace};
use anyhow::{Context, Result};
use cargo_metadata::{Message, TargetKind};
use std::collections::BTreeMap;
use std::io::BufReader;
use std::path::PathBuf;
use std::process::{Command, Stdio};

/// Target of the UEFI application.
pub const UEFI: &str = "x86_64-unknown-uefi";
/// Target of the hypervisor and of the tiny guests.
pub const BARE: &str = "x86_64-unknown-none";

/// The two programs of an image.
#[derive(Clone, Debug)]
pub struct Programs {
    /// The UEFI application
    pub boot: PathBuf,
    /// The hypervisor, a static-pie ELF
    pub hypervisor: PathBuf,
}

/// Builds `boot` and `bulkhead`.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn programs() -> Result<Programs> {
    Ok(Programs {
        boot: only(built("boot", UEFI, "firmware")?, "boot")?,
        hypervisor: only(built("bulkhead", BARE, "")?, "bulkhead")?,
    })
}

/// Builds `boot` and a `bulkhead` that does wrong when it is told to.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn planted() -> Result<Programs> {
    Ok(Programs {
        boot: only(built("boot", UEFI, "firmware")?, "boot")?,
        hypervisor: only(
            built_as("planted", "bulkhead", BARE, "planted")?,
            "bulkhead",
        )?,
    })
}

/// Builds the tiny guests: name and ELF file of each.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn guests() -> Result<BTreeMap<String, PathBuf>> {
    built("guests", BARE, "")
}

/// Builds the UEFI application that plays a firmware with VT-x locked off.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn shim() -> Result<PathBuf> {
    only(built("shim", UEFI, "firmware")?, "shim")
}

/// Builds the program that names the emulator's faults, which `boot` starts in the hypervisor's place.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn faults() -> Result<Programs> {
    Ok(Programs {
        boot: only(built("boot", UEFI, "firmware")?, "boot")?,
        hypervisor: only(built("faults", BARE, "")?, "faults")?,
    })
}

/// Builds the program that starts a guest's kernel on the bare machine, which `boot` starts in the hypervisor's place.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn bare() -> Result<Programs> {
    Ok(Programs {
        boot: only(built("boot", UEFI, "firmware")?, "boot")?,
        hypervisor: only(built("bare", BARE, "")?, "bare")?,
    })
}

fn only(mut built: BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    built
        .remove(name)
        .with_context(|| format!("cargo built no program `{name}`"))
}

/// Cargo at the root of the workspace, which does not outlive us.
pub(crate) fn cargo(task: &str, arguments: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command
        .current_dir(workspace::root())
        .arg(task)
        .args(arguments);
    let mut command = bound::to_us(&command);
    command.stdin(Stdio::null());
    command
}

/// Builds the programs of one package, after what the compiler lacks for it; cargo decides where they go, so that
/// `CARGO_TARGET_DIR` holds.
fn built(package: &str, target: &str, features: &str) -> Result<BTreeMap<String, PathBuf>> {
    built_as("release", package, target, features)
}

/// The same with a profile of the workspace's, each of which has a folder of its own.
fn built_as(
    profile: &str,
    package: &str,
    target: &str,
    features: &str,
) -> Result<BTreeMap<String, PathBuf>> {
    supply::targets(&Reporter::new())?;
    let mut arguments = vec![
        "--profile",
        profile,
        "--quiet",
        "--message-format=json-render-diagnostics",
    ];
    arguments.extend(["--package", package, "--bins", "--target", target]);
    arguments.extend(["--features", features]);
    executables(cargo("build", &arguments))?
        .with_context(|| format!("`{package}` does not build for {target}"))
}

/// The programs that a `cargo build` builds, by name; `None` if it does not: it has said why on stderr. The command asks for messages.
pub(crate) fn executables(mut command: Command) -> Result<Option<BTreeMap<String, PathBuf>>> {
    let mut child = command
        .stdout(Stdio::piped())
        .spawn()
        .context("cargo could not be started")?;
    let stdout = child.stdout.take().context("cargo has no stdout")?;
    let mut built = BTreeMap::new();
    for message in Message::parse_stream(BufReader::new(stdout)) {
        if let Message::CompilerArtifact(artifact) = message.context("cargo's messages")?
            && artifact.target.kind.contains(&TargetKind::Bin)
            && let Some(file) = artifact.executable
        {
            built.insert(artifact.target.name, file.into_std_path_buf());
        }
    }
    Ok(child.wait()?.success().then_some(built))
}
