//! What a guest finds of its machine: ports, CPUID, MSRs, control registers, memory, and the state it starts in.

mod common;

use anyhow::{Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold, claims, claims_on, claims_on_both};
use libtest_mimic::Trial;
use qemu_tests::{Boot, Source, Start};
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

/// A guest whose protocol has it start in protected mode; `extras` are lines of its config.
fn by_protocol(name: &str, format: &str, extras: &str) -> Boot {
    Boot::config(&format!(
        "[[vm]]\nname = \"{name}\"\nkernel = \"kernel\"\nformat = \"{format}\"\ncmdline = \"one=1 two\"\n\
         memory = \"16 MiB\"\n{extras}\n"
    ))
    .file("second", Source::Bytes((0..5000).map(|n| (n * 7) as u8).collect()))
}

/// A Multiboot kernel with two modules.
fn multiboot(name: &str) -> Boot {
    let modules = r#"modules = [{ file = "first", cmdline = "first -x" }, "second"]"#;
    by_protocol(name, "multiboot", modules)
        .file("first", Source::Bytes(b"the first module".to_vec()))
}

fn pvh() -> Boot {
    by_protocol("pvh", "pvh", r#"initrd = "second""#).guest_file("kernel", "start_pvh")
}

/// How a kernel is handed over.
type Form = fn() -> Boot;

/// Each way in which a file can be a Multiboot kernel, and PVH.
fn protocols(model: &'static str) -> Vec<Trial> {
    let boots: [(&str, Form); 4] = [
        ("start_multiboot_elf32", || {
            multiboot("multiboot-elf32").guest_file_32("kernel", "start_multiboot")
        }),
        ("start_multiboot_elf64", || {
            multiboot("multiboot-elf64").guest_file("kernel", "start_multiboot")
        }),
        ("start_multiboot_flat", || {
            multiboot("multiboot-flat").flat_file("kernel", "start_multiboot_flat")
        }),
        ("start_pvh", pvh),
    ];
    boots
        .into_iter()
        .map(|(name, boot)| claims(&format!("{name}::{model}"), move || boot().cpu_model(model)))
        .collect()
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
        tests.extend(protocols(model));
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
