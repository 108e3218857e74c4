//! The rows: what they are called, what they say, and how they are read from the serial line.

use super::boots::{Form, Heard};
use anyhow::{Context, Result};
use regex::Regex;
use serde::Serialize;
use std::collections::BTreeMap;

/// What is measured, and in words.
pub(super) const KINDS: &[(&str, &str)] = &[
    ("cpuid", "CPUID"),
    ("rdmsr", "RDMSR of a register that exits"),
    ("wrmsr", "WRMSR of a register that exits"),
    ("port_uart", "IN from the UART"),
    ("port_absent", "IN from a port that is not there"),
    ("ioapic_read", "read of an I/O APIC register"),
    ("xapic_read", "read of a local APIC register in memory"),
    ("icr_self_write", "IPI to oneself, interrupts off"),
    ("icr_self", "IPI to oneself, with its handler"),
    ("self_ipi_write", "the same by SELF_IPI, interrupts off"),
    ("self_ipi", "the same by SELF_IPI, with its handler"),
    ("icr_other", "IPI to a spinning vCPU, and its answer"),
    ("icr_other_halted", "IPI to a halted vCPU, and its answer"),
    ("eoi", "EOI, nothing in service"),
    ("tsc_deadline", "arming the TSC deadline"),
    ("hlt_pending", "HLT with an interrupt pending"),
    ("timer_spin", "lateness of the timer, spinning"),
    ("timer_halt", "lateness of the timer, halted"),
    ("entry", "hypervisor entry to first guest instruction"),
    ("boot_init", "Debian's kernel entry to its first process"),
];

/// The row that is the hypervisor's alone.
const ENTRY: &str = "entry";
/// The row that Debian is booted for.
const BOOT_INIT: &str = "boot_init";

/// A row of the table, in ticks.
#[derive(Clone, PartialEq, Eq, Debug, Serialize)]
pub struct Row {
    /// Its name
    pub name: &'static str,
    /// Logical processors of the machine that it was measured on; figures of different numbers do not compare
    pub cpus: Option<u32>,
    /// Under the hypervisor, the median
    pub bulkhead: Option<u64>,
    /// On the bare machine, the median
    pub bare: Option<u64>,
}

/// What was measured of one form: ticks and number of processors, by row.
#[derive(Clone, Debug, Default)]
pub(super) struct Measured(BTreeMap<String, (u64, u32)>);

impl Measured {
    /// Takes what a boot has said, but for rows that are there already.
    ///
    /// # Errors
    /// When a line that every boot has is missing.
    pub(super) fn take(&mut self, heard: &Heard, cpus: u32) -> Result<()> {
        let mut found = medians(&heard.serial)?;
        if let Some(init) = ticks(&heard.serial, r"^init: tsc=(\d+)")? {
            let start = match heard.form {
                Form::Bulkhead => r"^ *(\d+) \d+ \S+ \w+ bulkhead: vm: start ",
                Form::Bare => r"^bare: start .*tsc=(\d+)",
            };
            let start =
                ticks(&heard.serial, start)?.context("nothing says when the kernel was entered")?;
            found.push((BOOT_INIT.to_owned(), init.saturating_sub(start)));
        } else if heard.form == Form::Bulkhead {
            let entry = ticks(&heard.serial, r"bulkhead: vm: start .*since_entry=(\d+)")?;
            let entry = entry.context("nothing says when the guest was entered")?;
            found.push((ENTRY.to_owned(), entry));
        }
        for (name, ticks) in found {
            self.0.entry(name).or_insert((ticks, cpus));
        }
        Ok(())
    }
}

/// The rows that the benchmark guest prints.
fn medians(serial: &str) -> Result<Vec<(String, u64)>> {
    let line = Regex::new(r"(?m)^bench: (\w+) least=\d+ median=(\d+)$")?;
    let rows = line.captures_iter(serial);
    rows.map(|found| Ok((found[1].to_owned(), found[2].parse()?)))
        .collect()
}

fn ticks(serial: &str, line: &str) -> Result<Option<u64>> {
    let found = Regex::new(&format!("(?m){line}"))?.captures(serial);
    Ok(found.map(|found| found[1].parse()).transpose()?)
}

/// One row each, whether or not it was measured.
pub(super) fn rows(bulkhead: &Measured, bare: &Measured) -> Vec<Row> {
    let ticks = |of: Option<&(u64, u32)>| of.map(|(ticks, _)| *ticks);
    KINDS
        .iter()
        .map(|(name, _)| {
            let (under, on) = (bulkhead.0.get(*name), bare.0.get(*name));
            Row {
                name,
                cpus: under.or(on).map(|(_, cpus)| *cpus),
                bulkhead: ticks(under),
                bare: ticks(on),
            }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn heard(form: Form, serial: &str) -> Heard {
        Heard {
            form,
            serial: serial.to_owned(),
        }
    }

    const UNDER: &str = "     900 0 bench info bulkhead: vm: start memory_mib=16 rip=0x100000 since_entry=700\n\
        bench: nothing 8\nbench: cpuid least=250 median=251\nguest: done passed=1 failed=0\n";

    #[test]
    fn the_first_measurement_of_a_row_counts() {
        let mut measured = Measured::default();
        measured.take(&heard(Form::Bulkhead, UNDER), 1).unwrap();
        let again = UNDER.replace("251", "400") + "bench: icr_other least=1 median=2\n";
        measured.take(&heard(Form::Bulkhead, &again), 2).unwrap();
        let mut bare = Measured::default();
        let line = "bench: cpuid least=1 median=1\n";
        bare.take(&heard(Form::Bare, line), 1).unwrap();
        let rows = rows(&measured, &bare);
        assert_eq!(rows.len(), KINDS.len());
        let row = |name| rows.iter().find(|row| row.name == name).unwrap();
        let got = |name| (row(name).cpus, row(name).bulkhead, row(name).bare);
        assert_eq!(got("cpuid"), (Some(1), Some(251), Some(1)));
        assert_eq!(got("icr_other"), (Some(2), Some(2), None));
        assert_eq!(got("entry"), (Some(1), Some(700), None));
        assert_eq!(got("eoi"), (None, None, None));
    }

    #[test]
    fn a_boot_is_counted_from_the_kernels_entry() {
        let mut measured = Measured::default();
        let under = "  900 0 debian info bulkhead: vm: start since_entry=700\ninit: tsc=1900\n";
        measured.take(&heard(Form::Bulkhead, under), 1).unwrap();
        let mut bare = Measured::default();
        let on = "bare: start rip=0x100200 tsc=500\ninit: tsc=1200\n";
        bare.take(&heard(Form::Bare, on), 1).unwrap();
        let rows = rows(&measured, &bare);
        let row = rows.iter().find(|row| row.name == BOOT_INIT).unwrap();
        assert_eq!((row.bulkhead, row.bare), (Some(1000), Some(700)));
    }

    #[test]
    fn json_has_null_for_what_was_not_measured() {
        let rows = rows(&Measured::default(), &Measured::default());
        let json = serde_json::to_string(&rows[0]).unwrap();
        assert_eq!(
            json,
            r#"{"name":"cpuid","cpus":null,"bulkhead":null,"bare":null}"#
        );
    }
}
