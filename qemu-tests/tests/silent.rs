//! Guests that make no exit in their steady life: the statistics say so, asked before and after ten seconds of it, in which nothing
//! goes over their consoles.

mod common;

use anyhow::{Context, Result, ensure};
use common::WITH_DELIVERY;
use common::carried::{DIRECT, WITH_POSTING, added, carried_by, statistics};
use common::steady::list;
use qemu_tests::{Answer, Boot, Ends, Outcome, Suite};
use std::process::ExitCode;

/// The shell's prompt; the echo of what was sent follows it on the same line.
const PROMPT: &str = "debian:/# ";

/// The numbers of the VMs in the config.
const DEBIAN: usize = 0;
const CLOCK: usize = 1;
const QUIET: usize = 2;

/// Seconds of silence that are asked for.
const SECONDS: u64 = 10;

/// Says each second that one is over, on the core that serves the consoles.
const CLOCK_VM: &str = "[[vm]]\nname = \"clock\"\nkernel = \"clock.elf\"\nformat = \"elf64\"\nmemory = \"16 MiB\"\ncores = [0]\n\
                        cmdline = \"period_us=100000\"\n";
/// Busy and asleep with a tick of 250 Hz.
const QUIET_VM: &str = "[[vm]]\nname = \"quiet\"\nkernel = \"quiet.elf\"\nformat = \"elf64\"\nmemory = \"16 MiB\"\ncores = [1]\n\
                        cmdline = \"seconds=20 self_ipis\"\nexits = \"none\"\nboot = \"1 s\"\nautostart = false\n";

/// A Debian with so many processors, the clock, and the quiet guest.
fn machine(suite: Suite, model: &str, vcpus: u32) -> Result<Boot> {
    let cores: Vec<String> = (2..2 + vcpus).map(|core| core.to_string()).collect();
    let text = format!(
        "[[vm]]\nname = \"debian\"\nkernel = \"debian/vmlinuz\"\ninitrd = \"debian/initrd.img\"\ncmdline = \"console=ttyS0\"\n\
         memory = \"256 MiB\"\ncores = [{}]\nexits = \"none\"\nboot = \"10 s\"\n{CLOCK_VM}{QUIET_VM}",
        cores.join(", ")
    );
    let boot = Boot::config(&text)
        .with_debian(suite)?
        .guest_file("clock.elf", "periodic")
        .guest_file("quiet.elf", "quiet");
    // A command takes its time by the wall clock, in which an idle machine's time flies.
    Ok(boot.cpu_model(model).cpus(2 + vcpus).memory(512).limit(600))
}

/// Asks for the statistics of these VMs, lets so many seconds pass, and asks again.
fn ask(boot: Boot, vms: &[&str]) -> Boot {
    let second = |boot: Boot| boot.type_to(CLOCK, "periodic: cycles=", "");
    let stats = |boot: Boot| {
        vms.iter()
            .fold(boot, |boot, vm| boot.ctl("", &format!("vm stats {vm}")))
    };
    // What was said and asked last is over by then.
    let mut boot = stats(second(second(boot))).ctl("", "vm list");
    for _ in 0..=SECONDS {
        boot = second(boot);
    }
    stats(boot.ctl("", "vm list"))
}

/// What a VM has exited for between the two answers, by vCPU and kind, and that it has had its seconds.
fn exits_between(outcome: &Outcome, vm: &str) -> Result<Vec<((u32, String), u64)>> {
    let lists: Vec<_> = outcome
        .answers
        .iter()
        .filter(|answer| matches!(answer, Answer::Vms(_)))
        .collect();
    let mut passed = Vec::new();
    for answer in lists {
        let info = list(Some(answer))?.iter().find(|info| info.name == vm);
        let info = info.with_context(|| format!("{vm} is not listed"))?;
        passed.push((info.uptime.0, info.tsc.0));
    }
    let [(before, hz), (after, _)] = passed[..] else {
        anyhow::bail!("{} lists of VMs", passed.len());
    };
    ensure!(
        after - before >= SECONDS * hz,
        "{} ticks of {hz} in a second have passed",
        after - before
    );
    let all = statistics(outcome, vm);
    let [before, after] = all[..] else {
        anyhow::bail!("{} statistics of {vm}", all.len());
    };
    Ok(added(before, after).into_iter().collect())
}

