//! `cargo xtask bench`: its options.

use crate::bench;
use crate::machine::CPU_MODEL;
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Bench {
    /// Write the figures as JSON to this file; `-` for standard output, in the table's place
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// CPU model of the machine, as Bochs names it
    #[arg(long, value_name = "NAME", default_value = CPU_MODEL)]
    cpu_model: String,
    /// Logical processors of the machine; IPIs to another are measured with two at least
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=8))]
    cpus: u32,
}

impl Bench {
    pub(super) fn run(self) -> Result<ExitCode> {
        let bench = bench::Bench {
            cpu_model: self.cpu_model,
            cpus: self.cpus,
            json: self.json,
        };
        bench.run()?;
        Ok(ExitCode::SUCCESS)
    }
}
