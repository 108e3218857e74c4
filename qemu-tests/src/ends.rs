//! The end that a test wants to see.

use regex::Regex;
use xtask::machine::End;
use xtask::verdict;

/// The end that a test wants to see.
#[derive(Clone, Debug, Default)]
pub enum Ends {
    /// The last guest powers off, and with it the machine
    #[default]
    Off,
    /// The last guest comes to its end in another way, and the machine goes off
    Stopped,
    /// `boot` or the hypervisor refuses to run; a machine whose hypervisor refuses goes off too
    Refused,
    /// A line that matches this is seen; the machine is not waited for
    Seen(String),
    /// The emulator stops with a message that matches this
    Crash(String),
}

impl Ends {
    /// The expression that must be on the serial line.
    pub(crate) fn line(&self) -> Option<String> {
        match self {
            Ends::Off | Ends::Stopped => Some(verdict::OFF.to_owned()),
            Ends::Refused => Some(verdict::FATAL.to_owned()),
            Ends::Seen(line) => Some(line.clone()),
            Ends::Crash(_) => None,
        }
    }

    /// The reason for which the hypervisor must have switched the machine off, in the last line of all.
    pub(crate) fn reason(&self) -> Option<&'static str> {
        match self {
            Ends::Off => Some(verdict::POWERED_OFF),
            Ends::Stopped => Some("last-guest-stopped"),
            _ => None,
        }
    }

    /// Whether the machine is to be ended as soon as the expression was seen.
    pub(crate) fn at_once(&self) -> bool {
        matches!(self, Ends::Refused | Ends::Seen(_))
    }

    /// Whether the emulator's end is the right one, when the expression was seen.
    pub(crate) fn agree_with(&self, end: &End) -> bool {
        match (self, end) {
            (Ends::Off | Ends::Stopped, End::PowerOff) | (Ends::Refused | Ends::Seen(_), _) => true,
            (Ends::Crash(why), End::Crash(message)) => {
                Regex::new(why).is_ok_and(|why| why.is_match(message))
            }
            _ => false,
        }
    }
}
