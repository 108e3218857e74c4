//! QEMU's machine: another chipset and other firmware tables than Bochs has, and no VT-x without nested KVM.

use qemu_tests::{Boot, Ends, qemu_test};

/// What `cargo xtask run --runner qemu` shows on a host without nested KVM.
fn without_vtx_is_refused() -> anyhow::Result<()> {
    let outcome = Boot::guest("ports").on_qemu().ends(Ends::Refused).run()?;
    outcome.expect_lines(&[
        "^boot: leaving firmware$",
        "info bulkhead: machine: up .* rsdp=true",
        r"error bulkhead: refused: this processor has no VT-x \(CPUID\.1:ECX bit 5 is clear\)$",
        "info bulkhead: machine: off reason=refused$",
    ])
}

fn main() -> std::process::ExitCode {
    qemu_tests::main(vec![qemu_test(
        "without_vtx_is_refused",
        without_vtx_is_refused,
    )])
}
