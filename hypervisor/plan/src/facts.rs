//! What the asker knows beside the text.

use crate::Smt;

/// What a config is held against. A workstation knows less than the machine that boots.
#[derive(Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Memory for guests, in bytes; `None` if it is unknown
    pub memory: Option<u64>,
    /// Cores that run guests; `None` if they are unknown
    pub cores: Option<Cores>,
    /// Size in bytes of a file beside the config, by the path that the config gives with `/` between its parts;
    /// answers `None` if there is no such file. Without it files are taken to be right.
    pub files: Option<&'a SizeOf<'a>>,
}

/// Answers with the size in bytes of the file at a path, or `None` if there is none.
pub type SizeOf<'a> = dyn Fn(&str) -> Option<u64> + 'a;

/// How many cores there are for guests.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Cores {
    /// Physical cores with at least one usable thread
    pub physical: u32,
    /// Usable threads
    pub threads: u32,
}

impl Cores {
    /// How many a plan can name.
    #[must_use]
    pub fn named(self, smt: Smt) -> u32 {
        match smt {
            Smt::Off => self.physical,
            Smt::Share => self.threads,
        }
    }
}
