//! `cargo xtask ctl`.

use crate::ctl::{self, Client, Which};
use anyhow::{Context, Result, anyhow, bail};
use clap::Args;
use monitor::command::{Asked, parse};
use monitor::render::{render, top};
use proto::{Answer, Command, MachineTimes};
use std::process::ExitCode;
use std::thread::sleep;
use std::time::Duration;

#[derive(Debug, Args)]
pub(super) struct Ctl {
    /// Which run, by its process id [default: the only one]
    #[arg(long, value_name = "PID")]
    run: Option<u32>,
    /// Print the answer as JSON
    #[arg(long)]
    json: bool,
    /// Ask again and again, so many seconds apart, and show what went on in between; with `top`
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u32).range(1..))]
    every: Option<u32>,
    /// The command, as at the machine's prompt, such as `vm list`; `help` lists them
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

impl Ctl {
    pub(super) fn run(self) -> Result<ExitCode> {
        // What is wrong in itself is told without a machine.
        let asked = |names: &[String]| parse(&self.words, names).map_err(|why| anyhow!(why));
        match asked(&[])? {
            Asked::Help(text) => {
                print!("{text}");
                return Ok(ExitCode::SUCCESS);
            }
            Asked::Machine(command) if self.every.is_some() && command != Command::Times => {
                bail!("Only `top` is asked again and again: leave `--every` out.");
            }
            Asked::Machine(_) => {}
        }
        let which = self.run.map_or(Which::Only, Which::Process);
        let mut client = Client::find(&ctl::folder()?, which)?;
        let names = client.vms()?;
        let Asked::Machine(command) = asked(&names)? else {
            bail!("a command has become help");
        };
        let Some(seconds) = self.every else {
            return self.show(&client.ask(command)?, None);
        };
        let mut before = None;
        loop {
            let answer = client.ask(command.clone())?;
            self.show(&answer, before.as_ref())?;
            before = match answer {
                Answer::Times(times) => Some(times),
                _ => None,
            };
            sleep(Duration::from_secs(seconds.into()));
        }
    }

    /// Shows an answer; of times what went on since those `before`.
    fn show(&self, answer: &Answer, before: Option<&MachineTimes>) -> Result<ExitCode> {
        let refused = matches!(answer, Answer::Refused(_));
        if self.json {
            let json = serde_json::to_string_pretty(answer);
            println!(
                "{}",
                json.context("The machine's answer is of a later version than this xtask.")?
            );
        } else if let Answer::Refused(why) = answer {
            bail!("{why}");
        } else if let Answer::Times(times) = answer {
            print!("{}", top(times, before));
        } else {
            print!("{}", render(answer));
        }
        Ok(if refused {
            ExitCode::FAILURE
        } else {
            ExitCode::SUCCESS
        })
    }
}
