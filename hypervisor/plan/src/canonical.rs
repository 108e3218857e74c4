//! A plan as config text, each key written out.

use crate::units::Bytes;
use crate::{Format, Plan, Start, Vm};
use core::fmt::{self, Write};

/// The config that reads as this plan.
impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, vm) in self.vms.iter().enumerate() {
            if index > 0 {
                f.write_char('\n')?;
            }
            write!(f, "{vm}")?;
        }
        Ok(())
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
        writeln!(f, "memory = \"{}\"", Bytes(self.memory))
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
