//! A VM that crashes again and again, is started anew each time, and takes nothing with it.

mod common;

use anyhow::{Context, Result, ensure};
use common::steady::nothing_touched;
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use proto::certificate::Fault;
use qemu_tests::{Boot, Ends, Outcome, Suite};
use regex::Regex;
use std::process::ExitCode;

/// The latest that the control loop, alone on its core, may wake beside all that: in ticks, from its deadline to its handler's first words.
const LATENESS: u64 = 1_000;

const PROMPT: &str = "debian:/# ";

/// The VMs by their numbers.
const DEBIAN: usize = 0;
const STEADY: usize = 1;
const CONTROL: usize = 2;
const CRASHER: usize = 3;

/// Crashes at random points of a VM with two vCPUs, beside a Debian at work and a VM that watches over itself on the same cores, and a
/// control loop on a core of its own.
fn crashes(model: &str, times: u32) -> Result<()> {
    let debian = "[[vm]]\nname = \"debian\"\nkernel = \"debian/vmlinuz\"\ninitrd = \"debian/initrd.img\"\n\
        cmdline = \"console=ttyS0\"\nmemory = \"192 MiB\"\nweight = 100\n";
    let restarts = "on_crash = \"restart\"\nrestarts = 1000000\nrestart_delay = \"0 ms\"";
    let outcome = Boot::guests_under(
        debian,
        &[
            ("steady", "steady", "cmdline = \"id=1\"\n"),
            ("control", "periodic", "cores = [2]\n"),
            (
                "crasher",
                "crasher",
                &format!("vcpus = 2\nautostart = false\n{restarts}\n"),
            ),
        ],
    )
    .with_debian(Suite::Bookworm)?
    .cpu_model(model)
    .cpus(3)
    .memory(768)
    .limit(180 + times)
    // A Debian at work, which looks whether its work comes to the same each time.
    .type_to(
        DEBIAN,
        PROMPT,
        "sha256sum /bin/busybox > s; (while sha256sum -c s >/dev/null; do :; done; echo bro''ken) &\n",
    )
    .ctl_after(DEBIAN, PROMPT, "vm start crasher")
    .send(&format!("crasher info bulkhead: vm: restarts .* crashes={times}\\s"), "")
    .ctl("", "vm stop crasher")
    .ctl("", "vm list")
    .type_to(DEBIAN, "", "echo ali''ve; jobs\n")
    .type_to(DEBIAN, "^alive", "")
    .type_to(DEBIAN, "Running", "kill %1; poweroff\n")
    .type_to(STEADY, "steady: second=", "q")
    .ctl_after(CONTROL, "so far cycles=", "off")
    .ends(Ends::Seen("machine: off reason=ordered".into()))
    .run()?;
    nothing_touched(&outcome, STEADY)?;
    let console = |vm| outcome.consoles.get(&vm).context("it has said nothing");
    ensure!(
        !console(DEBIAN)?.contains("broken"),
        "Debian's work came to something else"
    );
    let dirty = Regex::new("(?m)^crasher: dirty.*$")?;
    let found = dirty.find(console(CRASHER)?);
    ensure!(
        found.is_none(),
        "the crasher found what was left: {found:?}"
    );
    let starts = console(CRASHER)?.matches("crasher: clean").count();
    ensure!(
        starts >= times as usize,
        "{starts} starts found clean memory"
    );
    let ends = outcome
        .serial
        .matches("crasher warn bulkhead: vm: end reason=")
        .count();
    ensure!(ends >= times as usize, "{ends} crashes");
    let late = outcome.expect_console(
        CONTROL,
        r"so far cycles=\d+ .*worst_ticks=(\d+) .*missed=0$",
    )?;
    let late: u64 = late[1].parse()?;
    println!(
        "figure {model} crashes={times} lateness={late} {}",
        loads(&outcome)?
    );
    ensure!(late <= LATENESS, "the control loop was {late} ticks late");
    Ok(())
}

/// What a restart costs, without the time between two starts that each VM has to keep.
fn loads(outcome: &Outcome) -> Result<String> {
    let loaded = Regex::new(r"crasher info bulkhead: vm: start .* loaded_in=(\d+)")?;
    let mut ticks: Vec<u64> = loaded
        .captures_iter(&outcome.serial)
        .map(|found| found[1].parse())
        .collect::<Result<_, _>>()?;
    ticks.sort_unstable();
    let (median, worst) = (ticks.get(ticks.len() / 2), ticks.last());
    let (median, worst) = median.zip(worst).context("no start")?;
    Ok(format!("load_median={median} load_worst={worst}"))
}

