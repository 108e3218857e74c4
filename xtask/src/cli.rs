//! The command line.

mod bench;
mod certify;
mod ctl;
mod fuzz;
mod run;
mod size;
mod trace;

use crate::report::Reporter;
use crate::test::Tests;
use crate::{build, config, doctor, faults, image, kit, miri, resolve, workspace};
use anyhow::{Context, Result, ensure};
use bench::Bench;
use certify::Certify;
use clap::{Args, Parser, Subcommand};
use ctl::Ctl;
use fuzz::Fuzz;
use run::Run;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use trace::Trace;

/// Builds, runs and tests Bulkhead.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the image in an emulator and join the guest's console
    Run(Run),
    /// Command the machine of a running `run`
    Ctl(Ctl),
    /// Draw what the schedulers of a machine do, and write it for Perfetto
    Trace(Trace),
    /// Prove of a machine that its VMs reach what the config gives them, and nothing else
    Certify(Certify),
    /// Write the disk image to a file, for an emulator or a USB stick
    Image(Image),
    /// Say what is wrong with a config file, as the machine would
    Check {
        /// The config
        file: PathBuf,
    },
    /// Build what runs on bare metal, and print where it is
    Build,
    /// Say which functions and lines a panic report means
    Resolve(Resolve),
    /// Say what this host offers, what it lacks, and the mend for each
    Doctor,
    /// Check and test everything, and sum up
    Test(Test),
    /// Feed a part of the hypervisor inputs that a fuzzer makes up
    Fuzz(Fuzz),
    /// Run the tests of shared memory and of unsafe code under Miri
    Miri,
    /// Measure what exits cost, beside the bare machine
    Bench(Bench),
}

#[derive(Debug, Args)]
struct Test {
    /// Only what needs no emulator
    #[arg(long)]
    host: bool,
    /// Only what needs an emulator
    #[arg(long, conflicts_with = "host")]
    emulator: bool,
    /// The long tests too
    #[arg(long)]
    all: bool,
    /// Only tests whose name contains this
    filter: Option<String>,
}

#[derive(Debug, Args)]
struct Image {
    /// Where to write it
    #[arg(short, long, value_name = "FILE")]
    output: PathBuf,
    /// What to boot [default: examples/debian.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct Resolve {
    /// The log that has the report
    log: PathBuf,
    /// The hypervisor that wrote it [default: the one that this checkout makes]
    #[arg(long, value_name = "ELF")]
    elf: Option<PathBuf>,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::Ctl(args) => args.run(),
            Command::Trace(args) => args.run(),
            Command::Certify(args) => args.run(),
            Command::Image(args) => args.run(),
            Command::Check { file } => {
                let config = load(Some(file), &Reporter::new())?;
                println!("{}: nothing is wrong", config.name);
                Ok(ExitCode::SUCCESS)
            }
            Command::Resolve(args) => args.run(),
            Command::Doctor => {
                let mut findings = doctor::examine()?;
                findings.extend(faults::findings(&Reporter::new())?);
                let findings = doctor::Table(findings);
                print!("{findings}");
                Ok(if findings.is_well() {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
            Command::Test(args) => args.run(),
            Command::Fuzz(args) => args.run(),
            Command::Miri => {
                ensure!(miri::is_here(), "{}", miri::MISSING);
                Ok(if miri::run()? {
                    ExitCode::SUCCESS
                } else {
                    ExitCode::FAILURE
                })
            }
            Command::Bench(args) => args.run(),
            Command::Build => {
                let built = build::programs()?;
                println!("{}\n{}", built.boot.display(), built.hypervisor.display());
                for guest in build::guests()?.values() {
                    println!("{}", guest.display());
                }
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Test {
    fn run(self) -> Result<ExitCode> {
        let tests = Tests {
            host: !self.emulator,
            emulator: !self.host,
            long: self.all,
            filter: self.filter,
        };
        tests.run()
    }
}

impl Resolve {
    fn run(self) -> Result<ExitCode> {
        let log = std::fs::read(&self.log).with_context(|| self.log.display().to_string())?;
        let elf = match self.elf {
            Some(elf) => elf,
            None => build::programs()?.hypervisor,
        };
        let text = resolve::resolve(&String::from_utf8_lossy(&log), &elf)?;
        print!("{}", text.context("there is no panic report in it")?);
        Ok(ExitCode::SUCCESS)
    }
}

impl Image {
    fn run(self) -> Result<ExitCode> {
        let report = Reporter::new();
        let config = load(self.config, &report)?;
        write_image(&config, &self.output, &report)?;
        let size = self.output.metadata()?.len() >> 20;
        report.say(
            "image",
            format_args!("{} ({size} MiB)", workspace::display(&self.output)),
        );
        Ok(ExitCode::SUCCESS)
    }
}

fn load(file: Option<PathBuf>, report: &Reporter) -> Result<config::Config> {
    let file = file.unwrap_or_else(config::default);
    let kits = |named: &str| kit::file(named, report);
    config::load(&file, &kits)
}

fn write_image(config: &config::Config, out: &Path, report: &Reporter) -> Result<build::Programs> {
    report.say("build", "the UEFI application and the hypervisor");
    let programs = build::programs()?;
    let mut contents = image::Contents::new(&programs, &config.text);
    for (named, file) in &config.files {
        contents.add(
            &format!("bulkhead/{named}"),
            image::Source::Path(file.clone()),
        );
    }
    contents.write(out)?;
    Ok(programs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }
}
