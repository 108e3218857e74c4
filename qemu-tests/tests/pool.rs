//! The pool of cores that are nobody's own: vCPUs with a weight go where there is room, and arrive as they left.

mod common;

use anyhow::{Result, ensure};
use common::shares::{PERCENT, Said, at_least, at_most, done, machine, mean, spans, times, vm};
use common::steady::{nothing_touched, steady};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use proto::MachineTimes;
use qemu_tests::Ends;
use std::process::ExitCode;

/// How often a VM's vCPUs have gone to another core.
fn moves(times: &MachineTimes, vm: &str) -> u64 {
    let own = times.vcpus.iter().filter(|vcpu| vcpu.vm == vm);
    own.map(|vcpu| vcpu.moves).sum()
}

/// Two that spin share two cores with one that sleeps most of the time: whoever waits beside the other goes to the core that idles.
fn the_waiting_go_to_the_idle_core() -> Result<()> {
    let vms = [
        vm("a", "share", "spans=3", ""),
        vm("sleeper", "wild", "doze on_us=10 off_us=1000000", ""),
        vm("b", "share", "spans=4", ""),
    ];
    let boot = machine("", &vms).cpus(2).ends(done("b"));
    let said = Said::of(&vms, &boot.run()?)?;
    for name in ["a", "b"] {
        let spans = spans(&said, name)?;
        // In the first second they may have begun on one core.
        at_least(&format!("share of {name}"), mean(&spans[1..]), 97 * PERCENT)?;
    }
    Ok(())
}

/// Of three that spin on two cores none is left behind, and the cores never idle. Who shares a core stays there: nobody is moved but
/// to a core that has nothing to run.
fn three_on_two_cores() -> Result<()> {
    let vms = ["a", "b", "c"].map(|name| vm(name, "share", "", ""));
    let mut boot = machine("", &vms)
        .cpus(2)
        .ctl_after(0, "share: span=2", "top");
    for _ in 0..4 {
        boot = boot.type_to(0, "share: span=", "");
    }
    let boot = boot.ctl("", "top").ctl("", "off");
    let outcome = boot
        .ends(Ends::Seen("machine: off reason=ordered".to_owned()))
        .run()?;
    let (before, after) = (
        times(outcome.answers.first())?,
        times(outcome.answers.get(1))?,
    );
    let elapsed = after.now.since(before.now).0;
    for (before, after) in before.cores.iter().zip(&after.cores) {
        at_most(
            "idle ticks of a core",
            after.idle.since(before.idle).0,
            elapsed / 100,
        )?;
    }
    for (before, after) in before.vcpus.iter().zip(&after.vcpus) {
        let run = after.run.since(before.run).0 * 100 * PERCENT / elapsed;
        at_least(&format!("share of {}", after.vm), run, 48 * PERCENT)?;
        at_most(&format!("moves of {}", after.vm), after.moves, 1)?;
    }
    Ok(())
}

/// One that watches over its registers, memory and time finds nothing amiss, however often it is moved; those with cores of their
/// own and those with reservations never are.
fn the_moved_arrive_as_they_left(model: &str) -> Result<()> {
    let reservation = "budget = \"300 us\"\nperiod = \"1 ms\"";
    let vms = [
        steady("a", 1, "rests=7", ""),
        steady("b", 2, "rests=7", ""),
        steady("c", 3, "rests=7", ""),
        steady("own", 4, "", "cores = [2]"),
        vm("control", "periodic", "work=1000", reservation),
        vm("x", "wild", "doze on_us=3000 off_us=4100", ""),
    ];
    let mut boot = machine("", &vms).cpu_model(model).cpus(3);
    for _ in 0..3 {
        boot = boot.type_to(0, "steady: second=", "");
    }
    boot = boot.ctl("", "top");
    for vm in ["x", "control"] {
        boot = boot.ctl("", &format!("vm stop {vm}"));
    }
    for vm in 0..4 {
        boot = boot.type_to(vm, "", "q");
    }
    let outcome = boot.run()?;
    for vm in 0..4 {
        nothing_touched(&outcome, vm)?;
    }
    let times = times(outcome.answers.first())?;
    let moved = ["a", "b", "c"].map(|vm| moves(times, vm));
    println!("figure moves={moved:?}");
    at_least("moves of a, b and c", moved.iter().sum(), 50)?;
    for vm in ["own", "control"] {
        at_most(&format!("moves of {vm}"), moves(times, vm), 0)?;
    }
    ensure!(
        times
            .vcpus
            .iter()
            .all(|vcpu| (vcpu.vm == "own") == (vcpu.core == 2)),
        "{times:?}"
    );
    Ok(())
}

fn main() -> ExitCode {
    let mut trials = vec![
        qemu_tests::test!(the_waiting_go_to_the_idle_core),
        qemu_tests::test!(long three_on_two_cores),
    ];
    for (model, default) in [(WITH_DELIVERY, true), (WITHOUT_DELIVERY, false)] {
        let name = format!("the_moved_arrive_as_they_left::{model}");
        let trial = qemu_tests::test(&name, move || the_moved_arrive_as_they_left(model));
        trials.push(trial.with_ignored_flag(!default));
    }
    qemu_tests::main(trials)
}
