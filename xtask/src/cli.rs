//! The command line.

use crate::machine::{CPU_MODEL, Machine, Pace, Runner};
use crate::run::{Outcome, Session};
use crate::{build, image};
use anyhow::{Context, Result};
use clap::{Parser, Subcommand};
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// Builds, runs and tests Bulkhead.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", version)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Boot the image in an emulator and join its serial console
    Run(Run),
    /// Build the programs and print where they are
    Build,
}

#[derive(Debug, clap::Args)]
struct Run {
    /// Hold input until this regular expression is seen
    #[arg(long, value_name = "REGEX", default_value = r"^\S* ?# $")]
    after: String,
    /// End with success when this regular expression is seen
    #[arg(long, value_name = "REGEX")]
    until: Option<String>,
    /// Give up after so many emulated seconds
    #[arg(long, value_name = "EMULATED_SECONDS")]
    timeout: Option<u32>,
    /// Copy the serial console to this file
    #[arg(long, value_name = "FILE")]
    log: Option<PathBuf>,
    /// Logical processors of the machine
    #[arg(long, value_name = "N", default_value_t = 1)]
    cpus: u32,
    /// CPU model of the machine, as Bochs names it
    #[arg(long, value_name = "NAME", default_value = CPU_MODEL)]
    cpu_model: String,
}

impl Cli {
    /// Does what was asked.
    ///
    /// # Errors
    /// Whatever kept it from being done.
    pub fn run(self) -> Result<ExitCode> {
        match self.command {
            Command::Run(args) => args.run(),
            Command::Build => {
                let built = build::programs()?;
                println!("{}\n{}", built.boot.display(), built.hypervisor.display());
                Ok(ExitCode::SUCCESS)
            }
        }
    }
}

impl Run {
    fn run(self) -> Result<ExitCode> {
        let programs = build::programs()?;
        let contents = image::Contents::new(&programs, "");
        let folder = tempfile::tempdir()?;
        let disk = folder.path().join("disk.img");
        contents.write(&disk)?;
        let terminal = std::io::stdin().is_terminal();
        let machine = Machine {
            cpu_model: self.cpu_model,
            cpus: self.cpus,
            memory: 512,
            pace: if terminal {
                Pace::WallClock
            } else {
                Pace::Free
            },
            limit: self.timeout,
        };
        let tools = PathBuf::from(std::env::var_os("BULKHEAD_BOCHS").context("BULKHEAD_BOCHS")?);
        let runner = Runner::Bochs(crate::machine::Bochs {
            program: tools.join("bochs"),
            firmware: tools.join("OVMF.fd"),
            address: 0xffc0_0000,
            vga_bios: tools.join("VGABIOS-lgpl-latest"),
        });
        let session = Session {
            after: self.after,
            until: self.until,
            log: self.log,
        };
        let running = runner.start(&machine, &disk)?;
        match session.join(running)? {
            Outcome::Off | Outcome::Seen | Outcome::Left => Ok(ExitCode::SUCCESS),
            Outcome::Signal(signal) => Ok(ExitCode::from(128 + u8::try_from(signal).unwrap_or(0))),
            Outcome::Failed(why) => {
                eprintln!("error: {why}");
                Ok(ExitCode::FAILURE)
            }
        }
    }
}
