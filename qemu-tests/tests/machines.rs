//! Several VMs on one machine: side by side, started and stopped, faulty and wild, and none of them to another's harm.

mod common;

use anyhow::{Context, Result, ensure};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use proto::{VmInfo, VmState};
use qemu_tests::{Answer, Boot, Ends, Outcome};
use std::process::ExitCode;

/// A VM that works, watches over itself and says so each second: its name, its program, further lines of its config.
fn steady(name: &'static str, id: u32, seconds: &str, lines: &str) -> (String, String, String) {
    let config = format!("cmdline = \"id={id} {seconds}\"\n{lines}\n");
    (name.to_owned(), "steady".to_owned(), config)
}

/// A VM that misbehaves in a way, once it is started.
fn wild(name: &str, way: &str, lines: &str) -> (String, String, String) {
    let config = format!("cmdline = \"{way}\"\nautostart = false\n{lines}\n");
    (name.to_owned(), "wild".to_owned(), config)
}

fn tiny(name: &str, guest: &str) -> (String, String, String) {
    (name.to_owned(), guest.to_owned(), String::new())
}

fn boot(vms: &[(String, String, String)]) -> Boot {
    let vms: Vec<_> = vms
        .iter()
        .map(|(n, g, l)| (n.as_str(), g.as_str(), l.as_str()))
        .collect();
    // A command takes its time by the wall clock, in which the machine goes on.
    Boot::guests(&vms).limit(300)
}

/// A steady VM has come to its end, and nothing of it was ever touched.
fn nothing_touched(outcome: &Outcome, vm: usize) -> Result<()> {
    let done =
        outcome.expect_console(vm, r"^steady: done seconds=\d+ rounds=(\d+) failed=(\d+)$")?;
    let (rounds, failed): (u64, u64) = (done[1].parse()?, done[2].parse()?);
    ensure!(
        failed == 0,
        "VM {vm} was touched {failed} times\n{}",
        outcome.consoles[&vm]
    );
    ensure!(rounds > 0, "VM {vm} did nothing");
    Ok(())
}

/// What a steady VM said of each second: its number, rounds, ticks, the worst lateness.
fn seconds(outcome: &Outcome, vm: usize) -> Result<Vec<[u64; 4]>> {
    let console = outcome.consoles.get(&vm).context("it has said nothing")?;
    let field = |line: &str, name: &str| -> Option<u64> {
        let after = line.split_once(&format!("{name}="))?.1;
        after.split_whitespace().next()?.parse().ok()
    };
    let lines = console
        .lines()
        .filter(|line| line.starts_with("steady: second="));
    let read = |line| {
        let fields = ["second", "rounds", "ticks", "worst_ticks"];
        let [a, b, c, d] = fields.map(|name| field(line, name));
        Some([a?, b?, c?, d?])
    };
    lines
        .map(|line| read(line).with_context(|| line.to_owned()))
        .collect()
}

fn list(answer: Option<&Answer>) -> Result<&[VmInfo]> {
    match answer {
        Some(Answer::Vms(vms)) => Ok(vms),
        other => anyhow::bail!("not a list of VMs: {other:?}"),
    }
}

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
        let claims =
            outcome.expect_line(&format!(r"^{name} *\| guest: claims (\d+)$"))?[1].to_owned();
        let done = format!(r"^{name} *\| guest: done passed={claims} failed=0$");
        outcome.expect_line(&done)?;
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
    let busy: Vec<usize> = cores.iter().map(|core| core.vcpus.len()).collect();
    ensure!(busy == [2; 4], "the VMs lie on the cores as {busy:?}");
    Ok(())
}

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
        .ctl_after(0, "steady: start", "vm start triple")
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
        tiny("reset", "reset"),
    ];
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(2)
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
        .ctl_after(1, "steady: second=1 ", "vm pause held")
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
        first[0] == 1 && second[0] >= 3,
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
        .type_to(0, "steady: second=1 ", "")
        .ctl_after(0, "steady: second=2 ", "vm list");
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
    let tests: [(&str, Test, bool); 8] = [
        ("eight_at_once", eight_at_once, true),
        ("a_hundred_starts", a_hundred_starts, false),
        ("the_faulty_end_alone", the_faulty_end_alone, true),
        ("a_reset_beside_others", a_reset_beside_others, false),
        ("held_and_let_go", held_and_let_go, true),
        ("refusals", refusals, false),
        ("prompt", prompt, false),
        ("wild_neighbours", wild_neighbours, true),
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
