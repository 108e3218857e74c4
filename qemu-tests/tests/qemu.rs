//! QEMU's machine: another chipset and other firmware tables than Bochs has, and no VT-x without nested KVM.

use qemu_tests::{Boot, Ends, qemu_test};

/// What `cargo xtask run --runner qemu` shows on a host without nested KVM. Its firmware has ACPI tables.
fn without_vtx_is_refused() -> anyhow::Result<()> {
    let boot = Boot::guest("ports").on_qemu().cpus(4);
    let outcome = boot.ends(Ends::Refused).run()?;
    outcome.expect_lines(&[
        "^boot: 4 cpus by the MADT, usable: 4 on 4 cores$",
        "^boot: cpu 0: package 0 core 0 thread 0$",
        "^boot: cpu 1: package 1 core 0 thread 0$",
        "^boot: cpu 2: package 2 core 0 thread 0$",
        "^boot: cpu 3: package 3 core 0 thread 0$",
        "^boot: io apic at 0xfec00000, interrupts from 0$",
        "^boot: leaving firmware$",
        "info bulkhead: machine: up .* rsdp=true",
        r"error bulkhead: refused: this processor has no VT-x \(CPUID\.1:ECX bit 5 is clear\)$",
        "info bulkhead: machine: off reason=refused$",
    ])
}

/// What only the machine knows is held against the plan there, before any guest starts.
fn a_core_that_is_not_there_is_refused() -> anyhow::Result<()> {
    let config =
        "[[vm]]\nname = \"ports\"\nkernel = \"ports.elf\"\nmemory = \"16 MiB\"\ncores = [1, 2]\n";
    let boot = Boot::config(config).guest_file("ports.elf", "ports");
    let outcome = boot.on_qemu().cpus(2).ends(Ends::Refused).run()?;
    outcome.expect_lines(&[
        "^boot: 2 cpus by the MADT",
        "^error: there is no core 2$",
        r"^ --> bulkhead\.toml:5:13$",
        r"the numbers are 0 to 1$",
        "= note: this machine has 2 cores$",
        "^boot: refused$",
    ])
}

/// A board without a serial port and without VT-x: the hypervisor says so on the screen that the firmware had, and stays on.
fn without_a_serial_line_a_refusal_is_on_the_screen() -> anyhow::Result<()> {
    let version = env!("CARGO_PKG_VERSION");
    Boot::guest("ports").cpus(2).shows(&format!(
        "Bulkhead {version} cannot run on this machine:\n\
         this processor has no VT-x (CPUID.1:ECX bit 5 is clear)\n"
    ))
}

fn main() -> std::process::ExitCode {
    qemu_tests::main(vec![
        qemu_test("without_vtx_is_refused", without_vtx_is_refused),
        qemu_test(
            "a_core_that_is_not_there_is_refused",
            a_core_that_is_not_there_is_refused,
        ),
        qemu_test(
            "without_a_serial_line_a_refusal_is_on_the_screen",
            without_a_serial_line_a_refusal_is_on_the_screen,
        ),
    ])
}
