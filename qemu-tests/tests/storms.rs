//! Guests that do their worst, beside others that have a right to their time.

mod common;

use anyhow::{Context, Result, ensure};
use common::shares::{
    Cycles, Jobs, PERCENT, Said, Span, Vm, at_least, at_most, cycles, idle, jobs, machine, spans,
    times, vm, worst,
};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use proto::MachineTimes;
use qemu_tests::{Ends, Outcome};
use std::process::ExitCode;

/// The latest that a control loop with a reservation has its core after its deadline, whatever its neighbours do, in ticks: three periods.
/// Most of it is the host's own work, for the core is the one that carries out commands, of which each storm has two in its time: with so
/// many VMs `top` alone takes it for a period. Without them it is less than half a period, and one beside resets or a flood of the console.
const LATENESS: u64 = 150_000;
/// The most jobs of some two thousand that are late for that, and beside a flood of the console, which is the work of that very core.
const LATE_JOBS: u64 = 2;
const LATE_JOBS_BESIDE_A_FLOOD: u64 = 5;
/// A turn of those that have a core by their weights, and what a change and the host's own work add to it.
const TURN: u64 = 2 * 50_000;

/// What is tried: a name, the program, its command line, its vCPUs.
type Storm = (&'static str, &'static str, &'static str, u32);

const STORMS: [Storm; 17] = [
    ("spin", "wild", "spin", 1),
    ("halt", "wild", "halt nap=2000", 1),
    ("halt-at-once", "wild", "halt nap=0", 1),
    ("timer", "wild", "timer", 1),
    ("deaf-timer", "wild", "deaf_timer", 1),
    ("tick", "wild", "tick", 1),
    ("ipi", "wild", "ipi", 1),
    ("exit", "wild", "exit", 1),
    ("chatter", "wild", "chatter", 1),
    ("doze", "wild", "doze on_us=100 off_us=100", 1),
    ("reset", "wild", "reset", 1),
    ("halted", "storm", "halted", 2),
    ("deaf", "storm", "deaf", 2),
    ("nmi", "storm", "nmi", 2),
    ("spinning", "storm", "spinning", 2),
    ("init", "storm", "init", 2),
    ("startup", "storm", "startup", 2),
];

/// A control loop with a reservation, and one that has a third of the rest at least: two thirds are the storm's two vCPUs'.
fn victims() -> Vec<Vm> {
    let reservation = "budget = \"300 us\"\nperiod = \"1 ms\"";
    vec![
        vm("control", "periodic", "work=4000", reservation),
        vm("batch", "share", "span_ms=200", "weight = 100"),
    ]
}

/// A time of the machine's TSC, by the log.
struct Interval {
    from: u64,
    until: u64,
}

impl Interval {
    /// From a VM's first start to its end by command, or the machine's.
    fn of(outcome: &Outcome, vm: &str) -> Result<Interval> {
        let line = |event| format!(r"^ *(\d+) \d+ {vm} \w+ bulkhead: vm: {event}");
        let from = outcome.expect_line(&line("start "))?[1].parse()?;
        let end = outcome.expect_line(&line("end reason=stopped"));
        let until = end.map_or(Ok(u64::MAX), |end| end[1].parse())?;
        Ok(Interval { from, until })
    }

    fn holds(&self, from: u64, until: u64) -> bool {
        self.from <= from && until <= self.until
    }

    /// What one that measures spans had meanwhile.
    fn spans(&self, said: &Said, vm: &str) -> Result<Vec<Span>> {
        let spans = spans(said, vm)?.into_iter();
        let spans: Vec<_> = spans.filter(|s| self.holds(s.from, s.until())).collect();
        ensure!(!spans.is_empty(), "{vm} has measured nothing meanwhile");
        Ok(spans)
    }

    /// What a control loop did in the seconds that lie within.
    fn seconds(&self, said: &Said, vm: &str) -> Result<Vec<(Cycles, Jobs)>> {
        let second = said.micros(1_000_000);
        let rows = cycles(said, vm)?.into_iter().zip(jobs(said, vm)?);
        let rows: Vec<_> = rows
            .filter(|(_, jobs)| self.holds(jobs.until - second, jobs.until))
            .collect();
        ensure!(!rows.is_empty(), "{vm} has done nothing meanwhile");
        Ok(rows)
    }
}

/// Each storm beside the victims, on one core, one after the other.
fn storms(model: &str, cpus: u32, storms: &[Storm]) -> Result<()> {
    let mut vms = victims();
    let first = vms.len();
    for (name, program, words, vcpus) in storms {
        vms.push(idle(
            name,
            program,
            words,
            &format!("vcpus = {vcpus}\nweight = 100"),
        ));
    }
    let mut boot = machine("", &vms)
        .cpu_model(model)
        .cpus(cpus)
        .memory(1024)
        .limit(300)
        .type_to(1, "share: span=2", "");
    for (at, (name, ..)) in storms.iter().enumerate() {
        boot = boot
            .ctl("", &format!("vm start {name}"))
            .type_to(first + at, "begins", "")
            .ctl("", "top");
        // Two seconds of the control loop, of which one lies wholly within.
        for _ in 0..11 {
            boot = boot.type_to(1, "share: span=", "");
        }
        boot = boot.ctl("", "top");
        if at + 1 < storms.len() {
            boot = boot
                .ctl("", &format!("vm stop {name}"))
                .send(&format!("{name} info bulkhead: vm: end reason=stopped"), "");
        }
    }
    let off = Ends::Seen("machine: off reason=ordered".to_owned());
    let outcome = boot.ctl("", "off").ends(off).run()?;
    let said = Said::of(&vms, &outcome)?;
    let tops: Vec<_> = outcome
        .answers
        .iter()
        .filter_map(|answer| times(Some(answer)).ok())
        .collect();
    ensure!(
        tops.len() == 2 * storms.len(),
        "{} answers to `top`",
        tops.len()
    );
    let mut broken = Vec::new();
    for ((name, _, _, vcpus), tops) in storms.iter().zip(tops.chunks(2)) {
        let interval = Interval::of(&outcome, name)?;
        let seconds = interval.seconds(&said, "control")?;
        let late = seconds.iter().map(|(cycles, _)| cycles.worst).max();
        let over = seconds
            .iter()
            .map(|(cycles, jobs)| cycles.missed + jobs.over);
        let run = |vm: &str| run(tops[1], vm) - run(tops[0], vm);
        // Those with weights have what the control loop leaves over: each vCPU that wants it, as much as another. On two cores that holds
        // for each of them, and batch has half of one at worst.
        let elapsed = tops[1].now.since(tops[0].now).0;
        let parts = 1 + u64::from(*vcpus);
        let late_jobs = match *name {
            "chatter" => LATE_JOBS_BESIDE_A_FLOOD,
            _ => LATE_JOBS,
        };
        let (part, least) = match cpus {
            1 => (
                run("batch") * 100 * PERCENT / (run("batch") + run(name)),
                99 * PERCENT / parts,
            ),
            _ => (run("batch") * 100 * PERCENT / elapsed, 38 * PERCENT),
        };
        println!(
            "figure {name}: its own part={}",
            run(name) * 100 * PERCENT / elapsed
        );
        let checks = [
            at_least(&format!("{name}: part of batch"), part, least),
            at_most(
                &format!("{name}: worst gap of batch"),
                worst(&interval.spans(&said, "batch")?),
                parts * TURN,
            ),
            at_most(
                &format!("{name}: lateness"),
                late.context("no second")?,
                LATENESS,
            ),
            at_most(&format!("{name}: jobs too late"), over.sum(), late_jobs),
        ];
        broken.extend(checks.into_iter().filter_map(Result::err));
    }
    let broken: Vec<String> = broken.iter().map(ToString::to_string).collect();
    ensure!(broken.is_empty(), "{}", broken.join("\n"));
    Ok(())
}

/// The time that the vCPUs of a VM have had cores.
fn run(times: &MachineTimes, vm: &str) -> u64 {
    let own = times.vcpus.iter().filter(|vcpu| vcpu.vm == vm);
    own.map(|vcpu| vcpu.run.0).sum()
}

fn main() -> ExitCode {
    let (one, two) = STORMS.split_at(11);
    let (one, resets) = one.split_at(10);
    let groups = [
        ("of_one_vcpu", 1, one),
        ("of_resets", 1, resets),
        ("of_two_vcpus", 1, two),
        ("of_two_vcpus_on_two_cores", 2, two),
    ];
    let mut trials = Vec::new();
    for (model, default) in [(WITH_DELIVERY, true), (WITHOUT_DELIVERY, false)] {
        for (name, cpus, some) in groups {
            let trial = qemu_tests::test(&format!("storms_{name}::{model}"), move || {
                storms(model, cpus, some)
            });
            trials.push(trial.with_ignored_flag(!default || cpus > 1));
        }
    }
    qemu_tests::main(trials)
}
