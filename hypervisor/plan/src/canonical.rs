//! A plan as config text, each key written out.

use crate::units::Bytes;
use crate::{
    Cyclic, Exits, Format, Interrupts, Plan, Recovery, Reservation, Runs, Share, Smt, Spare, Start,
    Then, Vm,
};
use core::fmt::{self, Write};
use spec::Nanos;

/// The config that reads as this plan.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let smt = match self.smt {
            Smt::Off => "off",
            Smt::Share => "share",
        };
        writeln!(f, "smt = {}\nstatistics = {}", Quotes(smt), self.statistics)?;
        self.vms.iter().try_for_each(|vm| write!(f, "\n{vm}"))?;
        self.cyclic
            .iter()
            .try_for_each(|table| self.table(table, f))
    }
}

impl Plan {
    fn table(&self, table: &Cyclic, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let spare = match table.spare {
            Spare::Idle => "idle",
            Spare::Pool => "pool",
        };
        writeln!(f, "\n[[cyclic]]\ncore = {}", table.core)?;
        writeln!(f, "frame = \"{}\"", Nanos(table.frame))?;
        writeln!(f, "spare = {}\nwindows = [", Quotes(spare))?;
        for window in &table.windows {
            let vm = self.vms.get(window.vm as usize);
            writeln!(
                f,
                "    {{ vm = {}, vcpu = {}, at = \"{}\", length = \"{}\" }},",
                Quotes(vm.map_or("", |vm| &vm.name)),
                window.vcpu,
                Nanos(window.at),
                Nanos(window.length)
            )?;
        }
        writeln!(f, "]")
    }
}

impl fmt::Display for Vm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "[[vm]]")?;
        writeln!(f, "name = {}", Quotes(&self.name))?;
        writeln!(f, "kernel = {}", Quotes(&self.kernel))?;
        let format = match self.format {
            Format::Auto => "auto",
            Format::BzImage => "bzimage",
            Format::Elf64 => "elf64",
            Format::Multiboot => "multiboot",
            Format::Pvh => "pvh",
            Format::Flat { .. } => "flat",
        };
        writeln!(f, "format = {}", Quotes(format))?;
        if let Format::Flat { load, start } = self.format {
            let start = match start {
                Start::Real => "real",
                Start::Protected => "protected",
                Start::Long => "long",
            };
            writeln!(f, "load = \"{load:#x}\"\nstart = {}", Quotes(start))?;
        }
        if let Some(initrd) = &self.initrd {
            writeln!(f, "initrd = {}", Quotes(initrd))?;
        }
        if !self.cmdline.is_empty() {
            writeln!(f, "cmdline = {}", Quotes(&self.cmdline))?;
        }
        if !self.modules.is_empty() {
            writeln!(f, "modules = [")?;
            for module in &self.modules {
                let (file, cmdline) = (Quotes(&module.path), Quotes(&module.cmdline));
                writeln!(f, "    {{ file = {file}, cmdline = {cmdline} }},")?;
            }
            writeln!(f, "]")?;
        }
        writeln!(f, "memory = \"{}\"", Bytes(self.memory))?;
        writeln!(f, "vcpus = {}", self.vcpus)?;
        match &self.runs {
            // A list of integers is written as Rust writes it.
            Runs::Dedicated(cores) => writeln!(f, "cores = {cores:?}")?,
            Runs::Pool(of) => share(of, f)?,
            Runs::Cyclic => {}
        }
        let interrupts = match self.interrupts {
            Interrupts::Auto => "auto",
            Interrupts::Software => "software",
            Interrupts::Accelerated => "accelerated",
            Interrupts::Direct => "direct",
        };
        writeln!(f, "interrupts = {}", Quotes(interrupts))?;
        match self.exits {
            Exits::Any => writeln!(f, "exits = \"any\"")?,
            Exits::None { boot } => writeln!(f, "exits = \"none\"\nboot = \"{}\"", Nanos(boot))?,
        }
        writeln!(f, "autostart = {}", self.autostart)?;
        recovery(&self.recovery, f)?;
        match self.watchdog {
            Some(longest) => writeln!(f, "watchdog = \"{}\"", Nanos(longest)),
            None => Ok(()),
        }
    }
}

fn recovery(recovery: &Recovery, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let then = |then| match then {
        Then::Restart => "restart",
        Then::Stop => "stop",
    };
    writeln!(f, "on_crash = {}", Quotes(then(recovery.on_crash)))?;
    writeln!(f, "on_reboot = {}", Quotes(then(recovery.on_reboot)))?;
    if recovery.on_crash == Then::Restart {
        writeln!(f, "restarts = {}", recovery.restarts)?;
        writeln!(f, "restart_delay = \"{}\"", Nanos(recovery.delay))?;
        writeln!(f, "restart_window = \"{}\"", Nanos(recovery.window))?;
    }
    Ok(())
}

fn share(share: &Share, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if let Some(weight) = share.weight {
        writeln!(f, "weight = {weight}")?;
    }
    if let Some(Reservation { budget, period }) = share.reservation {
        let (budget, period) = (Nanos(budget), Nanos(period));
        writeln!(f, "budget = \"{budget}\"\nperiod = \"{period}\"")?;
    }
    Ok(())
}

/// Printable ASCII as a basic string (TOML 1.1, "String").
struct Quotes<'a>(&'a str);

impl fmt::Display for Quotes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_char('"')?;
        for c in self.0.chars() {
            if matches!(c, '"' | '\\') {
                f.write_char('\\')?;
            }
            f.write_char(c)?;
        }
        f.write_char('"')
    }
}
