//! The one door: `cargo xtask COMMAND`.

use clap::Parser;
use std::io::IsTerminal;
use std::process::ExitCode;
use xtask::cli::Cli;

fn main() -> ExitCode {
    match Cli::parse().run() {
        Ok(code) => code,
        Err(error) => {
            match error.downcast_ref::<plan::Refusal>() {
                Some(refusal) => eprint!("{}", refusal.render(std::io::stderr().is_terminal())),
                None => eprintln!("error: {error:#}"),
            }
            ExitCode::FAILURE
        }
    }
}
