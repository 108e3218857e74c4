//! VMs that come and go, are faulty or wild, and none of them to another's harm.

mod common;

use anyhow::{Context, Result, ensure};
use common::steady::{boot, list, nothing_touched, off, seconds, steady, wild};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use proto::VmState;
use qemu_tests::{Answer, Ends};
use std::process::ExitCode;

/// A VM is started and stopped again and again, on the same core as a busy one and on another; those see nothing of it, and
/// the hypervisor's heap is what it was.
fn a_hundred_starts(model: &str) -> Result<()> {
    let heap = |times: usize| -> Result<u64> {
        let vms = [
            steady("same", 1, "", "cores = [0]"),
            steady("other", 2, "", "cores = [1]"),
            wild("spinner", "spin", ""),
        ];
        // Whoever is nobody's own runs on what is left: the third core. Its neighbour there is steady too.
        let vms = [&vms[..], &[steady("beside", 3, "", "")]].concat();
        let mut boot = boot(&vms).cpu_model(model).cpus(3);
        for _ in 0..times {
            boot = boot
                .ctl("", "vm start spinner")
                .ctl_after(2, "wild: begins to spin", "vm stop spinner")
                .send("vm: end reason=stopped", "");
        }
        for vm in [0, 1, 3] {
            boot = boot.type_to(vm, "^steady: second=", "q");
        }
        let outcome = boot.run()?;
        for vm in [0, 1, 3] {
            nothing_touched(&outcome, vm)?;
        }
        let done = outcome
            .answers
            .iter()
            .filter(|answer| matches!(answer, Answer::Done(_)));
        ensure!(done.count() == 2 * times, "{:?}", outcome.answers);
        let starts = outcome
            .serial
            .matches("spinner info bulkhead: vm: start ")
            .count();
        ensure!(starts == times, "it was started {starts} times");
        let heap = outcome.expect_line(r"machine: heap_bytes=(\d+)")?;
        Ok(heap[1].parse()?)
    };
    let (once, often) = (heap(1)?, heap(100)?);
    ensure!(
        once == often,
        "{once} bytes of the heap are in use after one start, {often} after a hundred"
    );
    Ok(())
}

/// VMs that triple-fault or do what is not supported end alone, each with a report, and their neighbours go on.
fn the_faulty_end_alone(model: &str) -> Result<()> {
    let vms = [
        steady("same", 1, "", ""),
        steady("other", 2, "", ""),
        wild("triple", "triple", ""),
        wild("strange", "unsupported", ""),
    ];
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(2)
        .ctl_after(0, "steady: second=", "vm start triple")
        .ctl("vm: end reason=triple-fault", "vm start strange")
        .ctl("vm: end reason=unsupported", "vm list")
        .ctl("", "vm start triple")
        .send("vm: end reason=triple-fault", "")
        .type_to(0, "steady: second=", "q")
        .type_to(1, "steady: second=", "q")
        .ends(Ends::Stopped)
        .run()?;
    nothing_touched(&outcome, 0)?;
    nothing_touched(&outcome, 1)?;
    outcome.expect_lines(&[
        "triple info bulkhead: vm: start ",
        "triple warn bulkhead: vm: .*rip=0x1",
        "triple warn bulkhead: vm: end reason=triple-fault ",
        "strange info bulkhead: vm: start ",
        "strange warn bulkhead: vm: .*not emulated",
        "strange warn bulkhead: vm: end reason=unsupported ",
    ])?;
    let states = list(outcome.answers.get(2))?
        .iter()
        .map(|vm| (vm.state, vm.last_end.clone()));
    let told = |why: &str| (VmState::Off, Some(why.to_owned()));
    let running = (VmState::Running, None);
    let wanted = [
        running.clone(),
        running,
        told("triple-fault"),
        told("unsupported"),
    ];
    ensure!(
        states.clone().eq(wanted),
        "{:?}",
        states.collect::<Vec<_>>()
    );
    Ok(())
}

