//! Several vCPUs, on as many cores and on fewer; and the machine's own cores and threads.

mod common;

use anyhow::{Context, Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold, holds_of};
use libtest_mimic::Trial;
use qemu_tests::{Boot, Outcome};
use std::process::ExitCode;

/// A CPU model with AVX-512.
const WITH_AVX512: &str = "corei7_skylake_x";

/// The guests that make claims about several processors.
const GUESTS: [&str; 7] = [
    "smp_start",
    "smp_ipis",
    "smp_wake",
    "smp_pins",
    "smp_memory",
    "smp_state",
    "smp_time",
];

/// One of them as a VM.
fn vm(guest: &str) -> String {
    guest.replace('_', "-")
}

/// What its config says beside.
fn lines(vcpus: u32) -> String {
    format!("vcpus = {vcpus}\ncmdline = \"vcpus={vcpus}\"")
}

/// Whether the machine has brought up all of its cores, and had nothing to warn of.
fn all_up(outcome: &Outcome, threads: u32, cores: u32) -> Result<()> {
    outcome.expect_line(&format!(r"machine: up .* threads={threads} cores={cores} "))?;
    let up = outcome
        .serial
        .matches("bulkhead: core: up apic_id=")
        .count();
    ensure!(up == cores as usize, "{up} of {cores} cores are up");
    // A core that is left out, one whose TSC is not in step, a VM that does not get what it wants.
    outcome.expect_no_line(r"(warn|error) bulkhead: (core: (number|no)|vm:)")
}

/// A guest's claims with so many vCPUs on a machine with so many cores.
fn one(guest: &'static str, vcpus: u32, cores: u32, model: &'static str) -> Trial {
    let name = format!("{guest}::{vcpus}_on_{cores}::{model}");
    qemu_tests::test(&name, move || {
        let outcome = Boot::guests(&[(&vm(guest), guest, &lines(vcpus))])
            .cpus(cores)
            .cpu_model(model)
            .run()?;
        all_up(&outcome, cores, cores)?;
        all_hold(&outcome)?;
        show_figures(&outcome, &format!("{vcpus}_on_{cores} {model}"));
        Ok(())
    })
}

fn show_figures(outcome: &Outcome, what: &str) {
    let figures = outcome.serial.lines();
    for figure in figures.filter_map(|line| line.strip_prefix("guest: figure ")) {
        println!("figure {what} {figure}");
    }
}

/// The claims of all, each a VM with so many vCPUs, side by side on a machine with so many cores.
fn together(vcpus: u32, cores: u32, model: &'static str) -> Trial {
    let name = format!("side_by_side::{vcpus}_on_{cores}::{model}");
    qemu_tests::test(&name, move || {
        let lines = lines(vcpus);
        let names = GUESTS.map(vm);
        let vms: Vec<_> = names
            .iter()
            .zip(GUESTS)
            .map(|(name, guest)| (name.as_str(), guest, lines.as_str()))
            .collect();
        let outcome = Boot::guests(&vms)
            .cpus(cores)
            .cpu_model(model)
            .limit(120)
            .run()?;
        all_up(&outcome, cores, cores)?;
        for name in &names {
            holds_of(&outcome, name).with_context(|| name.clone())?;
        }
        Ok(())
    })
}

/// Two cores of two threads: a guest gets cores, or with `smt = "share"` threads.
fn threads(smt: &'static str, cores: u32, ids: &'static [u32]) -> Trial {
    qemu_tests::test(&format!("threads::smt_{smt}"), move || {
        let vm = format!(
            "smt = \"{smt}\"\n\n[[vm]]\nname = \"smp-time\"\nkernel = \"kernel\"\nformat = \"elf64\"\n\
             memory = \"16 MiB\"\n{}\n",
            lines(cores)
        );
        let outcome = Boot::config(&vm)
            .guest_file("kernel", "smp_time")
            .topology("1:2:2")?
            .cpu_model(WITH_DELIVERY)
            .run()?;
        all_up(&outcome, 4, cores)?;
        for id in ids {
            outcome.expect_line(&format!(r"bulkhead: core: up apic_id={id} "))?;
        }
        all_hold(&outcome)
    })
}

fn main() -> ExitCode {
    let long = |trial: Trial| trial.with_ignored_flag(true);
    let mut tests = vec![
        together(2, 2, WITH_DELIVERY),
        together(4, 4, WITHOUT_DELIVERY),
        together(2, 1, WITHOUT_DELIVERY),
        long(together(8, 8, WITH_DELIVERY)),
        long(together(4, 2, WITH_DELIVERY)),
        long(together(4, 1, WITH_AVX512)),
        one("smp_state", 2, 1, WITH_AVX512),
        one("smp_turns", 2, 1, WITH_DELIVERY),
        long(one("smp_turns", 2, 1, WITHOUT_DELIVERY)),
        long(one("smp_turns", 4, 1, WITH_AVX512)),
        one("smp_start", 8, 8, WITH_DELIVERY),
        one("smp_wake", 2, 2, WITH_DELIVERY),
        threads("off", 2, &[0, 2]),
        threads("share", 4, &[0, 1, 2, 3]),
    ];
    for guest in GUESTS {
        for (vcpus, cores, model) in [
            (2, 1, WITH_DELIVERY),
            (2, 2, WITHOUT_DELIVERY),
            (2, 2, WITH_AVX512),
            (4, 4, WITH_DELIVERY),
            (8, 1, WITHOUT_DELIVERY),
            (8, 2, WITH_DELIVERY),
            (8, 8, WITHOUT_DELIVERY),
        ] {
            tests.push(long(one(guest, vcpus, cores, model)));
        }
    }
    qemu_tests::main(tests)
}
