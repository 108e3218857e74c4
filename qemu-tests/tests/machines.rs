//! Several VMs on one machine, side by side, and what can be ordered of them.

mod common;

use anyhow::{Context, Result, ensure};
use common::steady::{boot, list, nothing_touched, seconds, steady, tiny, wild};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY, holds_of};
use proto::VmState;
use qemu_tests::{Answer, Ends};
use std::process::ExitCode;

/// Eight VMs on four cores, two to a core, each come to a good end, and the machine goes off with the last.
fn eight_at_once(model: &str) -> Result<()> {
    let claims = ["exceptions", "msrs", "control", "single_step", "ports"];
    let mut vms = vec![
        steady("a", 1, "seconds=2", ""),
        steady("b", 2, "seconds=2", ""),
        steady("c", 3, "seconds=2", ""),
    ];
    vms.extend(claims.map(|guest| tiny(&guest.replace('_', "-"), guest)));
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(4)
        .ctl("machine: up", "cores")
        .run()?;
    for vm in 0..3 {
        nothing_touched(&outcome, vm)?;
    }
    // What they say may be over before the second line is: the first has it, each line with its VM's name.
    for (name, _, _) in &vms[3..] {
        holds_of(&outcome, name)?;
    }
    let ended = outcome.serial.matches("vm: end reason=power-off ").count();
    ensure!(
        ended == vms.len(),
        "{ended} of {} VMs ended well",
        vms.len()
    );
    let Some(Answer::Cores(cores)) = outcome.answers.first() else {
        anyhow::bail!("no list of cores");
    };
    // They move as cores become idle, and none is lost.
    let on: Vec<usize> = cores.iter().map(|core| core.vcpus.len()).collect();
    ensure!(
        on.len() == 4 && on.iter().sum::<usize>() == vms.len(),
        "the VMs lie on the cores as {on:?}"
    );
    Ok(())
}

/// A VM is held and let go: its clock goes on, nothing else does, and no word of it is lost. Another is stopped while it is
/// held, and one is reset while it runs.
fn held_and_let_go(model: &str) -> Result<()> {
    let vms = [
        steady("clock", 1, "", ""),
        steady("held", 2, "", ""),
        steady("anew", 3, "", ""),
    ];
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(2)
        .ctl_after(1, "steady: second=", "vm pause held")
        .type_to(0, "steady: second=", "")
        .ctl("", "vm list")
        .type_to(0, "steady: second=", "")
        .type_to(0, "steady: second=", "")
        .ctl("", "vm list")
        .ctl("", "vm resume held")
        .type_to(1, "steady: second=", "")
        .ctl("", "vm reset anew")
        .ctl_after(2, "steady: start", "vm pause anew")
        .ctl("", "vm stop anew")
        .send("anew info bulkhead: vm: end reason=stopped", "")
        .type_to(0, "", "q")
        .type_to(1, "steady: second=", "q")
        .run()?;
    nothing_touched(&outcome, 0)?;
    nothing_touched(&outcome, 1)?;
    let (before, after) = (list(outcome.answers.get(1))?, list(outcome.answers.get(2))?);
    for vms in [before, after] {
        ensure!(vms[1].state == VmState::Paused, "{:?}", vms[1]);
    }
    ensure!(before[1].exits == after[1].exits, "a VM that is held exits");
    ensure!(
        before[0].exits < after[0].exits,
        "the other VM does not go on"
    );
    // It was held from its first second to its third at least, and knows it.
    let seconds = seconds(&outcome, 1)?;
    let [first, second] = [seconds[0], *seconds.get(1).context("it did not go on")?];
    ensure!(
        second[0] >= first[0] + 2,
        "its clock stood still: {seconds:?}"
    );
    let late = seconds.iter().any(|[_, _, _, worst]| *worst > 50_000_000);
    ensure!(late, "it was not held: {seconds:?}");
    outcome.expect_lines(&[
        "anew info bulkhead: vm: end reason=reset-by-command ",
        "anew info bulkhead: vm: start ",
        "anew info bulkhead: vm: end reason=stopped ",
    ])
}

