//! `cargo xtask test`: all that is checked before a change is taken, with one verdict at the end.

use crate::build::{self, cargo};
use crate::report::Reporter;
use crate::{fuzz, lints, miri, supply};
use anyhow::{Context, Result, ensure};
use std::io::{BufRead, BufReader};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

/// What is tested.
#[derive(Clone, Debug)]
pub struct Tests {
    /// Formatting, lints, documentation, and the tests that need no emulator
    pub host: bool,
    /// The tests that boot the image
    pub emulator: bool,
    /// Of these the long ones too
    pub long: bool,
    /// Only tests whose name contains this; formatting, lints and documentation have no names
    pub filter: Option<String>,
}

/// Where properties draw their inputs from.
const SEED: &str = "1";

/// How much each target is fuzzed here.
const FUZZ: fuzz::Run = fuzz::Run {
    runs: 30_000,
    seed: Some(1),
};

/// How many tests passed and failed; a check such as "formatting" is one test.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Tally {
    passed: u64,
    failed: u64,
    ignored: u64,
    filtered: u64,
}

/// What has been run so far.
struct Stages {
    tally: Tally,
    times: Vec<(&'static str, Duration)>,
    since: Instant,
}

impl Tests {
    /// Runs them all, whatever fails on the way, and sums up.
    ///
    /// # Errors
    /// When cargo does not start, or no test has the name that was asked for.
    pub fn run(&self) -> Result<ExitCode> {
        let start = Instant::now();
        // All that is compiled for bare metal needs them, checks and tests alike, and cargo does not bring them.
        let report = Reporter::new();
        supply::targets(&report)?;
        if self.checks() {
            supply::components(&report)?;
        }
        let mut stages = Stages {
            tally: Tally::default(),
            times: Vec::new(),
            since: start,
        };
        if self.checks() {
            for (name, commands) in checks() {
                let passes = commands_pass(commands)?;
                stages.check(name, passes);
            }
            let findings = lints::findings()?;
            findings.iter().for_each(|finding| println!("{finding}"));
            stages.check("house rules", findings.is_empty());
        }
        if self.host {
            stages.tests("tests on this host", self.cargo_test(&["--quiet"]))?;
            let harness = ["--quiet", "--package", "qemu-tests", "--lib"];
            stages.tests("tests of the harness", self.cargo_test(&harness))?;
        }
        if self.checks() {
            stages.fuzzing()?;
            stages.miri()?;
        }
        if self.emulator {
            let arguments = ["--package", "qemu-tests", "--test", "*"];
            stages.tests("tests in the emulator", self.cargo_test(&arguments))?;
        }
        println!();
        for (name, time) in &stages.times {
            println!("{:>7.1} s  {name}", time.as_secs_f64());
        }
        println!("\n{}", stages.tally.verdict(start.elapsed()));
        if let Some(filter) = &self.filter {
            stages.tally.expect_some(filter)?;
        }
        Ok(if stages.tally.failed == 0 {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Whether what has no name is checked too.
    fn checks(&self) -> bool {
        self.host && self.filter.is_none()
    }

    fn cargo_test(&self, arguments: &[&str]) -> Command {
        let mut command = cargo("test", arguments);
        if !self.long {
            // A change is judged by the same inputs each time; new ones are tried by the long run, and by `cargo test` at the root.
            command.env("PROPTEST_RNG_SEED", SEED);
        }
        command.args(["--no-fail-fast", "--"]);
        command.args(&self.filter);
        if self.long && arguments.contains(&"--test") {
            command.arg("--include-ignored");
        }
        command
    }
}

/// What has to pass without being a test. The bare-metal crates are looked at for their own targets.
fn checks() -> Vec<(&'static str, Vec<Command>)> {
    let clippy = |arguments: &[&str]| {
        let mut command = cargo("clippy", arguments);
        command.args(["--quiet", "--", "-D", "warnings"]);
        command
    };
    let doc = |arguments: &[&str]| {
        let mut command = cargo("doc", arguments);
        command
            .args(["--quiet", "--no-deps"])
            .env("RUSTDOCFLAGS", "-D warnings");
        command
    };
    let bare = |package| ["--package", package, "--target", build::BARE];
    let uefi = |package| {
        let features = ["--features", "firmware", "--target", build::UEFI];
        [["--package", package].as_slice(), &features].concat()
    };
    vec![
        ("formatting", vec![cargo("fmt", &["--all", "--check"])]),
        (
            "clippy",
            vec![
                clippy(&["--all-targets"]),
                clippy(&["--all-targets", "--package", "qemu-tests"]),
                clippy(&bare("bulkhead")),
                // Without statistics.
                clippy(&[bare("bulkhead").as_slice(), &["--no-default-features"]].concat()),
                clippy(&bare("guests")),
                clippy(&bare("faults")),
                clippy(&bare("bare")),
                clippy(&uefi("boot")),
                clippy(&uefi("shim")),
            ],
        ),
        (
            "documentation",
            vec![
                doc(&[]),
                doc(&["--package", "qemu-tests"]),
                doc(&bare("bulkhead")),
            ],
        ),
    ]
}

fn commands_pass(commands: Vec<Command>) -> Result<bool> {
    let mut pass = true;
    for mut command in commands {
        pass &= command
            .status()
            .context("cargo could not be started")?
            .success();
    }
    Ok(pass)
}

impl Stages {
    fn check(&mut self, name: &'static str, passes: bool) {
        self.tally.check(name, passes);
        self.end(name);
    }

    fn tests(&mut self, name: &'static str, command: Command) -> Result<()> {
        self.tally.tests(name, command)?;
        self.end(name);
        Ok(())
    }

    /// Each target with the inputs that are kept, and some more.
    fn fuzzing(&mut self) -> Result<()> {
        let mut clippy = fuzz::command("clippy");
        clippy.args(["--all-targets", "--no-deps", "--", "-D", "warnings"]);
        let lints = commands_pass(vec![clippy])?;
        let faults = fuzz::build()?.try_all(&FUZZ)?;
        for fault in &faults {
            println!("fuzzing `{fault}` found a fault");
        }
        self.check("fuzzing", lints && faults.is_empty());
        Ok(())
    }

    fn miri(&mut self) -> Result<()> {
        if !miri::is_here() {
            println!("check miri ... left out: {}", miri::MISSING);
            return Ok(());
        }
        let passes = miri::run()?;
        self.check("miri", passes);
        Ok(())
    }

    fn end(&mut self, name: &'static str) {
        self.times.push((name, self.since.elapsed()));
        self.since = Instant::now();
    }
}

impl Tally {
    fn check(&mut self, name: &str, passes: bool) {
        println!("check {name} ... {}", if passes { "ok" } else { "FAILED" });
        if passes {
            self.passed += 1;
        } else {
            self.failed += 1;
        }
    }

    /// The closing line, as cargo's test harness writes it.
    fn verdict(&self, time: Duration) -> String {
        format!(
            "test result: {}. {} passed; {} failed; {} ignored; 0 measured; {} filtered out; finished in {:.2}s",
            if self.failed == 0 { "ok" } else { "FAILED" },
            self.passed,
            self.failed,
            self.ignored,
            self.filtered,
            time.as_secs_f64()
        )
    }

    /// Runs a `cargo test`, shows what it says, and adds the counts of its summaries. One that fails without having
    /// counted a failure did not build: that is one.
    fn tests(&mut self, name: &str, mut command: Command) -> Result<()> {
        println!("\n{name}");
        let mut child = command
            .stdout(Stdio::piped())
            .spawn()
            .context("cargo could not be started")?;
        let stdout = child.stdout.take().context("cargo has no stdout")?;
        let before = self.failed;
        for line in BufReader::new(stdout).lines() {
            let line = line?;
            self.summary(&line);
            println!("{line}");
        }
        if !child.wait()?.success() && self.failed == before {
            self.check(name, false);
        }
        Ok(())
    }

    /// Whether a filter has met any test: a misspelt one must not pass for a success.
    fn expect_some(&self, filter: &str) -> Result<()> {
        let run = self.passed + self.failed;
        ensure!(run + self.ignored > 0, "no test is called so: `{filter}`");
        if run == 0 {
            println!("`{filter}` names only tests that were left out: `--all` runs the long ones");
        }
        Ok(())
    }

    /// Adds a line such as `test result: ok. 3 passed; 0 failed; 1 ignored; ...`.
    fn summary(&mut self, line: &str) {
        let Some((_, counts)) = line
            .strip_prefix("test result: ")
            .and_then(|rest| rest.split_once(". "))
        else {
            return;
        };
        for count in counts.split("; ") {
            let Some((number, what)) = count.split_once(' ') else {
                continue;
            };
            let number = number.parse().unwrap_or(0);
            match what {
                "passed" => self.passed += number,
                "failed" => self.failed += number,
                "ignored" => self.ignored += number,
                "filtered out" => self.filtered += number,
                _ => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_of_cargo_are_added() {
        let mut tally = Tally::default();
        tally.summary("test result: ok. 12 passed; 0 failed; 2 ignored; 0 measured; 3 filtered out; finished in 0.01s");
        tally.summary(
            "test result: FAILED. 1 passed; 4 failed; 0 ignored; 0 measured; 0 filtered out",
        );
        tally.summary("test watch::tests::result ... ok");
        assert_eq!(
            tally,
            Tally {
                passed: 13,
                failed: 4,
                ignored: 2,
                filtered: 3
            }
        );
        let time = Duration::from_millis(1500);
        let mut again = Tally::default();
        again.summary(&tally.verdict(time));
        assert_eq!(again, tally);
        assert_eq!(
            Tally::default().verdict(time),
            "test result: ok. 0 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.50s"
        );
    }

    #[test]
    fn a_filter_that_meets_no_test_is_an_error() {
        let none = Tally {
            filtered: 70,
            ..Tally::default()
        };
        let error = none.expect_some("nosuch").unwrap_err().to_string();
        assert_eq!(error, "no test is called so: `nosuch`");
        let summary = |line| {
            let mut tally = none;
            tally.summary(line);
            tally.expect_some("such")
        };
        assert!(summary("test result: ok. 1 passed; 0 failed; 0 ignored").is_ok());
        assert!(summary("test result: ok. 0 passed; 0 failed; 2 ignored").is_ok());
        assert!(summary("test result: FAILED. 0 passed; 1 failed; 0 ignored").is_ok());
    }

    #[test]
    fn what_does_not_build_has_failed() {
        let mut tally = Tally::default();
        tally.tests("none", Command::new("false")).unwrap();
        assert_eq!(tally.failed, 1);
    }

    #[test]
    fn a_run_that_counts_its_failures_is_not_counted_twice() {
        let mut tally = Tally::default();
        let mut command = Command::new("sh");
        command.args([
            "-c",
            "echo 'test result: FAILED. 1 passed; 2 failed; 0 ignored'; exit 101",
        ]);
        tally.tests("some", command).unwrap();
        assert_eq!(
            tally,
            Tally {
                passed: 1,
                failed: 2,
                ..Tally::default()
            }
        );
    }
}
