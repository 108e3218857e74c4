//! The way from `cargo xtask ctl` to the machine of a running `cargo xtask run`: a Unix socket that carries the frames of
//! `proto`, as the machine's second serial line does.

mod client;
mod folder;
mod server;
#[cfg(test)]
mod tests;

pub use client::{Client, Which};
pub use folder::folder;
pub use server::Server;
