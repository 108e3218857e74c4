//! What xtask and the emulator tests share.

pub mod build;
pub mod cli;
pub mod image;
pub mod machine;
pub mod run;
mod terminal;
pub mod verdict;
pub mod watch;
pub mod workspace;
