//! What exits cost, from the guest's side, against what Linux KVM needs in the same emulator.

mod common;

use anyhow::{Context, Result, ensure};
use common::carried::{ACCELERATED, DIRECT, SOFTWARE, WITH_POSTING, carried_by, holds_on_console};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold};
use qemu_tests::{Boot, Ends};
use std::process::ExitCode;

/// The most ticks that each may cost: a third more than when this was written, so that what grows is seen.
const MOST: &[(&str, u64)] = &[
    ("cpuid", 370),
    ("rdmsr", 320),
    ("wrmsr", 370),
    ("tsc_deadline", 370),
    ("port_absent", 370),
    ("port_uart", 460),
    ("ioapic_read", 1800),
    ("xapic_read", 1850),
    ("self_ipi_write", 480),
    ("icr_self_write", 540),
    ("eoi", 400),
    ("self_ipi", 1120),
    ("icr_self", 1200),
    ("hlt_pending", 1000),
    ("timer_spin", 1000),
    ("timer_halt", 1000),
];

fn figures(model: &str) -> Result<()> {
    let outcome = Boot::guest("bench").cpu_model(model).run()?;
    all_hold(&outcome)?;
    for (name, most) in MOST {
        let line = outcome.expect_line(&format!(r"^bench: {name} least=(\d+) median=\d+$"))?;
        let ticks: u64 = line[1].parse()?;
        ensure!(
            ticks <= *most,
            "{name} takes {ticks} ticks, and {most} is the most"
        );
        ensure!(ticks > 0, "{name} takes no time at all");
        println!("figure {model} {name} {ticks}");
    }
    let start = outcome.expect_line(r"vm: start .*since_entry=(\d+)")?;
    println!("figure {model} entry_to_guest_of_16_mib {}", &start[1]);
    Ok(())
}

/// What interrupts may cost at most on each carrier, as above.
const OF_INTERRUPTS: [(&str, [u64; 3]); 11] = [
    ("icr_self_write", [570, 650, 620]),
    ("icr_self", [1320, 790, 720]),
    ("self_ipi_write", [580, 10, 10]),
    ("self_ipi", [1320, 130, 120]),
    ("eoi", [500, 10, 10]),
    ("tsc_deadline", [420, 410, 10]),
    ("hlt_pending", [1200, 630, 130]),
    ("timer_spin", [800, 800, 40]),
    ("timer_halt", [740, 1020, 50]),
    ("icr_other", [2670, 2430, 930]),
    ("icr_other_halted", [2180, 2260, 1040]),
];
/// The carriers, in the order of the columns.
const CARRIERS: [&str; 3] = [SOFTWARE, ACCELERATED, DIRECT];

/// The same guest with two processors on each carrier, one after the other, each on cores of its own.
fn carried(model: &'static str, carriers: &[&'static str]) -> Result<()> {
    let names: Vec<String> = carriers
        .iter()
        .map(|carrier| format!("bench-{carrier}"))
        .collect();
    let lines: Vec<String> = carriers
        .iter()
        .enumerate()
        .map(|(at, carrier)| {
            format!(
                "cores = [{}, {}]\ncmdline = \"stay\"\ninterrupts = \"{carrier}\"\nautostart = false",
                2 * at + 1,
                2 * at + 2
            )
        })
        .collect();
    let vms: Vec<_> = names
        .iter()
        .zip(&lines)
        .map(|(name, lines)| (name.as_str(), "bench", lines.as_str()))
        .collect();
    let cores = 2 * u32::try_from(carriers.len())? + 1;
    let mut boot = Boot::guests(&vms).cpu_model(model).cpus(cores).limit(300);
    for (at, name) in names.iter().enumerate() {
        boot = boot
            .ctl("", &format!("vm start {name}"))
            .ctl_after(at, "guest: done", &format!("vm stats {name}"))
            .ctl("", &format!("vm stop {name}"));
    }
    let off = Ends::Seen("machine: off reason=ordered".to_owned());
    let outcome = boot.ctl("", "off").ends(off).run()?;
    for (at, (name, carrier)) in names.iter().zip(carriers).enumerate() {
        holds_on_console(&outcome, at).with_context(|| name.clone())?;
        for (row, most) in OF_INTERRUPTS {
            let column = CARRIERS.iter().position(|column| column == carrier);
            let most = most[column.context("no such carrier")?];
            let line = format!(r"^bench: {row} least=(\d+) median=(\d+)$");
            let line = outcome.expect_console(at, &line)?;
            println!(
                "figure {model} {carrier} {row} least={} median={}",
                &line[1], &line[2]
            );
            let ticks: u64 = line[1].parse()?;
            ensure!(
                ticks <= most,
                "{row} takes {ticks} ticks on {carrier}, and {most} is the most"
            );
        }
        carried_by(&outcome, name, carrier)?;
    }
    Ok(())
}

fn main() -> ExitCode {
    let mut trials: Vec<_> = [WITH_DELIVERY, WITHOUT_DELIVERY]
        .map(|model| qemu_tests::test(&format!("figures::{model}"), move || figures(model)))
        .into();
    for (model, carriers, default) in [
        (WITH_DELIVERY, CARRIERS.as_slice(), true),
        (WITH_POSTING, &[ACCELERATED, DIRECT], false),
    ] {
        let trial = qemu_tests::test(&format!("figures::carried::{model}"), move || {
            carried(model, carriers)
        });
        trials.push(trial.with_ignored_flag(!default));
    }
    qemu_tests::main(trials)
}
