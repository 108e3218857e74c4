//! `cargo xtask bench`: what exits cost. One guest's file runs under the hypervisor and on the bare machine, both the
//! same emulated one, whose ticks repeat exactly.
//!
//! The bare machine's form is started by `boot` too: `qemu-tests/bare` takes the hypervisor's place, and loads and
//! enters the same file as the hypervisor does in a VM.

mod boots;
mod row;
mod table;

pub use row::Row;

use crate::report::Reporter;
use crate::{build, supply, tools};
use anyhow::{Context, Result};
use boots::{Boots, Form, Heard};
use row::Measured;
use serde::Serialize;
use std::io::Write;
use std::path::PathBuf;

/// A run of all benchmarks.
#[derive(Clone, Debug)]
pub struct Bench {
    /// CPU model of the machine, as the emulator names it
    pub cpu_model: String,
    /// Logical processors of the machine; rows that need a second one are measured with two at least
    pub cpus: u32,
    /// Where JSON goes; `-` is standard output, in the table's place
    pub json: Option<PathBuf>,
}

/// What came of it, as the JSON has it.
#[derive(Clone, Debug, Serialize)]
pub struct Results {
    /// CPU model of the machine
    pub cpu_model: String,
    /// A line each, in the order of `row::KINDS`
    pub rows: Vec<Row>,
}

impl Bench {
    /// Runs them, and shows what came of it.
    ///
    /// # Errors
    /// When a form does not come to its end, or the file cannot be written.
    pub fn run(&self) -> Result<()> {
        let results = self.measure(&Reporter::new())?;
        let json = || serde_json::to_string_pretty(&results);
        match &self.json {
            Some(path) if path.as_os_str() == "-" => println!("{}", json()?),
            Some(path) => {
                println!("{}", table::of(&results));
                std::fs::write(path, json()? + "\n").with_context(|| path.display().to_string())?;
            }
            None => println!("{}", table::of(&results)),
        }
        Ok(std::io::stdout().flush()?)
    }

    /// Runs them.
    ///
    /// # Errors
    /// When a form does not come to its end.
    pub fn measure(&self, report: &Reporter) -> Result<Results> {
        supply::targets(report)?;
        report.say("build", "the hypervisor, the bare program, the guests");
        let boots = Boots {
            runner: tools::bochs(report)?,
            cpu_model: self.cpu_model.clone(),
            bulkhead: build::programs()?,
            bare: build::bare()?,
            guests: build::guests()?,
            debian: supply::guest(report, boots::SUITE)?,
        };
        let mut forms = [Form::Bare, Form::Bulkhead].map(|form| (form, Measured::default()));
        let several = self.cpus.max(2);
        for (form, measured) in &mut forms {
            let heard = boots.guest(*form, self.cpus, report)?;
            measured.take(&heard, self.cpus)?;
            if self.cpus != several {
                // The rows of one processor are measured already: only new ones are taken.
                let heard = boots.guest(*form, several, report)?;
                measured.take(&heard, several)?;
            }
            let heard: Heard = boots.debian(*form, self.cpus, report)?;
            measured.take(&heard, self.cpus)?;
        }
        let [(_, bare), (_, bulkhead)] = forms;
        Ok(Results {
            cpu_model: self.cpu_model.clone(),
            rows: row::rows(&bulkhead, &bare),
        })
    }
}