/// What cannot be done is refused in a full sentence that says why; `off` ends the machine with VMs on it.
fn refusals(model: &str) -> Result<()> {
    let vms = [steady("up", 1, "", ""), wild("down", "spin", "")];
    let commands = [
        ("vm start up", "up cannot be started: it is running."),
        ("vm resume up", "up cannot be resumed: it is running."),
        ("vm stop down", "down cannot be stopped: it is off."),
        ("vm reset down", "down cannot be reset: it is off."),
        ("vm pause down", "down cannot be paused: it is off."),
        ("vm resume down", "down cannot be resumed: it is off."),
        (
            "vm start nobody",
            "There is no VM called nobody; the plan has up, down.",
        ),
        (
            "vm stats nobody",
            "There is no VM called nobody; the plan has up, down.",
        ),
    ];
    let first = boot(&vms)
        .cpu_model(model)
        .cpus(1)
        .ctl_after(0, "steady: second=", "vm list");
    let asked = commands
        .iter()
        .fold(first, |boot, (command, _)| boot.ctl("", command));
    let outcome = asked
        .ctl("", "vm pause up")
        .ctl("", "vm pause up")
        .ctl("", "off")
        .ends(Ends::Seen("machine: off reason=ordered".to_owned()))
        .run()?;
    for ((command, wanted), answer) in commands.iter().zip(&outcome.answers[1..]) {
        let wanted = Answer::Refused((*wanted).to_owned());
        ensure!(*answer == wanted, "`{command}` is answered by {answer:?}");
    }
    let rest = &outcome.answers[1 + commands.len()..];
    let wanted = [
        Answer::Done("up is paused.".to_owned()),
        Answer::Refused("up cannot be paused: it is paused.".to_owned()),
    ];
    ensure!(rest.starts_with(&wanted), "{rest:?}");
    Ok(())
}

/// The same at the machine's prompt, behind the escape key.
fn prompt(model: &str) -> Result<()> {
    let vms = [steady("up", 1, "", ""), wild("down", "spin", "")];
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(2)
        .send(r"up +\| steady: second=", "\x14m")
        .send("lists the commands", "vm list\r")
        .send(
            r"(?s)1 +up +running .*2 +down +off .*never started",
            "vm stp up\r",
        )
        .send("did you mean `vm stop`", "vm stop dwn\r")
        .send("did you mean `down`", "vm stop down\r")
        .send("down cannot be stopped: it is off.", "vm start down\r")
        .send(r"down is started", "cores\r")
        .send(r"1 +1 +up +shared +down/0", "vm stop down\r")
        .send("vm: end reason=stopped", "\x141")
        .send("console of up", "q")
        .run()?;
    // One console is shown as it comes, so a line of the log may stand within a line.
    outcome.expect_lines(&["^steady: done seconds=", "failed=0$"])
}

/// A core that two VMs want for themselves, and one that the machine does not have, are refused before any guest starts.
fn cores_that_cannot_be_had() -> Result<()> {
    let own = |name: &'static str, cores: &str| steady(name, 1, "", &format!("cores = {cores}"));
    for (vms, cpus, wanted) in [
        (
            vec![own("a", "[1]"), own("b", "[1]")],
            2,
            ["^error", "a core|core 1"],
        ),
        (vec![own("a", "[2]")], 2, ["^error", "core 2"]),
    ] {
        let outcome = boot(&vms).cpus(cpus).ends(Ends::Refused).run()?;
        outcome.expect_lines(&wanted)?;
        outcome.expect_line("^boot: refused$")?;
        outcome.expect_no_line("steady: ")?;
    }
    Ok(())
}

/// What is tried on a CPU model.
type Test = fn(&str) -> Result<()>;

fn main() -> ExitCode {
    // Which of them are in the default set on the model without virtual-interrupt delivery too.
    let tests: [(&str, Test, bool); 4] = [
        ("eight_at_once", eight_at_once, true),
        ("held_and_let_go", held_and_let_go, true),
        ("refusals", refusals, false),
        ("prompt", prompt, false),
    ];
    let mut trials = vec![qemu_tests::test!(cores_that_cannot_be_had)];
    for (name, test, both) in tests {
        for (model, default) in [(WITH_DELIVERY, true), (WITHOUT_DELIVERY, both)] {
            let trial = qemu_tests::test(&format!("{name}::{model}"), move || test(model));
            trials.push(trial.with_ignored_flag(!default));
        }
    }
    qemu_tests::main(trials)
}
