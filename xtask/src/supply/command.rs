//! Programs of the host, run to their end with their output kept for the case of failure.

use crate::bound;
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// So much of the output is shown when a program fails.
const TAIL: usize = 20;

/// Finds a program on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| is_program(file))
}

fn is_program(path: &Path) -> bool {
    use std::os::unix::fs::PermissionsExt;
    path.metadata()
        .is_ok_and(|data| data.is_file() && data.permissions().mode() & 0o111 != 0)
}

/// Stops with the packages to install if one of `programs`, each with its Debian package, is missing.
pub(super) fn require(programs: &[(&str, &str)], purpose: &str) -> Result<()> {
    let missing: Vec<_> = programs
        .iter()
        .filter(|(program, _)| find(program).is_none())
        .collect();
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<_> = missing.iter().map(|(_, package)| *package).collect();
    packages.dedup();
    bail!(
        "{purpose} needs programs that are not installed: {}\n  mend: install {} (on Debian: `sudo apt install {}`)",
        names.join(", "),
        packages.join(", "),
        packages.join(" ")
    )
}

/// Runs a program, gives each line of its output to `line`, keeps in the file `log` those to which it says yes and all errors.
pub(super) fn run(
    command: &mut Command,
    log: &Path,
    mut line: impl FnMut(&str) -> bool,
) -> Result<()> {
    let name = PathBuf::from(command.get_program()).display().to_string();
    let mut record = File::options().create(true).append(true).open(log)?;
    // The C locale: its words are looked for in the output.
    let mut child = bound::to_us(command)
        .env("LC_ALL", "C")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(record.try_clone()?)
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    if let Some(output) = child.stdout.take() {
        for bytes in BufReader::new(output).split(b'\n') {
            let text = String::from_utf8_lossy(&bytes?).into_owned();
            if line(&text) {
                writeln!(record, "{text}")?;
            }
        }
    }
    let status = child.wait()?;
    if status.success() {
        return Ok(());
    }
    bail!(
        "{name} failed ({status}); the end of its output:\n{}",
        tail(log)?
    )
}

fn tail(log: &Path) -> Result<String> {
    let bytes = std::fs::read(log)?;
    let text = String::from_utf8_lossy(&bytes);
    let lines: Vec<_> = text.lines().collect();
    let from = lines.len().saturating_sub(TAIL);
    Ok(lines[from..]
        .iter()
        .map(|line| format!("  | {line}"))
        .collect::<Vec<_>>()
        .join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_shows_the_end_of_both_outputs() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let mut seen = Vec::new();
        let mut shell = Command::new("sh");
        // Fewer than are shown: which of the outputs comes first in the log is not settled.
        shell.args(["-c", "seq 15; echo bad >&2; exit 3"]);
        let error = run(&mut shell, &folder.path().join("log"), |line| {
            seen.push(line.to_owned());
            line != "14"
        });
        let text = error.expect_err("must fail").to_string();
        assert_eq!(seen.len(), 15);
        assert!(
            text.contains("exit status: 3")
                && text.contains("| 15")
                && !text.contains("| 14")
                && text.contains("| bad"),
            "{text}"
        );
        Ok(())
    }

    #[test]
    fn only_the_end_is_shown() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let log = folder.path().join("log");
        let error = run(
            Command::new("sh").args(["-c", "seq 30; false"]),
            &log,
            |_| true,
        );
        let text = error.expect_err("must fail").to_string();
        assert!(text.contains("| 11\n") && text.ends_with("| 30"), "{text}");
        assert!(!text.contains("| 10\n"), "{text}");
        Ok(())
    }

    #[test]
    fn a_missing_program_is_named_with_its_package() {
        let programs = [
            ("sh", "dash"),
            ("no-such-program-1", "one"),
            ("no-such-program-2", "one"),
        ];
        let text = require(&programs, "a test")
            .expect_err("must fail")
            .to_string();
        assert!(
            text.contains("no-such-program-1, no-such-program-2")
                && text.contains("apt install one`"),
            "{text}"
        );
        assert!(!text.contains("dash"), "{text}");
    }
}
