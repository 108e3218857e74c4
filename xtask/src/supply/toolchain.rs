//! The compiler's targets and components: `rust-toolchain.toml` names them, but rustup may be told not to install by itself.

use super::command;
use crate::report::Reporter;
use crate::workspace;
use anyhow::{Context, Result};
use std::path::PathBuf;
use std::process::Command;

/// What Bulkhead is compiled for: the hypervisor and the tiny guests, and the UEFI application.
pub(crate) const TARGETS: [&str; 2] = ["x86_64-unknown-none", "x86_64-unknown-uefi"];
/// What checks the sources, each with the task of cargo that it brings.
const COMPONENTS: [(&str, &str); 2] = [("clippy", "clippy"), ("rustfmt", "fmt")];

pub(super) fn targets(report: &Reporter) -> Result<()> {
    let missing = TARGETS.into_iter().filter(|target| !has_target(target));
    add(report, "target", &missing.collect::<Vec<_>>())
}

pub(super) fn components(report: &Reporter) -> Result<()> {
    let missing = COMPONENTS.into_iter().filter(|(_, task)| !has_task(task));
    let names: Vec<_> = missing.map(|(name, _)| name).collect();
    add(report, "component", &names)
}

fn add(report: &Reporter, kind: &str, missing: &[&str]) -> Result<()> {
    if missing.is_empty() {
        return Ok(());
    }
    let command = format!("rustup {kind} add {}", missing.join(" "));
    let purpose = format!("adding the compiler's {kind}s {}", missing.join(" and "));
    command::require(&[("rustup", "rustup")], &purpose)?;
    report.say("rust", &command);
    let log = tempfile::NamedTempFile::new()?;
    let mut rustup = Command::new("rustup");
    rustup
        .args([kind, "add"])
        .args(missing)
        .current_dir(workspace::root());
    command::run(&mut rustup, log.path(), |_| true).with_context(|| {
        format!("{purpose} has failed\n  mend: with the network there, run `{command}`")
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

/// Whether cargo has a task: a proxy of rustup's stands for each, which fails where the component is missing.
fn has_task(task: &str) -> bool {
    crate::build::cargo(task, &["--version"])
        .output()
        .is_ok_and(|output| output.status.success())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_the_toolchain_file_names_is_what_is_added() {
        let file = std::fs::read_to_string(workspace::root().join("rust-toolchain.toml")).unwrap();
        let file: toml::Table = file.parse().unwrap();
        let names = |key| -> Vec<&str> {
            let list = file["toolchain"][key].as_array().unwrap();
            list.iter().filter_map(toml::Value::as_str).collect()
        };
        assert_eq!(names("targets"), TARGETS);
        for (component, _) in COMPONENTS {
            assert!(names("components").contains(&component), "{component}");
        }
    }

    #[test]
    fn a_task_that_cargo_has_not_is_missing() {
        assert!(!has_task("no-such-task"));
    }
}
