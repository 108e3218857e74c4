//! The emulator that plays the machine, and why this one.

use crate::machine::{Bochs, Qemu, Runner};
use crate::nested;
use crate::report::Reporter;
use crate::supply;
use anyhow::{Context, Result};
use clap::ValueEnum;
use std::path::PathBuf;

/// What the user may ask for.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub enum Choice {
    /// QEMU where the host has nested KVM, else Bochs
    Auto,
    /// Bochs, which emulates VT-x
    Bochs,
    /// QEMU, on software emulation without VT-x if there is no nested KVM
    Qemu,
}

/// QEMU's program.
pub(crate) const QEMU: &str = "qemu-system-x86_64";

/// Chooses an emulator, brings it, and says which and why.
///
/// # Errors
/// When it cannot be had.
pub fn runner(choice: Choice, report: &Reporter) -> Result<Runner> {
    let (runner, why) = match (choice, nested::kvm(), find(QEMU)) {
        (Choice::Bochs, ..) => (bochs(report)?, "asked for"),
        (Choice::Auto, Err(why), _) => (bochs(report)?, why),
        (Choice::Auto, Ok(()), None) => (bochs(report)?, "nested KVM is here, but no QEMU for it"),
        (Choice::Auto, Ok(()), Some(program)) => (
            Runner::Qemu(qemu(program, true, report)?),
            "this host has nested KVM",
        ),
        (Choice::Qemu, nested, program) => {
            let program = program.with_context(|| {
                format!(
                    "there is no {QEMU}: `apt install qemu-system-x86`, or take `--runner bochs`"
                )
            })?;
            let why = nested.err().unwrap_or("asked for");
            (Runner::Qemu(qemu(program, nested.is_ok(), report)?), why)
        }
    };
    let name = match &runner {
        Runner::Bochs(_) => "Bochs, which emulates VT-x",
        Runner::Qemu(Qemu { kvm: true, .. }) => "QEMU on KVM",
        Runner::Qemu(_) => "QEMU on software emulation, which has no VT-x",
    };
    report.say("runner", format_args!("{name} ({why})"));
    Ok(runner)
}

/// Bochs, built with our cures.
///
/// # Errors
/// When it cannot be fetched or built.
pub fn bochs(report: &Reporter) -> Result<Runner> {
    let emulator = supply::emulator(report)?;
    let firmware = supply::firmware(report)?;
    Ok(Runner::Bochs(Bochs {
        program: emulator.program,
        share: emulator.share,
        firmware: firmware.code,
        address: firmware.address,
        vga_bios: firmware.vga_bios,
    }))
}

fn qemu(program: PathBuf, kvm: bool, report: &Reporter) -> Result<Qemu> {
    let firmware = supply::firmware(report)?;
    let (code, vars) = (firmware.qemu_code, firmware.qemu_vars);
    Ok(Qemu {
        program,
        code,
        vars,
        kvm,
    })
}

/// QEMU without VT-x, on any host that has it.
///
/// # Errors
/// When there is none, or its firmware cannot be fetched.
pub fn qemu_without_vtx(report: &Reporter) -> Result<Runner> {
    let program = find(QEMU).with_context(|| format!("there is no {QEMU}"))?;
    Ok(Runner::Qemu(qemu(program, false, report)?))
}

/// Whether this host has QEMU.
#[must_use]
pub fn has_qemu() -> bool {
    find(QEMU).is_some()
}

/// Finds a program on the path.
pub(crate) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path)
        .map(|folder| folder.join(program))
        .find(|file| file.is_file())
}
