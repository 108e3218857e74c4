//! `cargo xtask fuzz`: builds the targets of the crate `fuzz` with libFuzzer and the compiler's coverage, and runs them.
//!
//! Inputs that are worth keeping are in `fuzz/corpus/TARGET`. What a run finds lies below cargo's target folder, in a folder of its own.

use crate::build::{cargo, executables};
use crate::{bound, workspace};
use anyhow::{Context, Result, bail, ensure};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::thread;

/// Named, so that neither build scripts nor macros are counted, which are built for the host without one.
const HOST: &str = "x86_64-unknown-linux-gnu";

/// What the fuzzer needs of the compiler, as `cargo fuzz` passes it: a counter for each edge, the table of them, and the operands of
/// comparisons. One codegen unit, since a table is not to be taken apart.
const FLAGS: &[&str] = &[
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
    "-Ccodegen-units=1",
];

/// The longest input in bytes, where it is not that of a device: longer ones are only slower there.
const LONGEST: &[(&str, u32)] = &[
    ("config", 2048),
    ("elf", 2048),
    ("emul", 90),
    ("flat", 512),
    ("linux", 4096),
    ("multiboot", 2048),
    ("proto", 1024),
    ("pvh", 2048),
];
const LONGEST_OTHERWISE: u32 = 256;

/// The targets, by name.
#[derive(Debug)]
pub struct Targets(BTreeMap<String, PathBuf>);

/// A run of one target.
#[derive(Clone, Debug)]
pub struct Run {
    /// How many inputs
    pub runs: u64,
    /// Where the inputs are drawn from; `None`: others each time
    pub seed: Option<u32>,
}

/// Builds them.
///
/// # Errors
/// The compiler's; it has said why on stderr.
pub fn build() -> Result<Targets> {
    let mut command = command("build");
    command.args(["--bins", "--message-format=json-render-diagnostics"]);
    let targets = executables(command)?.context("the fuzz targets do not build")?;
    Ok(Targets(targets))
}

/// Cargo for the crate `fuzz`, as it is built for the fuzzer.
pub(crate) fn command(task: &str) -> Command {
    let mut command = cargo(task, &["--quiet", "--package", "fuzz"]);
    command.args(["--profile", "fuzz", "--target", HOST]);
    command.arg("--target-dir").arg(folder("build"));
    command.env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\x1f"));
    command
}

/// A folder of ours below cargo's.
fn folder(name: &str) -> PathBuf {
    workspace::target().join("fuzz").join(name)
}

impl Targets {
    /// Their names.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(String::as_str)
    }

    fn program(&self, target: &str) -> Result<&Path> {
        let Some(program) = self.0.get(target) else {
            let all: Vec<_> = self.names().collect();
            bail!(
                "no target is called `{target}`; there are: {}",
                all.join(", ")
            );
        };
        Ok(program)
    }

    /// The fuzzer for a target: `found` is where it keeps what it finds.
    fn fuzzer(&self, target: &str, found: &Path) -> Result<Command> {
        let faults = folder("faults");
        for folder in [found, &faults] {
            fs::create_dir_all(folder).with_context(|| folder.display().to_string())?;
        }
        let longest = LONGEST.iter().find(|(name, _)| *name == target);
        let longest = longest.map_or(LONGEST_OTHERWISE, |(_, bytes)| *bytes);
        let mut command = bound::to_us(&Command::new(self.program(target)?));
        command
            .arg(format!("-max_len={longest}"))
            .arg(format!("-artifact_prefix={}/{target}-", faults.display()));
        Ok(command)
    }

    /// Fuzzes one target, with the inputs that are kept and those that earlier runs have found.
    ///
    /// # Errors
    /// There is no such target, or it does not start.
    pub fn run(&self, target: &str, run: &Run) -> Result<ExitCode> {
        let found = folder("found").join(target);
        let mut command = self.fuzzer(target, &found)?;
        run.arguments(&mut command);
        command.args(["-print_final_stats=1"]).arg(&found);
        command.args(kept(target).is_dir().then(|| kept(target)));
        ended(&mut command)
    }

    /// Runs a target with one input again.
    ///
    /// # Errors
    /// As for [`Targets::run`].
    pub fn again(&self, target: &str, input: &Path) -> Result<ExitCode> {
        ended(Command::new(self.program(target)?).arg(input))
    }

    /// Keeps of a target's inputs, old and found, a small part that reaches as much of the code.
    ///
    /// # Errors
    /// As for [`Targets::run`], and the file system's.
    pub fn keep(&self, target: &str) -> Result<ExitCode> {
        let (found, fresh) = (folder("found").join(target), folder("kept").join(target));
        let _ = fs::remove_dir_all(&fresh);
        fs::create_dir_all(&fresh)?;
        let mut command = self.fuzzer(target, &found)?;
        // How often an edge is passed does not count here, or there would be ten times as many.
        command.args(["-merge=1", "-use_counters=0"]).arg(&fresh);
        command.args(kept(target).is_dir().then(|| kept(target)));
        let code = command.arg(&found).status()?;
        ensure!(code.success(), "`{target}` could not be merged");
        let _ = fs::remove_dir_all(kept(target));
        fs::create_dir_all(kept(target))?;
        for input in fs::read_dir(&fresh)? {
            let input = input?;
            fs::copy(input.path(), kept(target).join(input.file_name()))?;
        }
        Ok(ExitCode::SUCCESS)
    }

    /// A short run of each target, two at a time; the names of those that find a fault.
    ///
    /// # Errors
    /// As for [`Targets::run`].
    pub fn try_all(&self, run: &Run) -> Result<Vec<String>> {
        let names: Vec<&str> = self.names().collect();
        let mut faults = Vec::new();
        for pair in names.chunks(2) {
            let outcomes: Vec<Result<bool>> = thread::scope(|scope| {
                let threads: Vec<_> = pair
                    .iter()
                    .map(|name| scope.spawn(|| self.passes(name, run)))
                    .collect();
                let join = |thread: thread::ScopedJoinHandle<'_, _>| match thread.join() {
                    Ok(outcome) => outcome,
                    Err(panic) => std::panic::resume_unwind(panic),
                };
                threads.into_iter().map(join).collect()
            });
            for (name, outcome) in pair.iter().zip(outcomes) {
                if !outcome? {
                    faults.push((*name).to_owned());
                }
            }
        }
        Ok(faults)
    }

    /// A short run of a target with what is kept, the same each time, that keeps nothing; whether it finds no fault. What the fuzzer says is
    /// shown if it does.
    ///
    /// # Errors
    /// As for [`Targets::run`].
    fn passes(&self, target: &str, run: &Run) -> Result<bool> {
        let mut command = self.fuzzer(target, &folder("found"))?;
        run.arguments(&mut command);
        let nothing = tempfile::tempdir()?;
        command.arg(nothing.path());
        command.args(kept(target).is_dir().then(|| kept(target)));
        let output = command.output()?;
        if !output.status.success() {
            eprintln!("{}", String::from_utf8_lossy(&output.stderr));
        }
        Ok(output.status.success())
    }
}

impl Run {
    fn arguments(&self, command: &mut Command) {
        command.arg(format!("-runs={}", self.runs));
        command.args(self.seed.map(|seed| format!("-seed={seed}")));
    }
}

/// Where the inputs are that stay.
fn kept(target: &str) -> PathBuf {
    workspace::root().join("fuzz/corpus").join(target)
}

fn ended(command: &mut Command) -> Result<ExitCode> {
    let status = command
        .status()
        .context("the target could not be started")?;
    Ok(if status.success() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    })
}
