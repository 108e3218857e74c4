//! Against the processor that runs the tests, and against the manual.

mod decoding;
mod differential;
mod fake;
mod faults;
mod instruction;
mod listings;
mod native;
mod operands;
mod ports;
mod reach;
mod shortcuts;
mod walks;

use crate::{Bus, Cache, Done, Error, execute};
use seam::GuestMem;
use spec::cpu::Gprs;
use spec::state::CpuState;

/// Fetches, decodes and carries out the instruction at CS:RIP, without shortcuts.
fn run(
    cpu: &CpuState,
    gprs: &mut Gprs,
    mem: &impl GuestMem,
    bus: &mut impl Bus,
) -> Result<Done, Error> {
    let operation = Cache::default().fetch(cpu, mem)?;
    execute(&operation, cpu, gprs, mem, bus, None)
}
