//! Debian kernels with several vCPUs: all of them come up, go and come back, and bear stress.

mod common;

use anyhow::{Context, Result, ensure};
use common::carried::{ACCELERATED, DIRECT, SOFTWARE, WITH_POSTING, carried_by};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use proto::VmInfo;
use qemu_tests::{Answer, Boot, Outcome, Source, Suite};
use std::process::ExitCode;
use xtask::report::Reporter;
use xtask::supply;

/// The shell's prompt; the echo of what was sent follows it on the same line.
const PROMPT: &str = "debian:/# ";

/// What the kernel has said at level "warning" or worse, a line each.
const WARNINGS: &str = "dmesg -r | sed -n 's/^<[0-4]>/WARNING: /p'\n";

/// What the guest runs on.
#[derive(Clone, Copy)]
struct On {
    suite: Suite,
    model: &'static str,
    vcpus: u32,
    /// Of the machine; the first is not the guest's where each of its processors has one of its own
    cores: u32,
    /// Who carries its local APICs
    carrier: &'static str,
}

impl On {
    fn boot(self, initrd: &str) -> Result<Boot> {
        let processors = if self.carrier == DIRECT {
            let own: Vec<String> = (1..=self.vcpus).map(|core| core.to_string()).collect();
            format!("cores = [{}]", own.join(", "))
        } else {
            format!("vcpus = {}", self.vcpus)
        };
        let text = format!(
            "[[vm]]\nname = \"debian\"\nkernel = \"debian/vmlinuz\"\ninitrd = \"debian/{initrd}\"\n\
             cmdline = \"console=ttyS0\"\nmemory = \"256 MiB\"\n{processors}\ninterrupts = \"{}\"\n",
            self.carrier
        );
        let boot = Boot::config(&text).with_debian(self.suite)?;
        let boot = boot.cpu_model(self.model).cpus(self.cores);
        Ok(boot.memory(512).limit(300))
    }

    fn stressed(self) -> Result<Boot> {
        let initrd = supply::stress(&Reporter::new())?;
        let boot = self.boot("stress.img")?;
        Ok(boot.file("debian/stress.img", Source::Path(initrd)))
    }
}

fn warns_of_nothing(outcome: &Outcome) -> Result<()> {
    outcome.expect_no_line("^WARNING: .*$")?;
    outcome.expect_no_line("Kernel panic|BUG:|rcu:.*stall|soft lockup|hard LOCKUP")
}

/// All processors come up on one time, each but the first goes and comes back, again and again, and so does the whole guest.
fn processors(on: On) -> Result<()> {
    let On { vcpus, .. } = on;
    let last = vcpus - 1;
    let count = "echo count=$(nproc),$(grep -c ^processor /proc/cpuinfo),$(cat /sys/devices/system/cpu/online)\n";
    let clock = "cat /sys/devices/system/clocksource/clocksource0/*_clocksource\n";
    let gone = format!(
        "for n in 1 2 3; do for c in $(seq {last}); do f=/sys/devices/system/cpu/cpu$c/online; \
         echo 0 >$f; echo gone=$(nproc); echo 1 >$f; echo back=$(nproc); done; done\n"
    );
    let outcome = on
        .boot("initrd.img")?
        .send(PROMPT, WARNINGS)
        .send(PROMPT, count)
        .send(PROMPT, clock)
        .send(PROMPT, &gone)
        // A processor that came back does work, and its timer goes off.
        .send(PROMPT, "for c in $(seq 0 9); do taskset $((1 << c)) sleep 0.1 2>/dev/null && echo works=$c; done\n")
        .send(PROMPT, WARNINGS)
        .send(PROMPT, "reboot\n")
        // The shell may prompt once more before its kernel goes down.
        .send("vm: end reason=reset", "")
        .send(PROMPT, count)
        .send(PROMPT, WARNINGS)
        .send(PROMPT, "poweroff\n")
        .run()?;
    warns_of_nothing(&outcome)?;
    let all = format!("^count={vcpus},{vcpus},0-{last}$");
    let (gone, back) = (format!("^gone={last}$"), format!("^back={vcpus}$"));
    let works: Vec<String> = (0..vcpus).map(|c| format!("^works={c}$")).collect();
    // What there is, and which is used.
    let mut wanted = vec!["vm: start ", all.as_str(), "^tsc *$", "^tsc$"];
    for _ in 0..3 * last {
        wanted.extend([gone.as_str(), back.as_str()]);
    }
    wanted.extend(works.iter().map(String::as_str));
    wanted.extend(["vm: end reason=reset ", "vm: start ", all.as_str()]);
    wanted.push("vm: end reason=power-off ");
    outcome.expect_lines(&wanted)?;
    outcome.expect_no_line("online: (Device or resource busy|Input/output error)|write error")?;
    let started = outcome.serial.matches("machine: up ").count();
    ensure!(started == 1, "the machine came up {started} times");
    Ok(())
}

