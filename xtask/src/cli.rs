//! The command line.

use crate::build;
use crate::machine::{CPU_MODEL, Machine, Pace};
use crate::report::Reporter;
use crate::run::{Outcome, Session};
use crate::test::Tests;
use crate::tools::{self, Choice};
use crate::{config, doctor, faults, image, kit, supply, workspace};
use anyhow::{Result, bail};
use clap::{Args, Parser, Subcommand};
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// `boot`'s first line: from here on a key is not for the firmware.
const BOOT: &str = "^boot: Bulkhead";

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
    /// Write the disk image to a file, for an emulator or a USB stick
    Image(Image),
    /// Say what is wrong with a config file, as the machine would
    Check {
        /// The config
        file: PathBuf,
    },
    /// Build what runs on bare metal, and print where it is
    Build,
    /// Say what this host offers, what it lacks, and the mend for each
    Doctor,
    /// Check and test everything, and sum up
    Test(Test),
}

#[derive(Debug, Args)]
struct Run {
    /// What to boot [default: examples/debian.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Hold input until this regular expression is seen [default: a shell's prompt; at a terminal the first
    /// sign of life]
    #[arg(long, value_name = "REGEX")]
    after: Option<String>,
    /// End with success when this regular expression is seen
    #[arg(long, value_name = "REGEX")]
    until: Option<String>,
    /// Give up after so many emulated seconds
    #[arg(long, value_name = "EMULATED_SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    timeout: Option<u32>,
    /// Copy the serial console to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Logical processors of the machine
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    cpus: u32,
    /// Memory of the machine, such as 1GiB
    #[arg(long, value_name = "SIZE", default_value = "512MiB", value_parser = mebibytes)]
    memory: u32,
    /// CPU model of the machine, as Bochs names it
    #[arg(long, value_name = "NAME", default_value = CPU_MODEL)]
    cpu_model: String,
    /// What plays the machine
    #[arg(long, value_name = "NAME", default_value = "auto")]
    runner: Choice,
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

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::Image(args) => args.run(),
            Command::Check { file } => {
                let config = load(Some(file), &Reporter::new())?;
                println!("{}: nothing is wrong", config.name);
                Ok(ExitCode::SUCCESS)
            }
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

impl Run {
    fn run(self) -> Result<ExitCode> {
        let report = Reporter::new();
        let config = load(self.config, &report)?;
        let runner = tools::runner(self.runner, &report)?;
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        write_image(&config, &disk, &report)?;
        let terminal = std::io::stdin().is_terminal();
        let machine = Machine {
            cpu_model: self.cpu_model,
            cpus: self.cpus,
            memory: self.memory,
            pace: if terminal {
                Pace::WallClock
            } else {
                Pace::Free
            },
            limit: self.timeout,
            clock: None,
        };
        let default = if terminal { BOOT } else { supply::PROMPT };
        let session = Session {
            after: self.after.unwrap_or_else(|| default.to_owned()),
            until: self.until,
            log: self.log,
        };
        if terminal {
            report.say("console", "the guest's; Ctrl-] leaves");
        }
        let outcome = session.join(runner.start(&machine, &disk)?)?;
        if terminal && matches!(outcome, Outcome::Seen | Outcome::Left) {
            // The guest left the cursor anywhere.
            eprintln!();
            report.say("console", "left, and the machine switched off");
        }
        Ok(match outcome {
            Outcome::Off | Outcome::Seen | Outcome::Left => ExitCode::SUCCESS,
            // As shells number it.
            Outcome::Signal(number) => ExitCode::from(128 + u8::try_from(number).unwrap_or(0)),
            Outcome::Failed(why) => bail!(why),
        })
    }
}

fn load(file: Option<PathBuf>, report: &Reporter) -> Result<config::Config> {
    let file = file.unwrap_or_else(config::default);
    let kits = |named: &str| kit::file(named, report);
    config::load(&file, &kits)
}

fn write_image(config: &config::Config, out: &Path, report: &Reporter) -> Result<()> {
    report.say("build", "the UEFI application and the hypervisor");
    let mut contents = image::Contents::new(&build::programs()?, &config.text);
    for (named, file) in &config.files {
        contents.add(
            &format!("bulkhead/{named}"),
            image::Source::Path(file.clone()),
        );
    }
    contents.write(out)
}

/// Reads a size such as `512MiB`, `1 GiB` or `1G`: binary multiples, as memory has them.
fn mebibytes(text: &str) -> Result<u32, String> {
    let end = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    let (number, unit) = text.split_at(end);
    let factor: u32 = match unit.trim() {
        "M" | "MiB" => 1,
        "G" | "GiB" => 1024,
        _ => return Err("write it as 512MiB or 1GiB".to_owned()),
    };
    let size: Option<u32> = number.parse().ok().and_then(|n: u32| n.checked_mul(factor));
    // The firmware needs 64 MiB, and the emulator's chipset has its PCI hole from 3 GiB on.
    size.filter(|size| (64..=65536).contains(size))
        .ok_or("from 64MiB to 64GiB".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Cli::command().debug_assert();
    }

    #[test]
    fn sizes_are_read_with_their_unit() {
        assert_eq!(mebibytes("512MiB"), Ok(512));
        assert_eq!(mebibytes("2 GiB"), Ok(2048));
        for wrong in [
            "512",
            "1MiB",
            "4096 GiB",
            "99999999999999MiB",
            "",
            "GiB",
            "-1G",
        ] {
            assert!(mebibytes(wrong).is_err(), "{wrong}");
        }
    }
}
