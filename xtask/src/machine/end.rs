//! How an emulator ended.

use std::fmt;

/// How an emulator ended.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum End {
    /// The machine was switched off by what runs on it
    PowerOff,
    /// The limit on emulated time
    Limit,
    /// A triple fault, or what else the emulator cannot go on from
    Crash(String),
    /// We ended it
    Killed,
}

impl fmt::Display for End {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            End::PowerOff => f.write_str("the machine was switched off"),
            End::Limit => f.write_str("the limit on emulated time was reached"),
            End::Crash(why) => write!(f, "the emulator stopped: {why}"),
            End::Killed => f.write_str("the emulator was ended"),
        }
    }
}
