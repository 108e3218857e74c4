//! What the processor does on its own account: exceptions, single-stepping, shadows, string instructions.

mod common;

use common::claims_on_both;
use std::process::ExitCode;

fn main() -> ExitCode {
    let guests = ["exceptions", "single_step", "string_ports"];
    qemu_tests::main(guests.into_iter().flat_map(claims_on_both).collect())
}