/// A VM resets itself twice beside others, which run on.
fn a_reset_beside_others(model: &str) -> Result<()> {
    let vms = [
        steady("same", 1, "", ""),
        steady("other", 2, "", ""),
        off("reset", "reset"),
    ];
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(2)
        .ctl_after(0, "steady: second=", "vm start reset")
        .type_to(2, "guest: what now", "r")
        .type_to(2, "guest: what now", "r")
        .type_to(2, "guest: what now", "q")
        .type_to(0, "steady: second=", "q")
        .type_to(1, "steady: second=", "q")
        .run()?;
    nothing_touched(&outcome, 0)?;
    nothing_touched(&outcome, 1)?;
    outcome.expect_console(2, "^guest: done passed=4 failed=0$")?;
    let resets = outcome
        .serial
        .matches("reset info bulkhead: vm: end reason=reset ")
        .count();
    ensure!(resets == 2, "{resets} resets");
    let starts = outcome.serial.matches("info bulkhead: vm: start ").count();
    ensure!(starts == 5, "{starts} starts of three VMs");
    Ok(())
}

/// Whatever a VM does, another one loses nothing by it but its turns where they share a core.
fn wild_neighbours(model: &str) -> Result<()> {
    let ways = ["spin", "halt", "ipi", "exit", "chatter"];
    let mut vms = vec![
        steady("apart", 1, "", "cores = [1]"),
        steady("beside", 2, "", ""),
    ];
    vms.extend(ways.map(|way| wild(way, way, "")));
    let mut boot = boot(&vms).cpu_model(model).cpus(2);
    boot = boot
        .type_to(0, "steady: second=", "")
        .ctl_after(0, "steady: second=", "vm list");
    for (at, way) in ways.iter().enumerate() {
        boot = boot
            .ctl("", &format!("vm start {way}"))
            .type_to(2 + at, "wild: begins", "")
            .type_to(0, "steady: second=", "")
            .ctl("", "vm list")
            .type_to(0, "steady: second=", "")
            .ctl("", "vm list")
            .ctl("", &format!("vm stop {way}"))
            .send("vm: end reason=stopped", "");
    }
    let outcome = boot.type_to(0, "", "q").type_to(1, "", "q").run()?;
    nothing_touched(&outcome, 0)?;
    nothing_touched(&outcome, 1)?;
    let (apart, beside) = (seconds(&outcome, 0)?, seconds(&outcome, 1)?);
    // A second in which a VM is loaded is shorter for all others: the emulator clears memory in one step.
    let least = |of: &[[u64; 4]]| of.iter().map(|[_, rounds, ..]| *rounds).min().unwrap_or(0);
    let (quiet, shared) = (apart[1][1], beside[1][1]);
    println!(
        "figure {model} quiet={quiet} apart={} shared={shared} beside={}",
        least(&apart),
        least(&beside)
    );
    ensure!(
        least(&apart) * 4 >= quiet * 3,
        "the VM on a core of its own is slowed: {apart:?}"
    );
    ensure!(
        least(&beside) * 3 >= shared,
        "the VM that shares a core is robbed of its turns: {beside:?}"
    );
    // The hypervisor does no more on the core apart than before.
    let share = |answer: Option<&Answer>| -> Result<f64> {
        let vm = list(answer)?.first().context("no VM")?;
        Ok(vm.root_ticks.0 as f64 / vm.uptime.0 as f64)
    };
    let (before, after) = (
        share(outcome.answers.first())?,
        share(outcome.answers.iter().rev().nth(1))?,
    );
    println!("figure {model} in_root_before={before:.4} in_root_after={after:.4}");
    ensure!(
        after < before * 1.25,
        "the hypervisor took {before} of the time, then {after}"
    );
    Ok(())
}

/// What is tried on a CPU model.
type Test = fn(&str) -> Result<()>;

fn main() -> ExitCode {
    // Which of them are in the default set on the model without virtual-interrupt delivery too.
    let tests: [(&str, Test, bool); 4] = [
        ("a_hundred_starts", a_hundred_starts, false),
        ("the_faulty_end_alone", the_faulty_end_alone, true),
        ("a_reset_beside_others", a_reset_beside_others, false),
        ("wild_neighbours", wild_neighbours, true),
    ];
    let mut trials = Vec::new();
    for (name, test, both) in tests {
        for (model, default) in [(WITH_DELIVERY, true), (WITHOUT_DELIVERY, both)] {
            let trial = qemu_tests::test(&format!("{name}::{model}"), move || test(model));
            trials.push(trial.with_ignored_flag(!default));
        }
    }
    qemu_tests::main(trials)
}
