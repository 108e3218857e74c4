//! What xtask and the emulator tests share.

pub mod bench;
mod bound;
pub mod build;
pub mod cli;
pub mod config;
pub mod consoles;
pub mod ctl;
pub mod doctor;
pub mod faults;
pub mod image;
pub mod kit;
pub mod link;
mod lints;
pub mod machine;
pub mod need;
mod nested;
pub mod report;
pub mod resolve;
pub mod run;
pub mod supply;
mod terminal;
pub mod test;
pub mod tools;
pub mod trace;
pub mod verdict;
pub mod watch;
pub mod workspace;
