//! What a guest finds of its machine: ports, CPUID, MSRs, control registers, memory, and the state it starts in.

mod common;

use anyhow::{Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold, claims, claims_on, claims_on_both};
use qemu_tests::{Boot, Start};
use std::process::ExitCode;

/// Instructions a second of the emulated machine, which is what its TSC counts.
const TSC_HZ: u64 = 50_000_000;

/// A CPU model with IBRS, STIBP and SSBD, which the other two have not.
const WITH_SPECULATION_CONTROL: &str = "tigerlake";

/// CPUID's claims, and the frequency that leaf 0x15 tells: boot has measured it against the firmware's clock.
fn cpuid(model: &str) -> Result<()> {
    let outcome = Boot::guest("cpuid").cpu_model(model).run()?;
    all_hold(&outcome)?;
    let told: u64 = outcome.expect_line(r"^guest: figure tsc_hz (\d+)$")?[1].parse()?;
    ensure!(
        told.abs_diff(TSC_HZ) < TSC_HZ / 1000,
        "leaf 0x15 tells of {told} Hz, and the TSC counts {TSC_HZ}"
    );
    Ok(())
}

fn main() -> ExitCode {
    let mut tests = Vec::new();
    for guest in ["ports", "pci", "msrs", "control", "memory", "start_long"] {
        tests.extend(claims_on_both(guest));
    }
    tests.push(claims_on("msrs", WITH_SPECULATION_CONTROL));
    for model in [WITH_DELIVERY, WITHOUT_DELIVERY] {
        tests.push(qemu_tests::test(&format!("cpuid::{model}"), move || {
            cpuid(model)
        }));
        for (guest, load, start) in [
            ("start_real", 0x8000, Start::Real),
            ("start_protected", 0x20_0000, Start::Protected),
            ("start_flat_long", 0x20_0000, Start::Long),
        ] {
            tests.push(claims(&format!("{guest}::{model}"), move || {
                Boot::flat(guest, load, start).cpu_model(model)
            }));
        }
    }
    qemu_tests::main(tests)
}
