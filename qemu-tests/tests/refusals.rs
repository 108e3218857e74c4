//! What `boot` and the hypervisor refuse to run with, and how they say so.

use anyhow::Result;
use qemu_tests::{Boot, Ends, Outcome, Source, test};
use std::process::ExitCode;

/// A guest that must never start, on this model.
fn refused_on(model: &str) -> Result<Outcome> {
    let outcome = Boot::guest("ports")
        .cpu_model(model)
        .ends(Ends::Refused)
        .run()?;
    outcome.expect_no_line("^guest: ")?;
    Ok(outcome)
}

fn a_processor_without_vt_x() -> Result<()> {
    refused_on("p4_prescott_celeron_336")?.expect_line("bulkhead: refused: .*no VT-x")?;
    Ok(())
}

fn a_processor_without_ept() -> Result<()> {
    let outcome = refused_on("core2_penryn_t9600")?;
    outcome.expect_line("bulkhead: vtx: missing EPT: guest memory is isolated by it")?;
    outcome
        .expect_line("bulkhead: refused: this processor's VT-x lacks EPT, unrestricted guest")?;
    Ok(())
}

fn a_processor_without_unrestricted_guest() -> Result<()> {
    let outcome = refused_on("corei5_lynnfield_750")?;
    outcome.expect_line("bulkhead: refused: this processor's VT-x lacks unrestricted guest")?;
    outcome.expect_no_line("bulkhead: vtx: missing EPT")
}

fn a_processor_of_another_vendor() -> Result<()> {
    refused_on("ryzen")?.expect_line("bulkhead: refused: .*no VT-x")?;
    Ok(())
}

/// A shim locks IA32_FEATURE_CONTROL without VMX, as a firmware does whose setup has VT-x switched off, and starts boot.
fn vt_x_locked_off() -> Result<()> {
    let boot = xtask::build::programs()?.boot;
    let outcome = Boot::guest("ports")
        .esp_file("EFI/BOOT/BOOTX64.EFI", Source::Path(xtask::build::shim()?))
        .esp_file("bulkhead/boot.efi", Source::Path(boot))
        .ends(Ends::Refused)
        .run()?;
    outcome.expect_no_line("^guest: ")?;
    outcome.expect_line(r"bulkhead: refused: the firmware has switched VT-x off and locked it")?;
    Ok(())
}

/// A refusal of `boot`, which has told of the file, the place and the mend.
fn refused_by_boot(boot: Boot, lines: &[&str]) -> Result<()> {
    let outcome = boot.ends(Ends::Refused).run()?;
    outcome.expect_no_line("bulkhead: ")?;
    outcome.expect_lines(lines)?;
    outcome.expect_line("^boot: refused$")?;
    Ok(())
}

fn a_misspelt_key() -> Result<()> {
    let text = "[[vm]]\nname = \"a\"\nkernal = \"a.elf\"\nmemory = \"16 MiB\"\n";
    refused_by_boot(
        Boot::config(text).guest_file("a.elf", "ports"),
        &["^error", r"bulkhead\.toml:3:1", "kernal", "`kernel`"],
    )
}

fn a_config_that_is_no_toml() -> Result<()> {
    refused_by_boot(
        Boot::config("[[vm]\nname = \"a\"\n"),
        &["^error", r"bulkhead\.toml:1:"],
    )
}

fn a_missing_kernel() -> Result<()> {
    let text = "[[vm]]\nname = \"a\"\nkernel = \"absent.elf\"\nmemory = \"16 MiB\"\n";
    refused_by_boot(
        Boot::config(text),
        &["^error", r"bulkhead\.toml:3:", r"absent\.elf"],
    )
}

fn more_memory_than_the_machine_has() -> Result<()> {
    let text = "[[vm]]\nname = \"a\"\nkernel = \"a.elf\"\nmemory = \"4 GiB\"\n";
    refused_by_boot(
        Boot::config(text).guest_file("a.elf", "ports"),
        &["^error", r"bulkhead\.toml:4:"],
    )
}

fn a_missing_config() -> Result<()> {
    refused_by_boot(
        Boot::guest("ports").without("bulkhead/bulkhead.toml"),
        &[r"^error: .*bulkhead\.toml was not found"],
    )
}

fn a_missing_hypervisor() -> Result<()> {
    refused_by_boot(
        Boot::guest("ports").without("bulkhead/hypervisor.elf"),
        &[r"^error: .*hypervisor\.elf was not found"],
    )
}

fn a_kernel_that_is_none() -> Result<()> {
    let text = "[[vm]]\nname = \"a\"\nkernel = \"a.elf\"\nmemory = \"16 MiB\"\n";
    let outcome = Boot::config(text)
        .file("a.elf", Source::Bytes(vec![0x5a; 4096]))
        .ends(Ends::Stopped)
        .run()?;
    outcome.expect_line(
        "a warn bulkhead: vm: not started: a.elf: it is neither a bzImage nor an ELF file",
    )?;
    Ok(())
}

fn main() -> ExitCode {
    qemu_tests::main(vec![
        test!(a_processor_without_vt_x),
        test!(a_processor_without_ept),
        test!(a_processor_without_unrestricted_guest),
        test!(a_processor_of_another_vendor),
        test!(vt_x_locked_off),
        test!(a_misspelt_key),
        test!(a_config_that_is_no_toml),
        test!(a_missing_kernel),
        test!(more_memory_than_the_machine_has),
        test!(a_missing_config),
        test!(a_missing_hypervisor),
        test!(a_kernel_that_is_none),
    ])
}
