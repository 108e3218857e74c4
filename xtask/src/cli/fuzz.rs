//! `cargo xtask fuzz`.

use crate::fuzz::{self, Run};
use anyhow::Result;
use clap::Args;
use std::path::PathBuf;
use std::process::ExitCode;

#[derive(Debug, Args)]
pub(super) struct Fuzz {
    /// What to fuzz; without it the targets are listed
    target: Option<String>,
    /// How many inputs to try
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    runs: u64,
    /// Where inputs are drawn from: the same each time [default: others each time]
    #[arg(long, value_name = "S")]
    seed: Option<u32>,
    /// Try this one input again, and no others
    #[arg(long, value_name = "FILE", conflicts_with_all = ["runs", "seed", "keep"])]
    input: Option<PathBuf>,
    /// Afterwards keep in the checkout a small part of the inputs, old and new, that reaches as much of the code
    #[arg(long)]
    keep: bool,
}

impl Fuzz {
    pub(super) fn run(self) -> Result<ExitCode> {
        let targets = fuzz::build()?;
        let Some(target) = self.target else {
            targets.names().for_each(|name| println!("{name}"));
            return Ok(ExitCode::SUCCESS);
        };
        if let Some(input) = self.input {
            return targets.again(&target, &input);
        }
        let run = Run {
            runs: self.runs,
            seed: self.seed,
        };
        let code = targets.run(&target, &run)?;
        if self.keep && code == ExitCode::SUCCESS {
            return targets.keep(&target);
        }
        Ok(code)
    }
}
