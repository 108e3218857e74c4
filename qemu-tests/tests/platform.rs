//! What a guest finds of its machine: ports, CPUID, MSRs, control registers, memory, and the state it starts in.

mod common;

use common::claims_on_both;
use std::process::ExitCode;

fn main() -> ExitCode {
    let guests = ["ports", "pci", "cpuid", "msrs", "control", "memory", "start_long"];
    qemu_tests::main(guests.into_iter().flat_map(claims_on_both).collect())
}
