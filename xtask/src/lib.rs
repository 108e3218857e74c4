//! What xtask and the emulator tests share.

pub mod build;
pub mod cli;
pub mod config;
pub mod image;
mod lints;
pub mod machine;
mod nested;
pub mod run;
mod terminal;
pub mod test;
pub mod tools;
pub mod verdict;
pub mod watch;
pub mod workspace;
