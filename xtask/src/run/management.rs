//! What a run offers beside the machine's line: consoles of guests, and the socket of `cargo xtask ctl`.

use crate::consoles::{Console, Kind};
use crate::ctl::{self, Server};
use crate::link::Link;
use crate::machine::Control;
use crate::report::Reporter;
use anyhow::Result;
use std::sync::{Arc, OnceLock};
use std::thread;
use std::time::Duration;

/// How long the hypervisor may take to look at its second line.
const PATIENCE: Duration = Duration::from_secs(600);

/// What a run offers beside the machine's line, until this is dropped.
pub(super) struct Management {
    link: Link,
    /// Whether someone waits for the consoles
    consoles: bool,
    _server: Option<Server>,
}

impl Management {
    /// Opens all of it, and tells where the consoles are.
    pub(super) fn open(
        control: Control,
        kind: Option<Kind>,
        vms: &[String],
        report: &Reporter,
    ) -> Result<Management> {
        let link = Arc::new(OnceLock::<Link>::new());
        let mut consoles = Vec::new();
        for (number, name) in vms.iter().enumerate() {
            let Some(kind) = kind else { break };
            let link = Arc::clone(&link);
            let console = Console::open(kind, move |bytes| {
                if let Some(link) = link.get() {
                    link.type_to(number, bytes);
                }
            })?;
            report.say(
                "console",
                format_args!("{name}: `{}` joins it", console.place()),
            );
            consoles.push(console);
        }
        let printed = move |vm: usize, bytes: &[u8]| {
            if let Some(console) = consoles.get(vm) {
                console.print(bytes);
            }
        };
        let link = link
            .get_or_init(|| Link::new(control, Box::new(printed)))
            .clone();
        // A machine without its socket is still a machine.
        let server = ctl::folder().and_then(|folder| Server::open(&folder, &link, vms));
        let server = server
            .map_err(|error| {
                report.warn(format_args!(
                    "`cargo xtask ctl` will not find this machine: {error:#}"
                ));
            })
            .ok();
        Ok(Management {
            link,
            consoles: kind.is_some(),
            _server: server,
        })
    }

    /// The hypervisor is up.
    pub(super) fn came_up(&self) {
        self.link.came_up();
        if self.consoles {
            let link = self.link.clone();
            // Without an answer the consoles stay empty; `ctl` says why.
            thread::spawn(move || link.greet(PATIENCE));
        }
    }
}
