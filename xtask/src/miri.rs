//! `cargo xtask miri`: the tests of memory that many share, and of what is `unsafe`, under Miri, which sees what no processor shows.
//!
//! Miri comes with the nightly compiler alone, so it is asked for by name, beside the pinned one.

use crate::{bound, workspace};
use anyhow::{Context, Result};
use std::process::{Command, Stdio};

const TOOLCHAIN: &str = "nightly";

/// What is run: package, the tests' names by a part of them, and what Miri is told besides. Tests that are left out take minutes each.
const TESTS: &[(&str, &[&str], &str)] = &[
    (
        "ram",
        &[
            "guest",
            "window",
            "tables",
            "parts_of_frames",
            "given_back_twice",
        ],
        // Guest memory is read and written in words of all sizes, and over atomic accesses of one place in several sizes Miri's model
        // of weak memory stops with an error of its own. The tests' memory is leaked on purpose.
        " -Zmiri-disable-weak-memory-emulation -Zmiri-ignore-leaks",
    ),
    ("paging", &["an_ept_entry", "an_overlap", "ranges_end"], ""),
    ("vm", &["mailbox"], ""),
];
/// Proptest looks for where it would keep a failure, which is a folder outside of what Miri shows.
const FLAGS: &str = "-Zmiri-disable-isolation";

/// What is said where it is not.
pub const MISSING: &str =
    "there is no Miri here: `rustup toolchain install nightly --component miri,rust-src` brings it";

/// Whether this host has it.
#[must_use]
pub fn is_here() -> bool {
    let mut command = command(&["--version"]);
    command.stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// The runs, one a package.
pub fn runs() -> impl Iterator<Item = Command> {
    TESTS.iter().map(|(package, names, flags)| {
        let mut command = command(&["test", "--quiet", "--package", package, "--lib", "--"]);
        command.args(*names);
        command.env("MIRIFLAGS", format!("{FLAGS}{flags}"));
        command
    })
}

/// Runs them; whether all pass.
///
/// # Errors
/// It does not start.
pub fn run() -> Result<bool> {
    let mut pass = true;
    for mut command in runs() {
        let status = command.status().context("rustup could not be started")?;
        pass &= status.success();
    }
    Ok(pass)
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new("rustup");
    command
        .args(["run", TOOLCHAIN, "cargo", "miri"])
        .args(arguments)
        .current_dir(workspace::root())
        // Those of the pinned compiler, which runs us.
        .env_remove("CARGO")
        .env_remove("RUSTC")
        .env("CARGO_TARGET_DIR", workspace::target().join("miri"))
        .env("PROPTEST_RNG_SEED", "1")
        .env("MIRIFLAGS", FLAGS);
    let mut command = bound::to_us(&command);
    command.stdin(Stdio::null());
    command
}
