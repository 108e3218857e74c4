//! Why the hypervisor is not started.

use crate::elf::ElfError;
use alloc::string::String;
use core::fmt;
use uefi::Status;

/// What boot tells the user before it goes back to the firmware.
#[derive(Debug)]
pub enum Failure {
    /// The config was refused; the text is the one that `cargo xtask check` prints
    Config(String),
    /// A file of our own volume could not be read
    File {
        /// Its path on the volume
        path: String,
        /// What the firmware said
        status: Status,
    },
    /// The firmware has not that much memory
    Memory {
        /// For what
        what: &'static str,
        /// How many bytes
        len: u64,
        /// What the firmware said
        status: Status,
    },
    /// The hypervisor's file is not one that can be loaded
    Hypervisor(ElfError),
    /// The hypervisor wishes for something in its `BootloaderConfig` that is not done here
    Wish(&'static str),
    /// The machine lacks something
    Machine(&'static str),
    /// A bug of ours: what was to be mapped does not fit together
    Tables(paging::Error<paging::Hva>),
    /// The bundle could not be made
    Bundle(plan::bundle::BundleError),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Config(text) => f.write_str(text.trim_end()),
            Self::File { path, status } if *status == Status::NOT_FOUND => write!(
                f,
                "error: {path} was not found\n  = help: copy it to the volume that holds this boot program"
            ),
            Self::File { path, status } => write!(f, "error: cannot read {path}: {status}"),
            Self::Memory { what, len, status } => {
                write!(f, "error: no {len} bytes of memory for {what}: {status}")
            }
            Self::Hypervisor(why) => write!(f, "error: hypervisor.elf: {why}"),
            Self::Wish(what) => write!(f, "error: hypervisor.elf asks for {what}"),
            Self::Machine(what) => write!(f, "error: {what}"),
            Self::Tables(why) => write!(f, "error: page tables: {why:?}"),
            Self::Bundle(why) => write!(f, "error: {why}"),
        }
    }
}

impl From<ElfError> for Failure {
    fn from(why: ElfError) -> Self {
        Self::Hypervisor(why)
    }
}

impl From<paging::Error<paging::Hva>> for Failure {
    fn from(why: paging::Error<paging::Hva>) -> Self {
        Self::Tables(why)
    }
}

impl From<plan::bundle::BundleError> for Failure {
    fn from(why: plan::bundle::BundleError) -> Self {
        Self::Bundle(why)
    }
}
