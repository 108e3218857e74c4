//! `cargo xtask run`.

use super::size::mebibytes;
use super::{load, write_image};
use crate::consoles::Kind;
use crate::machine::{CPU_MODEL, Machine, Pace, Topology};
use crate::report::Reporter;
use crate::run::{Outcome, Session};
use crate::tools::{self, Choice};
use crate::{need, supply};
use anyhow::{Result, bail};
use clap::Args;
use std::io::IsTerminal;
use std::path::PathBuf;
use std::process::ExitCode;

/// From here on someone takes what is typed: before, only firmware did.
const UP: &str = r"bulkhead: machine: up ";

#[derive(Debug, Args)]
pub(super) struct Run {
    /// What to boot [default: examples/debian.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Hold input until this regular expression is seen [default: a shell's prompt; at a terminal the
    /// hypervisor's first]
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
    /// Logical processors of the machine, or packages:cores:threads such as 1:2:2 [default: what the config needs]
    #[arg(long, value_name = "N")]
    cpus: Option<Topology>,
    /// Memory of the machine, such as 1GiB [default: what the config needs, and 512MiB at least]
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    memory: Option<u32>,
    /// Log the exit statistics of each VM when it ends
    #[arg(long)]
    stats: bool,
    /// Give each VM a console of its own, beside the machine's line
    #[arg(long, value_name = "KIND")]
    consoles: Option<Kind>,
    /// CPU model of the machine, as Bochs names it
    #[arg(long, value_name = "NAME", default_value = CPU_MODEL)]
    cpu_model: String,
    /// What plays the machine
    #[arg(long, value_name = "NAME", default_value = "auto")]
    runner: Choice,
}

impl Run {
    pub(super) fn run(self) -> Result<ExitCode> {
        let report = Reporter::new();
        let mut config = load(self.config, &report)?;
        if self.stats {
            config = config.with_statistics()?;
        }
        let terminal = std::io::stdin().is_terminal();
        let machine = Machine {
            cpu_model: self.cpu_model,
            cpus: match self.cpus {
                Some(cpus) => cpus,
                None => Topology::flat(need::cores(&config.plan)?),
            },
            memory: match self.memory {
                Some(memory) => memory,
                None => need::memory(&config.plan, config.size_of_files()?)?,
            },
            pace: if terminal {
                Pace::WallClock
            } else {
                Pace::Free
            },
            limit: self.timeout,
            clock: None,
        };
        let runner = tools::runner(self.runner, &report)?;
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        let programs = write_image(&config, &disk, &report)?;
        let default = if terminal { UP } else { supply::PROMPT };
        let session = Session {
            after: self.after.unwrap_or_else(|| default.to_owned()),
            until: self.until,
            limited: self.timeout.is_some(),
            log: self.log,
            consoles: self.consoles,
            vms: config.plan.vms.iter().map(|vm| vm.name.clone()).collect(),
            hypervisor: Some(programs.hypervisor),
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
