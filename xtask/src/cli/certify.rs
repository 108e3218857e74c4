//! `cargo xtask certify`.

use super::size::mebibytes;
use super::trace::time;
use super::{load, write_image};
use crate::certify::{self, Asked};
use crate::machine::{CPU_MODEL, Machine, Topology};
use crate::own::Own;
use crate::report::Reporter;
use crate::tools::{self, Choice};
use crate::{need, workspace};
use anyhow::Result;
use checker::Whole;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;

/// Where the files go unless said.
const OUTPUT: &str = "target/certificate";
/// Emulated seconds that a machine may take beside those that are asked for: for its firmware, and for the answers.
const BESIDE: u64 = 300;

#[derive(Debug, Args)]
pub(super) struct Certify {
    /// What to boot [default: examples/debian.toml]
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// Where to write certificate.html and certificate.json [default: target/certificate]
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// When to ask, counted from when the hypervisor is entered, such as "30 s" [default: as soon as all VMs run]
    #[arg(long, value_name = "TIME", value_parser = time)]
    at: Option<u64>,
    /// Logical processors of the machine, or packages:cores:threads such as 1:2:2 [default: what the config needs]
    #[arg(long, value_name = "N")]
    cpus: Option<Topology>,
    /// Memory of the machine, such as 1GiB [default: what the config needs, and 512MiB at least]
    #[arg(long, value_name = "SIZE", value_parser = mebibytes)]
    memory: Option<u32>,
    /// CPU model of the machine, as Bochs names it
    #[arg(long, value_name = "NAME", default_value = CPU_MODEL)]
    cpu_model: String,
    /// What plays the machine
    #[arg(long, value_name = "NAME", default_value = "auto")]
    runner: Choice,
}

impl Certify {
    pub(super) fn run(self) -> Result<ExitCode> {
        let report = Reporter::new();
        let folder = self
            .out
            .clone()
            .unwrap_or_else(|| workspace::root().join(OUTPUT));
        let config = load(self.config.clone(), &report)?;
        let survey = self.survey(&config, &report)?;
        let certificate = checker::certify(&config.name, &config.plan, survey);
        let [html, json] = certify::write(&certificate, &folder)?;
        print!("{}", certificate.summary());
        report.say(
            "certificate",
            format_args!(
                "{}, for people; {}, for programs",
                workspace::display(&html),
                workspace::display(&json)
            ),
        );
        Ok(if certificate.holds() {
            ExitCode::SUCCESS
        } else {
            ExitCode::FAILURE
        })
    }

    /// Boots a machine of its own and has it tell of itself.
    fn survey(self, config: &crate::config::Config, report: &Reporter) -> Result<Whole> {
        let at = self.at.unwrap_or(0);
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
            limit: u32::try_from(at.div_ceil(1_000_000_000).saturating_add(BESIDE)).ok(),
            ..Machine::default()
        };
        let runner = tools::runner(self.runner, report)?;
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        write_image(config, &disk, report)?;
        report.say(
            "machine",
            "boots, and is asked what its VMs reach; nobody has its consoles",
        );
        let own = Own::up(runner.start(&machine, &disk)?)?;
        let mut asked = Asked {
            ask: &mut |command| own.ask(command),
            pause: &mut sleep,
        };
        asked.wait(&config.plan, at)?;
        let survey = asked.collect(&config.plan)?;
        own.off()?;
        Ok(survey)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        certify: Certify,
    }

    #[test]
    fn files_and_time_are_read() {
        let words = [
            "certify", "--config", "a.toml", "--out", "b", "--at", "30 s",
        ];
        let it = Line::try_parse_from(words).unwrap().certify;
        assert_eq!(it.config, Some("a.toml".into()));
        assert_eq!(it.out, Some("b".into()));
        assert_eq!(it.at, Some(30_000_000_000));
        assert!(Line::try_parse_from(["certify", "--at", "soon"]).is_err());
    }
}