/// One that may be started anew three times stays off then, and the delays double.
fn gives_up(model: &str) -> Result<()> {
    let keys =
        "cmdline = \"triple\"\non_crash = \"restart\"\nrestarts = 3\nrestart_delay = \"200 ms\"\n";
    let outcome = Boot::guests(&[("hopeless", "wild", keys)])
        .cpu_model(model)
        .ends(Ends::Stopped)
        .run()?;
    outcome.expect_lines(&[
        "hopeless info bulkhead: vm: start ",
        "hopeless warn bulkhead: vm: code 0x[0-9a-f]+: 0f 0b = ud2$",
        "hopeless warn bulkhead: vm: exit at=\\d+ end$",
        "hopeless warn bulkhead: vm: end reason=triple-fault ",
        "hopeless info bulkhead: vm: restarts after_ms=200 crashes=1$",
        "hopeless info bulkhead: vm: start ",
        "hopeless info bulkhead: vm: restarts after_ms=400 crashes=2$",
        "hopeless info bulkhead: vm: restarts after_ms=800 crashes=3$",
        "hopeless warn bulkhead: vm: end reason=triple-fault ",
        "hopeless warn bulkhead: vm: stays off: it has crashed again after 3 restarts$",
        "machine: off reason=last-guest-stopped",
    ])
}

/// A bug of ours that is met at work for one vCPU ends that VM, which is started anew; one that holds a lock of the machine's ends the
/// machine, with a report.
fn a_bug_ends_the_vm_that_it_is_met_for(model: &str) -> Result<()> {
    let crash = "on_crash = \"restart\"\nrestart_delay = \"0 ms\"\n";
    let outcome = Boot::guests(&[
        ("same", "steady", "cmdline = \"id=1\"\n"),
        ("met", "steady", &format!("cmdline = \"id=2\"\n{crash}")),
        ("other", "steady", "cmdline = \"id=3\"\ncores = [1]\n"),
    ])
    .planted()
    .cpu_model(model)
    .cpus(2)
    .type_to(1, "steady: second=", "")
    .plant("", "met", Fault::Bug)
    .type_to(1, "steady: start", "")
    .type_to(1, "steady: second=", "")
    .type_to(0, "steady: second=", "q")
    .type_to(0, "steady: done", "")
    .type_to(2, "steady: second=", "q")
    .type_to(2, "steady: done", "")
    .plant("", "met", Fault::BugWithLock)
    .ends(Ends::Seen("error bulkhead: machine: stopped".into()))
    .run()?;
    nothing_touched(&outcome, 0)?;
    nothing_touched(&outcome, 2)?;
    outcome.expect_lines(&[
        r"met error bulkhead: vm: vcpu=0 panic at .*planted\.rs:\d+:\d+: planted$",
        r"met error bulkhead: vm: callers 0x[0-9a-f]+",
        r"met error bulkhead: vm: a panic at work for it$",
        r"met error bulkhead: vm: exit at=\d+ ",
        r"met error bulkhead: vm: end reason=bug ",
        r"met info bulkhead: vm: restarts after_ms=\d+ crashes=1$",
        r"met info bulkhead: vm: start ",
        r"- error bulkhead: machine: panic at .*planted\.rs:\d+:\d+: planted, with a lock$",
        r"- error bulkhead: machine: serves vm=met vcpu=0$",
        r"- error bulkhead: machine: stopped",
    ])
}

/// A VM that is to stay off when it reboots does.
fn stays_off_when_it_reboots(model: &str) -> Result<()> {
    let outcome = Boot::guests(&[(
        "once",
        "wild",
        "cmdline = \"reset\"\non_reboot = \"stop\"\n",
    )])
    .cpu_model(model)
    .ends(Ends::Stopped)
    .run()?;
    outcome.expect_lines(&[
        "once info bulkhead: vm: start ",
        "once info bulkhead: vm: end reason=reset ",
        "machine: off reason=last-guest-stopped",
    ])?;
    let starts = outcome.serial.matches("vm: start ").count();
    ensure!(starts == 1, "it was started {starts} times");
    Ok(())
}

fn main() -> ExitCode {
    let mut trials = Vec::new();
    for (model, default) in [(WITH_DELIVERY, true), (WITHOUT_DELIVERY, false)] {
        for (times, default) in [(50, default), (1000, false)] {
            let name = format!("crashes::{times}::{model}");
            let trial = qemu_tests::test(&name, move || crashes(model, times));
            trials.push(trial.with_ignored_flag(!default));
        }
    }
    trials.push(qemu_tests::test("gives_up", || gives_up(WITH_DELIVERY)));
    trials.push(qemu_tests::test("stays_off_when_it_reboots", || {
        stays_off_when_it_reboots(WITH_DELIVERY)
    }));
    trials.push(qemu_tests::test(
        "a_bug_ends_the_vm_that_it_is_met_for",
        || a_bug_ends_the_vm_that_it_is_met_for(WITH_DELIVERY),
    ));
    qemu_tests::main(trials)
}