/// Locks, wake-ups, signals and timers by the thousand leave nothing in the kernel's log; idle, the guest hardly exits.
fn stress(on: On) -> Result<()> {
    let real_time = "cyclictest -q -S -D 2 -i 1000 -p 50 2>&1; signaltest -q -l 500 -t 4; pi_stress -q -D 2 -g 2";
    let outcome = on
        .stressed()?
        // A task of real-time priority may have a processor for itself: the kernel warns of what it takes from such a task.
        .send(PROMPT, "echo -1 >/proc/sys/kernel/sched_rt_runtime_us\n")
        // A command takes its time by the wall clock, in which an idle guest's time flies: it is idle until told to go on.
        .send(PROMPT, "until read -t 1 key; do echo ti''ck; done\n")
        .ctl("tick", "vm list")
        .send("tick", "")
        .send("tick", "")
        .send("tick", "")
        .ctl("tick", "vm list")
        .send("", "\n")
        .send(PROMPT, "echo bu''sy; for n in 1 2 3; do hackbench -g 2 -f 5 -l 100; hackbench -p -T -g 2 -f 5 -l 100; done; echo do''ne\n")
        .ctl("busy", "vm list")
        .ctl("done", "vm list")
        .send("", &format!("{real_time}; echo sta''tus=$?\n"))
        .ctl("status=", "vm stats debian")
        .send(PROMPT, WARNINGS)
        .send(PROMPT, "echo count=$(nproc); cat /sys/devices/system/clocksource/clocksource0/current_clocksource\n")
        .send(PROMPT, "poweroff\n")
        .run()?;
    warns_of_nothing(&outcome)?;
    let ran = outcome.serial.matches("\nTime: ").count();
    ensure!(ran == 6, "{ran} of 6 runs of hackbench came to their end");
    outcome.expect_line(r"(?s)^T: *0 .*^T: *1 .*Total inversion performed: [1-9]\d*")?;
    outcome.expect_lines(&["^status=0$", &format!("^count={}$", on.vcpus), "^tsc$"])?;
    let all = [0, 2].map(|at| exits_per_second(outcome.answers.get(at..at + 2)));
    let [idle, busy] = all;
    let (idle, busy) = (idle?, busy?);
    println!(
        "figure {} {} vcpus={} cores={} idle_exits_per_s={idle} busy_exits_per_s={busy}",
        on.model, on.carrier, on.vcpus, on.cores
    );
    carried_by(&outcome, "debian", on.carrier)?;
    ensure!(
        idle < 2_000 * u64::from(on.vcpus),
        "an idle guest exits {idle} times a second"
    );
    Ok(())
}

/// From two answers to `vm list`.
fn exits_per_second(answers: Option<&[Answer]>) -> Result<u64> {
    let Some([Answer::Vms(before), Answer::Vms(after)]) = answers else {
        anyhow::bail!("not two lists of VMs: {answers:?}");
    };
    let first = |vms: &[VmInfo]| vms.first().cloned().context("no VM");
    let (before, after) = (first(before)?, first(after)?);
    let ticks = after.uptime.0.saturating_sub(before.uptime.0);
    ensure!(ticks > 0, "no time has passed");
    Ok((after.exits - before.exits) * after.tsc.0 / ticks)
}

/// What is tried.
type Test = fn(On) -> Result<()>;

fn main() -> ExitCode {
    use Suite::{Bookworm, Newest, Trixie};
    // Suite, model, vCPUs, cores, carrier, and which of the two are in the default set.
    let machines = [
        (Bookworm, WITH_DELIVERY, 2, 2, ACCELERATED, [false, true]),
        (Bookworm, WITH_DELIVERY, 2, 3, DIRECT, [true, true]),
        (Bookworm, WITHOUT_DELIVERY, 2, 2, SOFTWARE, [true, false]),
        (Bookworm, WITHOUT_DELIVERY, 2, 1, SOFTWARE, [false, true]),
        (Bookworm, WITH_DELIVERY, 2, 1, ACCELERATED, [true, false]),
        (Bookworm, WITH_POSTING, 2, 2, ACCELERATED, [false, false]),
        (Bookworm, WITH_DELIVERY, 4, 4, ACCELERATED, [true, false]),
        (Bookworm, WITHOUT_DELIVERY, 4, 4, SOFTWARE, [false, false]),
        (Bookworm, WITH_DELIVERY, 4, 5, DIRECT, [false, false]),
        (Bookworm, WITH_DELIVERY, 4, 2, ACCELERATED, [false, false]),
        (Trixie, WITH_DELIVERY, 2, 2, ACCELERATED, [false, false]),
        (Trixie, WITH_DELIVERY, 2, 3, DIRECT, [false, false]),
        (Trixie, WITHOUT_DELIVERY, 4, 4, SOFTWARE, [false, false]),
        (Newest, WITH_DELIVERY, 4, 4, ACCELERATED, [false, false]),
        (Newest, WITH_DELIVERY, 4, 5, DIRECT, [false, false]),
        (Newest, WITHOUT_DELIVERY, 2, 2, SOFTWARE, [false, false]),
    ];
    let tests: [(&str, Test); 2] = [("processors", processors), ("stress", stress)];
    let mut trials = Vec::new();
    for (suite, model, vcpus, cores, carrier, default) in machines {
        let on = On {
            suite,
            model,
            vcpus,
            cores,
            carrier,
        };
        for ((name, test), default) in tests.into_iter().zip(default) {
            let name = format!(
                "{}::{name}::{vcpus}_on_{cores}::{carrier}::{model}",
                suite.name()
            );
            let trial = qemu_tests::test(&name, move || test(on));
            trials.push(trial.with_ignored_flag(!default));
        }
    }
    qemu_tests::main(trials)
}
