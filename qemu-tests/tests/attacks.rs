//! Attackers, one class a machine, beside victims that check their own memory, registers and time all the while.

mod common;

use common::attacks::{Attack, attack};
use std::process::ExitCode;

const ATTACKS: &[Attack] = &[
    attack("indices"),
    attack("noncanonical"),
    attack("msrs_and_ports"),
    attack("memory_map"),
];

fn main() -> ExitCode {
    let trials = ATTACKS.iter().flat_map(|attack| attack.trials());
    qemu_tests::main(trials.collect())
}
