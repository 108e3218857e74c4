//! Builds what runs on bare metal, each for its own target.

use crate::workspace;
use anyhow::{Context, Result, bail};
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
        boot: only(cargo("boot", UEFI, "firmware")?, "boot")?,
        hypervisor: only(cargo("bulkhead", BARE, "")?, "bulkhead")?,
    })
}

/// Builds the tiny guests: name and ELF file of each.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn guests() -> Result<BTreeMap<String, PathBuf>> {
    cargo("guests", BARE, "")
}

fn only(mut built: BTreeMap<String, PathBuf>, name: &str) -> Result<PathBuf> {
    built
        .remove(name)
        .with_context(|| format!("cargo built no program `{name}`"))
}

/// Builds the programs of one package; cargo decides where they go, so that `CARGO_TARGET_DIR` holds.
fn cargo(package: &str, target: &str, features: &str) -> Result<BTreeMap<String, PathBuf>> {
    let mut child = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .current_dir(workspace::root())
        .args([
            "build",
            "--release",
            "--quiet",
            "--message-format=json-render-diagnostics",
        ])
        .args(["--package", package, "--bins", "--target", target])
        .args(["--features", features])
        .stdin(Stdio::null())
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
    if !child.wait()?.success() {
        bail!("`{package}` does not build for {target}");
    }
    Ok(built)
}
