//! The boots: the benchmark guest and Debian, each under the hypervisor and bare.

use crate::build::Programs;
use crate::image::{Contents, Source};
use crate::machine::serial;
use crate::machine::{Machine, Runner, Topology};
use crate::report::Reporter;
use crate::supply::{GuestKit, Suite, first_process};
use crate::watch::Watch;
use anyhow::{Context, Result, bail};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::time::Duration;

/// Whose kernel is booted.
pub(super) const SUITE: Suite = Suite::Bookworm;

/// The last line of a guest that has measured all; it has to be whole, since lines come in pieces.
const MEASURED: &str = r"^guest: done passed=1 failed=0\r?\n";
/// The line of Debian's first process.
const FIRST_PROCESS: &str = r"^init: tsc=\d+\r?\n";

/// Emulated seconds: of the benchmark guest, which needs fewer than the firmware's 13, and of Debian.
const GUEST_LIMIT: u32 = 60;
const DEBIAN_LIMIT: u32 = 240;
/// An emulator that says nothing for so long by the wall clock is stuck.
const STUCK: Duration = Duration::from_secs(300);

/// vCPUs of the benchmark guest where the machine has as many cores.
const VCPUS: u32 = 2;

/// What a kernel runs on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Form {
    /// A VM of the hypervisor's
    Bulkhead,
    /// The machine itself
    Bare,
}

impl Form {
    fn words(self) -> &'static str {
        match self {
            Form::Bulkhead => "under Bulkhead",
            Form::Bare => "bare",
        }
    }
}

/// What a boot has said.
#[derive(Clone, Debug)]
pub(super) struct Heard {
    pub(super) form: Form,
    /// The serial line, its line ends as `\n`
    pub(super) serial: String,
}

/// What boots are made of.
pub(super) struct Boots {
    pub(super) runner: Runner,
    pub(super) cpu_model: String,
    pub(super) bulkhead: Programs,
    pub(super) bare: Programs,
    pub(super) guests: BTreeMap<String, PathBuf>,
    pub(super) debian: GuestKit,
}

impl Boots {
    /// The benchmark guest.
    ///
    /// # Errors
    /// When it does not come to its end.
    pub(super) fn guest(&self, form: Form, cpus: u32, report: &Reporter) -> Result<Heard> {
        let vcpus = match cpus.min(VCPUS) {
            1 => String::new(),
            several => format!("vcpus = {several}\n"),
        };
        let config = format!(
            "[[vm]]\nname = \"bench\"\nkernel = \"bench.elf\"\nformat = \"elf64\"\nmemory = \"16 MiB\"\n{vcpus}"
        );
        let mut contents = Contents::new(self.programs(form), &config);
        contents.add("bulkhead/bench.elf", Source::Path(self.program("bench")?));
        let machine = self.machine(cpus, 256, GUEST_LIMIT);
        report.say(
            "bench",
            format_args!("the guest {}, {cpus} CPUs", form.words()),
        );
        self.boot(form, &contents, &machine, MEASURED)
    }

    /// Debian's kernel, with a first process that says when it is started.
    ///
    /// # Errors
    /// When it does not come so far.
    pub(super) fn debian(&self, form: Form, cpus: u32, report: &Reporter) -> Result<Heard> {
        const CONFIG: &str = "[[vm]]\nname = \"debian\"\nkernel = \"vmlinuz\"\ninitrd = \"initrd.img\"\n\
            cmdline = \"console=ttyS0 quiet\"\nmemory = \"256 MiB\"\n";
        let mut contents = Contents::new(self.programs(form), CONFIG);
        contents.add("bulkhead/vmlinuz", Source::Path(self.debian.kernel.clone()));
        let init = std::fs::read(self.program("init")?)?;
        contents.add("bulkhead/initrd.img", Source::Bytes(first_process(&init)?));
        let machine = self.machine(cpus, 512, DEBIAN_LIMIT);
        report.say("bench", format_args!("Debian {}", form.words()));
        self.boot(form, &contents, &machine, FIRST_PROCESS)
    }

    fn programs(&self, form: Form) -> &Programs {
        match form {
            Form::Bulkhead => &self.bulkhead,
            Form::Bare => &self.bare,
        }
    }

    fn program(&self, name: &str) -> Result<PathBuf> {
        let found = self.guests.get(name).cloned();
        found.with_context(|| format!("there is no tiny guest `{name}`"))
    }

    fn machine(&self, cpus: u32, memory: u32, limit: u32) -> Machine {
        Machine {
            cpu_model: self.cpu_model.clone(),
            cpus: Topology::flat(cpus),
            memory,
            limit: Some(limit),
            // No wall clock, so that a second run comes to the same figures.
            clock: Some(0),
            ..Machine::default()
        }
    }

    fn boot(
        &self,
        form: Form,
        contents: &Contents,
        machine: &Machine,
        until: &str,
    ) -> Result<Heard> {
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let disk = folder.path().join("disk.img");
        contents.write(&disk)?;
        let running = self.runner.start(machine, &disk)?;
        let (events, queue) = channel();
        serial::listen(running.serial()?, events, |bytes| bytes);
        let mut watch = Watch::new(until)?;
        let mut heard = Vec::new();
        let seen = loop {
            match queue.recv_timeout(STUCK) {
                Ok(Some(bytes)) => {
                    heard.extend_from_slice(&bytes);
                    if watch.feed(&bytes) {
                        break true;
                    }
                }
                Ok(None) | Err(RecvTimeoutError::Disconnected | RecvTimeoutError::Timeout) => {
                    break false;
                }
            }
        };
        let serial = String::from_utf8_lossy(&heard).replace("\r\n", "\n");
        if !seen {
            let finished = running.finish(Duration::from_secs(1))?;
            let tail: Vec<_> = serial.lines().rev().take(20).collect();
            let tail: Vec<_> = tail.into_iter().rev().collect();
            bail!(
                "no line matches `{until}` ({}, {})\n{}",
                form.words(),
                finished.end,
                tail.join("\n")
            );
        }
        Ok(Heard { form, serial })
    }
}
