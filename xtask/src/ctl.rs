//! The way from `cargo xtask ctl` to the machine of a running `cargo xtask run`: a Unix socket that carries the frames of
//! `proto`, as the machine's second serial line does.

mod client;
mod folder;
mod server;
#[cfg(test)]
mod tests;

use anyhow::{Result, anyhow, bail};
use monitor::command::{Asked, parse};
use proto::Command;

pub use client::{Client, Which};
pub use folder::folder;
pub use server::Server;

/// The command that a line means, as at the machine's prompt; names of VMs are taken for right.
///
/// # Errors
/// When it means none, or only asks for help.
pub fn command(line: &str) -> Result<Command> {
    let words: Vec<&str> = line.split_whitespace().collect();
    match parse(&words, &[] as &[&str]).map_err(|why| anyhow!(why))? {
        Asked::Machine(command) => Ok(command),
        Asked::Help(_) => bail!("`{line}` asks nothing of the machine"),
    }
}
