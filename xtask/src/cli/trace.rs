//! `cargo xtask trace`.

use super::size::mebibytes;
use super::{load, write_image};
use crate::ctl::{self, Client, Which};
use crate::machine::{CPU_MODEL, Machine, Topology};
use crate::own::Own;
use crate::report::Reporter;
use crate::tools::{self, Choice};
use crate::trace::{self, Recording, Wanted};
use crate::{need, workspace};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread::sleep;

/// Where the files go unless said.
const OUTPUT: &str = "target/trace";
/// Emulated seconds that a machine may take beside those that it is watched: for its firmware, and for the answers.
const BESIDE: u64 = 120;

#[derive(Debug, Args)]
pub(super) struct Trace {
    /// How long to watch, in the machine's time, such as "50 ms"
    #[arg(long = "for", value_name = "TIME", default_value = "50 ms", value_parser = time)]
    length: u64,
    /// Where to write trace.json and trace.svg [default: target/trace]
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    /// Which run to watch, by its process id [default: the only one]
    #[arg(long, value_name = "PID", conflicts_with = "config")]
    run: Option<u32>,
    /// Boot this instead of watching a machine that runs, and switch it off afterwards
    #[arg(long, value_name = "FILE")]
    config: Option<PathBuf>,
    /// When to begin, counted from when the hypervisor is entered, such as "30 s" [default: at once]
    #[arg(long, value_name = "TIME", requires = "config", value_parser = time)]
    at: Option<u64>,
    /// Logical processors of the machine, or packages:cores:threads such as 1:2:2 [default: what the config needs]
    #[arg(long, value_name = "N", requires = "config")]
    cpus: Option<Topology>,
    /// Memory of the machine, such as 1GiB [default: what the config needs, and 512MiB at least]
    #[arg(long, value_name = "SIZE", requires = "config", value_parser = mebibytes)]
    memory: Option<u32>,
    /// CPU model of the machine, as Bochs names it
    #[arg(long, value_name = "NAME", default_value = CPU_MODEL)]
    cpu_model: String,
    /// What plays the machine
    #[arg(long, value_name = "NAME", default_value = "auto")]
    runner: Choice,
}

/// Reads a time such as `50 ms`.
pub(super) fn time(text: &str) -> Result<u64, String> {
    match spec::Nanos::parse(text) {
        Some(spec::Nanos(nanos @ 1..)) => Ok(nanos),
        _ => Err("write it as a whole number of ns, us, ms or s, such as \"50 ms\"".to_owned()),
    }
}

impl Trace {
    pub(super) fn run(self) -> Result<ExitCode> {
        let report = Reporter::new();
        let folder = self
            .output
            .clone()
            .unwrap_or_else(|| workspace::root().join(OUTPUT));
        let recording = match self.config.clone() {
            Some(config) => self.of_own(config, &report)?,
            None => self.of_running()?,
        };
        for ring in &recording.cores {
            let (core, events) = (ring.core, ring.events());
            report.say("trace", format_args!("core {core}: {events} events"));
            if ring.lost != 0 {
                report.warn(format_args!(
                    "events of core {core} that were overwritten before they could be read: {}; watch for a shorter time",
                    ring.lost
                ));
            }
            if ring.unknown != 0 {
                report.warn(format_args!(
                    "events of core {core} of a later version than this xtask, which are left out: {}",
                    ring.unknown
                ));
            }
        }
        let [json, svg] = trace::write(&recording, &folder)?;
        report.say(
            "trace",
            format_args!(
                "{} is the picture; https://ui.perfetto.dev opens {}",
                workspace::display(&svg),
                workspace::display(&json)
            ),
        );
        Ok(ExitCode::SUCCESS)
    }

    /// Of a machine that a `run` has.
    fn of_running(&self) -> Result<Recording> {
        let which = self.run.map_or(Which::Only, Which::Process);
        let mut client = Client::find(&ctl::folder()?, which)?;
        let wanted = Wanted {
            at: None,
            length: self.length,
        };
        trace::collect(&mut |command| client.ask(command), &mut sleep, wanted)
    }

    /// Of a machine of its own.
    fn of_own(self, config: PathBuf, report: &Reporter) -> Result<Recording> {
        let config = load(Some(config), report)?;
        let wanted = Wanted {
            at: self.at,
            length: self.length,
        };
        let seconds = (self.at.unwrap_or(0).saturating_add(self.length)).div_ceil(1_000_000_000);
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
            limit: u32::try_from(seconds.saturating_add(BESIDE)).ok(),
            ..Machine::default()
        };
        let runner = tools::runner(self.runner, report)?;
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        write_image(&config, &disk, report)?;
        report.say("machine", "boots, and is watched; nobody has its consoles");
        let own = Own::up(runner.start(&machine, &disk)?)?;
        let recording = trace::collect(&mut |command| own.ask(command), &mut sleep, wanted)?;
        own.off()?;
        Ok(recording)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        trace: Trace,
    }

    fn trace(words: &[&str]) -> Result<Trace, clap::Error> {
        let line = Line::try_parse_from([&["trace"], words].concat());
        line.map(|line| line.trace)
    }

    #[test]
    fn times_are_read_with_their_unit() {
        let words = ["--config", "a.toml", "--at", "30 s", "--for", "50us"];
        let it = trace(&words).unwrap();
        assert_eq!((it.at, it.length), (Some(30_000_000_000), 50_000));
        assert_eq!(trace(&[]).unwrap().length, 50_000_000);
        for wrong in ["50", "0 ms", "1.5 s", "-1 s", ""] {
            assert!(trace(&["--for", wrong]).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_is_of_a_machine_of_its_own_needs_a_config() {
        for words in [["--at", "1 s"], ["--cpus", "2"], ["--memory", "1GiB"]] {
            assert!(trace(&words).is_err(), "{words:?}");
        }
        assert!(trace(&["--config", "a.toml", "--run", "7"]).is_err());
    }
}
