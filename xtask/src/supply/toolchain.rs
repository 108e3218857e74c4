//! The compiler's targets: `rust-toolchain.toml` names them, but rustup may be told not to install by itself.

use super::command;
use crate::report::Reporter;
use crate::workspace;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// What Bulkhead is compiled for: the hypervisor and the tiny guests, and the UEFI application.
pub(crate) const TARGETS: [&str; 2] = ["x86_64-unknown-none", "x86_64-unknown-uefi"];

pub(super) fn targets(report: &Reporter) -> Result<()> {
    let missing: Vec<_> = TARGETS
        .into_iter()
        .filter(|target| !has_target(target))
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("rustup target add {}", missing.join(" "));
    command::require(
        &[("rustup", "rustup")],
        &format!("adding the compiler's targets {}", missing.join(" and ")),
    )?;
    report.say("rust", &command);
    let log = tempfile::NamedTempFile::new()?;
    let mut rustup = Command::new("rustup");
    rustup
        .args(["target", "add"])
        .args(&missing)
        .current_dir(workspace::root());
    command::run(&mut rustup, log.path(), |_| true).with_context(|| {
        format!(
            "cannot add the compiler's targets\n  mend: with the network there, run `{command}`"
        )
    })
}

/// Whether the compiler that builds this workspace has the target's libraries.
pub(crate) fn has_target(target: &str) -> bool {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir", "--target", target])
        .current_dir(workspace::root())
        .output();
    output.is_ok_and(|output| {
        let folder = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
        output.status.success()
            && folder
                .read_dir()
                .is_ok_and(|mut entries| entries.next().is_some())
    })
}
