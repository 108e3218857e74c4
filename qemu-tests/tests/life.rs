//! How a guest ends, starts anew, runs on, and listens.

mod common;

use anyhow::{Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, all_hold};
use qemu_tests::{Boot, Ends, Outcome};
use std::process::ExitCode;

/// The count of a kind of exit at the guest's end.
fn exits(outcome: &Outcome, kind: &str) -> Result<u64> {
    let line = outcome.expect_line(&format!(r"vm: end reason=power-off .*\b{kind}=(\d+)"))?;
    Ok(line[1].parse()?)
}

/// A triple fault ends the guest alone, with a report, and is no success.
fn triple_fault(model: &str) -> Result<()> {
    let outcome = Boot::guest("triple_fault")
        .cpu_model(model)
        .ends(Ends::Stopped)
        .run()?;
    outcome.expect_no_line("^guest: fail")?;
    outcome.expect_lines(&[
        r"triple-fault warn bulkhead: vm: vcpu=0 rip=0x10[0-9a-f]+ rsp=",
        r"triple-fault warn bulkhead: vm: vmcs Exit reason: 0x2 \(Triple fault\)$",
        r"triple-fault warn bulkhead: vm: vmcs Guest RIP: 0x10[0-9a-f]+$",
        r"triple-fault warn bulkhead: vm: end reason=triple-fault ",
        r"machine: off reason=last-guest-stopped",
    ])
}

/// A guest that asks for a reset starts anew, and finds nothing of what it left.
fn reset(model: &str) -> Result<()> {
    let outcome = Boot::guest("reset")
        .cpu_model(model)
        .send("guest: what now", "r")
        .send("guest: what now", "r")
        .send("guest: what now", "q")
        .run()?;
    outcome.expect_no_line("^guest: fail")?;
    outcome.expect_lines(&[
        "vm: start ",
        "^guest: pass memory_is_zero$",
        "vm: end reason=reset ",
        "vm: start ",
        "^guest: pass memory_is_zero$",
        "^guest: pass chips_are_as_after_reset$",
        "^guest: pass registers_are_as_after_reset$",
        "vm: end reason=reset ",
        "vm: start ",
        "^guest: done passed=4 failed=0$",
        "vm: end reason=power-off ",
    ])
}

/// A guest that spins with interrupts off keeps neither its timer from the host nor the line from what it has printed.
///
/// It also shows whether the emulator takes a physical interrupt at all in a guest that was entered with IF=0, which Bochs 3.0
/// without its cure does not.
fn endless_loop(model: &str) -> Result<()> {
    let outcome = Boot::guest("endless_loop").cpu_model(model).run()?;
    all_hold(&outcome)?;
    ensure!(
        exits(&outcome, "timer")? >= 1,
        "the timer never took the guest's processor"
    );
    // The line sends 16 bytes an interrupt.
    let interrupts = exits(&outcome, "host_interrupt")?;
    ensure!(interrupts >= 64 * 64 / 16, "{interrupts} host interrupts");
    Ok(())
}

/// What is typed reaches a guest that sleeps, also more at once than its UART holds.
fn uart_input(model: &str) -> Result<()> {
    let long: String = ('a'..='z').cycle().take(400).chain(['\n']).collect();
    let outcome = Boot::guest("uart_input")
        .cpu_model(model)
        .send("guest: speak", "hello, guest\n")
        .send("guest: go on", &long)
        .run()?;
    all_hold(&outcome)?;
    ensure!(exits(&outcome, "hlt")? >= 2, "the guest did not sleep");
    Ok(())
}

/// What is tried on a CPU model.
type Test = fn(&str) -> Result<()>;

fn main() -> ExitCode {
    let tests: [(&str, Test); 4] = [
        ("triple_fault", triple_fault),
        ("reset", reset),
        ("endless_loop", endless_loop),
        ("uart_input", uart_input),
    ];
    let trials = tests.into_iter().flat_map(|(name, test)| {
        [WITH_DELIVERY, WITHOUT_DELIVERY]
            .map(|model| qemu_tests::test(&format!("{name}::{model}"), move || test(model)))
    });
    qemu_tests::main(trials.collect())
}
