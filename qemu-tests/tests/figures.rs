//! What exits cost, from the guest's side, against what Linux KVM needs in the same emulator.

mod common;

use anyhow::{Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold};
use qemu_tests::Boot;
use std::process::ExitCode;

/// The most ticks that each may cost: a third more than when this was written, so that what grows is seen.
const MOST: &[(&str, u64)] = &[
    ("cpuid", 340),
    ("rdmsr", 290),
    ("wrmsr", 370),
    ("tsc_deadline", 370),
    ("port_absent", 370),
    ("port_uart", 460),
    ("ioapic_read", 1800),
    ("xapic_read", 1850),
    ("self_ipi_write", 440),
    ("icr_self_write", 490),
    ("eoi", 340),
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

fn main() -> ExitCode {
    qemu_tests::main(
        [WITH_DELIVERY, WITHOUT_DELIVERY]
            .map(|model| qemu_tests::test(&format!("figures::{model}"), move || figures(model)))
            .into(),
    )
}
