//! The emulator that every other test rests on has none of the faults that there are cures for.

use anyhow::{Result, ensure};
use qemu_tests::test;
use std::process::ExitCode;
use xtask::report::Reporter;
use xtask::{build, faults, tools};

fn the_emulator_has_no_known_fault() -> Result<()> {
    let runner = tools::bochs(&Reporter::new())?;
    let found = faults::look(&runner, &build::faults()?)?;
    let (absent, other): (Vec<_>, Vec<_>) = found.iter().partition(|fault| fault.is_absent());
    ensure!(other.is_empty(), "{other:#?}");
    ensure!(!absent.is_empty(), "no fault is known");
    Ok(())
}

fn main() -> ExitCode {
    qemu_tests::main(vec![test!(the_emulator_has_no_known_fault)])
}
