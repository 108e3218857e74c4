//! Bochs: its configuration file, and what its log says about the end.

use super::child::{Lines, Running};
use super::{End, Machine, Pace};
use crate::image::{CYLINDER, SECTOR};
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::path::{Path, PathBuf};
use std::process::Command;

/// A Bochs and the firmware for it.
#[derive(Clone, Debug)]
pub struct Bochs {
    /// The emulator
    pub program: PathBuf,
    /// Where it looks for files of its own
    pub share: PathBuf,
    /// UEFI firmware
    pub firmware: PathBuf,
    /// Address of the firmware's first byte; its last is the last below 4 GiB
    pub address: u64,
    /// VGA BIOS
    pub vga_bios: PathBuf,
}

impl Pace {
    /// Instructions in an emulated second. Free running wants few, so that firmware's delays and baud rates cost
    /// little; with the wall clock it must be near what the host can do, or the machine is slower than it need be.
    fn ips(self) -> u64 {
        match self {
            Pace::Free => 50_000_000,
            Pace::WallClock => 200_000_000,
        }
    }
}

/// The names in what `bochs -help cpu` prints: a line each, between a heading and an empty line.
fn models(help: &str) -> Vec<&str> {
    help.lines()
        .map(str::trim)
        .skip_while(|line| !line.starts_with("Supported CPU models"))
        .skip(1)
        .skip_while(|line| line.is_empty())
        .take_while(|line| !line.is_empty())
        .collect()
}

impl Bochs {
    pub(super) fn start(&self, machine: &Machine, disk: &Path) -> Result<Running> {
        self.knows(&machine.cpu_model)?;
        let folder = tempfile::Builder::new().prefix("bulkhead-").tempdir()?;
        let log = folder.path().join("bochs.log");
        let lines = Lines::open()?;
        let size = disk
            .metadata()
            .with_context(|| disk.display().to_string())?
            .len();
        let config = self.config(machine, disk, size, &log, lines.ports()?);
        let file = folder.path().join("bochsrc");
        std::fs::write(&file, config)?;
        let mut command = Command::new(&self.program);
        command.env("BXSHARE", &self.share);
        // A clock that is given in seconds is shown in local time.
        command.env("TZ", "UTC");
        command.arg("-q").arg("-f").arg(&file).arg("-unlock");
        if let Some(seconds) = machine.limit {
            // Meant for benchmarks: ends the emulator after so many million ticks.
            let millions = u64::from(seconds) * machine.pace.ips() / 1_000_000;
            command.arg("-benchmark").arg(millions.to_string());
        }
        Running::spawn(command, lines, folder, log, Box::new(end_by_log))
            .with_context(|| self.program.display().to_string())
    }

    /// Refuses a CPU model that this build has not: Bochs itself would say so only in its log.
    fn knows(&self, model: &str) -> Result<()> {
        let help = Command::new(&self.program)
            .env("BXSHARE", &self.share)
            .args(["-help", "cpu"])
            .output()
            .with_context(|| self.program.display().to_string())?;
        let text = [help.stdout, help.stderr].concat();
        let text = String::from_utf8_lossy(&text);
        let models = models(&text);
        // A build that answers otherwise may still know the model.
        if models.is_empty() || models.contains(&model) {
            return Ok(());
        }
        bail!(
            "the emulator has no CPU model `{model}`; it has {}",
            models.join(", ")
        )
    }

    fn config(
        &self,
        machine: &Machine,
        disk: &Path,
        size: u64,
        log: &Path,
        ports: [u16; 2],
    ) -> String {
        let cylinders = size / (SECTOR * CYLINDER);
        let sync = match machine.pace {
            Pace::Free => "none",
            Pace::WallClock => "slowdown",
        };
        let mut text = String::new();
        let mut line = |args: std::fmt::Arguments| {
            // A String takes every write.
            let _ = text.write_fmt(args);
            text.push('\n');
        };
        line(format_args!("config_interface: textconfig"));
        line(format_args!("display_library: nogui"));
        // The firmware reads MSR 0x17, which no model has: unknown MSRs are logged and read zero.
        line(format_args!(
            "cpu: model={}, count={}, ips={}, reset_on_triple_fault=0, ignore_bad_msrs=1",
            machine.cpu_model,
            machine.cpus,
            machine.pace.ips()
        ));
        line(format_args!("memory: guest={0}, host={0}", machine.memory));
        line(format_args!(
            "romimage: file={}, address={:#x}",
            self.firmware.display(),
            self.address
        ));
        line(format_args!(
            "vgaromimage: file={}",
            self.vga_bios.display()
        ));
        line(format_args!("pci: enabled=1, chipset=i440fx"));
        let clock = machine.clock.map_or("utc".into(), |s| s.to_string());
        line(format_args!("clock: sync={sync}, time0={clock}"));
        // Sockets lose nothing: Bochs waits when we do not read, and takes a byte only when its FIFO is empty.
        for (com, port) in (1..).zip(ports) {
            line(format_args!(
                "com{com}: enabled=1, mode=socket-client, dev=127.0.0.1:{port}"
            ));
        }
        line(format_args!(
            "ata0-master: type=disk, path={}, mode=flat, cylinders={cylinders}, heads=16, spt=63",
            disk.display()
        ));
        line(format_args!("boot: disk"));
        line(format_args!("log: {}", log.display()));
        line(format_args!("panic: action=fatal"));
        line(format_args!("error: action=report"));
        // Each access to the APIC base is an "info", and costs more than all else together.
        line(format_args!("info: action=ignore"));
        line(format_args!("debug: action=ignore"));
        text
    }
}

/// Bochs ends with exit code 1 on an ACPI power-off as on every other fatal message: only its log tells them apart.
fn end_by_log(log: &str, status: std::process::ExitStatus) -> End {
    let fatal = log
        .lines()
        .find_map(|line| line.split_once(">>PANIC<< ").map(|(_, why)| why.trim()));
    match fatal {
        Some(why) if why.contains("soft power off") => End::PowerOff,
        Some(why) => End::Crash(why.to_owned()),
        // A fault of its own: it ends at its limit, not by a signal.
        None if status.code().is_none() => End::Crash(status.to_string()),
        None => End::Limit,
    }
}

#[cfg(test)]
mod tests {
    use super::models;

    #[test]
    fn the_models_are_what_stands_under_the_heading() {
        let help =
            "Supported CPU models:\n\ni386\nbroadwell_ult\n\n00000000000i[SIM   ] quit_sim\n";
        assert_eq!(models(help), ["i386", "broadwell_ult"]);
        assert!(models("usage: another emulator").is_empty());
    }
}
