//! QEMU: its command line.

use super::child::{Lines, Running};
use super::{End, Machine};
use anyhow::{Context, Result};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A QEMU and the firmware for it.
#[derive(Clone, Debug)]
pub struct Qemu {
    /// The emulator
    pub program: PathBuf,
    /// UEFI firmware
    pub code: PathBuf,
    /// Its variables as they are at first; each run gets a copy
    pub vars: PathBuf,
    /// Run on KVM, with VT-x for the guest; else on software emulation, which has none
    pub kvm: bool,
}

impl Qemu {
    pub(super) fn start(&self, machine: &Machine, disk: &Path) -> Result<Running> {
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        // It has no log but its standard error.
        let log = PathBuf::from("/dev/null");
        let lines = Lines::open()?;
        let (mut command, vars) = (self.command(), self.own_vars(folder.path())?);
        command.args(self.arguments(machine, disk, &vars));
        for (com, port) in (1..).zip(lines.ports()?) {
            let line = format!("socket,id=com{com},host=127.0.0.1,port={port}");
            command.args(["-chardev", &line, "-serial", &format!("chardev:com{com}")]);
        }
        // There is no limit on emulated time that works with KVM: emulated seconds are then the wall clock's.
        let limit = machine
            .limit
            .map(|seconds| Duration::from_secs(seconds.into()));
        let judge = |_: &str, status: std::process::ExitStatus| match status.success() {
            true => End::PowerOff,
            false => End::Crash(status.to_string()),
        };
        let mut running = Running::spawn(command, lines, folder, log, Box::new(judge))
            .with_context(|| self.program.display().to_string())?;
        running.set_limit(limit);
        Ok(running)
    }

    pub(super) fn command(&self) -> Command {
        Command::new(&self.program)
    }

    /// Variables of this run's own.
    pub(super) fn own_vars(&self, folder: &Path) -> Result<PathBuf> {
        let vars = folder.join("vars.fd");
        std::fs::copy(&self.vars, &vars).with_context(|| self.vars.display().to_string())?;
        Ok(vars)
    }

    /// All but the serial lines.
    pub(super) fn arguments(&self, machine: &Machine, disk: &Path, vars: &Path) -> Vec<String> {
        let (accel, cpu) = if self.kvm {
            ("kvm", "host,+vmx")
        } else {
            ("tcg", "max")
        };
        let mut args: Vec<String> = Vec::new();
        let mut arg = |name: &str, value: String| args.extend([name.to_owned(), value]);
        arg("-machine", format!("q35,accel={accel}"));
        arg("-cpu", cpu.to_owned());
        arg("-smp", machine.cpus.smp());
        arg("-m", format!("{}M", machine.memory));
        // Commas in a value are doubled (qemu(1), "-drive").
        let file = |path: &Path| path.display().to_string().replace(',', ",,");
        arg(
            "-drive",
            format!("if=pflash,format=raw,readonly=on,file={}", file(&self.code)),
        );
        arg(
            "-drive",
            format!("if=pflash,format=raw,file={}", file(vars)),
        );
        arg("-drive", format!("format=raw,file={}", file(disk)));
        arg("-display", "none".to_owned());
        arg("-nic", "none".to_owned());
        arg(
            "-action",
            "reboot=shutdown,shutdown=poweroff,panic=exit-failure".to_owned(),
        );
        args
    }
}
