//! Each guest's console by itself, beside the machine's one line: a pseudoterminal or a TCP port of this computer.
//!
//! Nobody need be there; who comes, and comes again, gets the last 64 KiB and then what the guest prints. The machine never
//! waits for anyone.

mod pty;
mod scrollback;
mod tcp;
#[cfg(test)]
mod tests;

use anyhow::Result;
use clap::ValueEnum;
use scrollback::Scrollback;
use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

/// How long a thread waits before it looks whether its listener has gone.
const IDLE: Duration = Duration::from_millis(100);

/// Takes what someone types.
type Typed = Arc<dyn Fn(&[u8]) + Send + Sync>;

/// What a console is.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Kind {
    /// A pseudoterminal, for screen and the like
    Pty,
    /// A TCP port on localhost, for telnet, nc and the like
    Tcp,
}

/// Where a console is.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Place {
    /// The file to open
    Pty(PathBuf),
    /// The address to connect to
    Tcp(SocketAddr),
}

impl fmt::Display for Place {
    /// The command that joins it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Place::Pty(path) => write!(f, "screen {}", path.display()),
            Place::Tcp(address) => write!(f, "telnet {} {}", address.ip(), address.port()),
        }
    }
}

/// One guest's console. It is closed when this is dropped.
pub struct Console {
    printed: Arc<Scrollback>,
    place: Place,
}

impl Console {
    /// Opens it; `typed` gets what is typed there, from a thread that waits for it.
    ///
    /// # Errors
    /// When the host has no more pseudoterminals or sockets.
    pub fn open(kind: Kind, typed: impl Fn(&[u8]) + Send + Sync + 'static) -> Result<Console> {
        let printed = Arc::new(Scrollback::default());
        let (shared, typed) = (Arc::clone(&printed), Arc::new(typed));
        let place = match kind {
            Kind::Pty => Place::Pty(pty::open(shared, typed)?),
            Kind::Tcp => Place::Tcp(tcp::open(shared, typed)?),
        };
        Ok(Console { printed, place })
    }

    /// Where it is.
    #[must_use]
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What the guest prints; this does not wait.
    pub fn print(&self, bytes: &[u8]) {
        self.printed.add(bytes);
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.printed.close();
    }
}
