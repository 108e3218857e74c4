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
    ("wrmsr_tsc_deadline", 370),
    ("port_absent", 370),
    ("port_uart", 460),
    ("ioapic_read", 1800),
    ("xapic_read", 1850),
    ("x2apic_self_ipi_write", 440),
    ("x2apic_icr_write", 490),
    ("x2apic_eoi", 340),
    ("x2apic_self_ipi_with_handler", 1120),
    ("hlt_interrupt_pending", 1000),
];

fn figures(model: &str) -> Result<()> {
    let outcome = Boot::guest("figures").cpu_model(model).run()?;
    all_hold(&outcome)?;
    for (name, most) in MOST {
        let line = outcome.expect_line(&format!(r"^guest: figure {name} (\d+)$"))?;
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