/// Whether a VM has made no exit but of one kind that is allowed.
fn is_silent(outcome: &Outcome, vm: &str, but: Option<&str>) -> Result<()> {
    carried_by(outcome, vm, DIRECT)?;
    let exits = exits_between(outcome, vm)?;
    println!("figure {vm} exits_in_{SECONDS}_s {exits:?}");
    let wrong: Vec<_> = exits
        .iter()
        .filter(|((_, kind), _)| Some(kind.as_str()) != but)
        .collect();
    ensure!(
        wrong.is_empty(),
        "{vm} exits, by vCPU and kind: {wrong:?}\n{}",
        outcome.tail()
    );
    if but.is_none() {
        let last = statistics(outcome, vm).pop().context("no statistics")?;
        let least = SECONDS * last.tsc.0;
        for vcpu in &last.vcpus {
            let promise = vcpu.promise.as_ref().context("no promise is known of it")?;
            ensure!(vcpu.last_exit.0 >= least, "{vm}: {vcpu:?}");
            ensure!(
                promise.holds_for.is_some_and(|ticks| ticks.0 >= least),
                "{vm}: {vcpu:?}"
            );
        }
    }
    Ok(())
}

/// A Debian with a tick of 250 Hz, busy and idle, makes no exit; with several processors none but for messages between them.
fn debian(suite: Suite, model: &str, vcpus: u32) -> Result<()> {
    // By the shell alone: each program that starts asks CPUID what the processor is, which exits.
    let script = format!(
        "p=; for n in $(seq {vcpus}); do (while :; do :; done) & p=\"$p $!\"; done; echo be''gins; \
         read -t 10 key; kill $p; read -t 16 key; echo en''ded\n"
    );
    let boot = machine(suite, model, vcpus)?
        .type_to(DEBIAN, PROMPT, &script)
        .ctl_after(DEBIAN, "begins", "vm start quiet")
        .type_to(QUIET, "quiet: begins", "");
    let outcome = ask(boot, &["debian", "quiet"])
        .type_to(QUIET, "quiet: done", "")
        .type_to(
            DEBIAN,
            "ended",
            "dmesg -r | sed -n 's/^<[0-4]>/WARNING: /p'\n",
        )
        .type_to(DEBIAN, PROMPT, "poweroff\n")
        .send("debian info bulkhead: vm: end reason=power-off", "")
        .ctl("", "off")
        .ends(Ends::Seen("machine: off reason=ordered".to_owned()))
        .run()?;
    is_silent(&outcome, "debian", (vcpus > 1).then_some("icr"))?;
    is_silent(&outcome, "quiet", None)?;
    let console = outcome.consoles.get(&DEBIAN).map_or("", String::as_str);
    ensure!(
        !console.contains("\nWARNING: "),
        "the kernel warns\n{console}"
    );
    // The tick was there all the time, hardly late, also where it had to wake the processor.
    let done = outcome.expect_console(
        QUIET,
        r"^quiet: done ticks=(\d+) of=(\d+) missed=0 worst_ticks=(\d+) slept=(\d+) messages=(\d+) of=(\d+)$",
    )?;
    println!("figure {model} quiet worst_ticks {}", &done[3]);
    ensure!(done[1] == done[2] && done[5] == done[6], "{}", &done[0]);
    ensure!(
        done[3].parse::<u64>()? < 2_000 && done[4].parse::<u64>()? > 1_000,
        "{}",
        &done[0]
    );
    Ok(())
}

fn main() -> ExitCode {
    use Suite::{Bookworm, Newest, Trixie};
    let machines = [
        (Bookworm, WITH_DELIVERY, 1, true),
        (Bookworm, WITH_DELIVERY, 2, false),
        (Bookworm, WITH_POSTING, 2, false),
        (Trixie, WITH_DELIVERY, 1, false),
        (Newest, WITH_DELIVERY, 1, false),
    ];
    let trials = machines.into_iter().map(|(suite, model, vcpus, default)| {
        let name = format!("silent::{}::{vcpus}::{model}", suite.name());
        qemu_tests::test(&name, move || debian(suite, model, vcpus)).with_ignored_flag(!default)
    });
    qemu_tests::main(trials.collect())
}
