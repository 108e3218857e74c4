//! A plan as config text, each key written out.

use crate::units::Bytes;
use crate::{Format, Plan, Smt, Start, Vm};
use core::fmt::{self, Write};

/// The config that reads as this plan.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let smt = match self.smt {
            Smt::Off => "off",
            Smt::Share => "share",
        };
        writeln!(f, "smt = {}\nstatistics = {}", Quotes(smt), self.statistics)?;
        self.vms.iter().try_for_each(|vm| write!(f, "\n{vm}"))
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
        if let Some(cores) = self.dedicated() {
            // A list of integers is written as Rust writes it.
            writeln!(f, "cores = {cores:?}")?;
        }
        writeln!(f, "autostart = {}", self.autostart)
    }
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
