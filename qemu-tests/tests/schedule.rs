//! What each class of vCPU gets of a core, measured from inside.

mod common;

use anyhow::{Context, Result, ensure};
use common::shares::{
    PERCENT, Said, Span, Vm, at_least, at_most, cycles, jobs, machine, mean, near, spans, times,
    together, vm, worst,
};
use proto::Class;
use qemu_tests::{Answer, Ends};
use std::process::ExitCode;

/// The latest that a vCPU with a reservation or a window has its core after what woke it, in ticks: the exit of whoever had it, the
/// decision, the change and the entry.
const LATENESS: u64 = 4_000;
/// The longest piece of the host's own work, in ticks: it serves the consoles on the first core.
const HOST: u64 = 8_000;
/// A gap that is longer was somebody else's time.
const GAP: u64 = 2 * HOST;
/// What a vCPU pays of its own time for coming to its core and going, in ticks.
const CHANGE: u64 = 2_000;

/// Three that spin on one core have it by their weights, in each second.
fn weights_are_kept() -> Result<()> {
    let weights = [("a", 100), ("b", 200), ("c", 400)];
    let vms =
        weights.map(|(name, weight)| vm(name, "share", "spans=4", &format!("weight = {weight}")));
    let said = Said::of(&vms, &machine("", &vms).run()?)?;
    let all = together(&said, &["a", "b", "c"])?;
    let sum: u64 = all.iter().map(|spans| mean(spans)).sum();
    at_least("sum of shares", sum, 96 * PERCENT)?;
    for ((name, weight), spans) in weights.iter().zip(&all) {
        for span in spans {
            let wanted = sum * weight / 700;
            near(&format!("share of {name}"), span.ppm(), wanted, PERCENT)?;
        }
        println!("figure worst gap of {name}={}", worst(spans));
    }
    Ok(())
}

/// A control loop with a reservation is on time in each period beside one that spins, which has all the rest.
fn a_reservation_holds_beside_a_spinner() -> Result<()> {
    let vms = [control(4_000), vm("batch", "share", "", "")];
    let said = Said::of(&vms, &machine("", &vms).ends(control_is_done()).run()?)?;
    is_on_time(&said, LATENESS + HOST)?;
    // Beside 8 % for its jobs, the loop has its wake-ups, its words, and two changes of vCPU a period.
    let until = jobs(&said, "control")?.last().map_or(0, |jobs| jobs.until);
    let beside = spans(&said, "batch")?;
    for span in beside.iter().filter(|span| span.until() <= until) {
        let (share, gap) = (span.ppm(), span.worst);
        near("share of the spinner", share, 83 * PERCENT, 5 * PERCENT)?;
        at_most(
            "worst gap of the spinner",
            gap,
            said.micros(200) + CHANGE + 2 * HOST,
        )?;
    }
    Ok(())
}

/// The same on a core that does not serve the consoles.
fn a_reservation_holds_away_from_the_consoles() -> Result<()> {
    let vms = [
        control(1_500),
        vm("batch", "share", "", ""),
        vm("own", "wild", "halt nap=500000000", "cores = [0]"),
    ];
    let boot = machine("", &vms).cpus(2).ends(control_is_done());
    let said = Said::of(&vms, &boot.run()?)?;
    // A tick of two cores is not quite an instruction of one.
    is_on_time(&said, 3 * LATENESS)
}

/// A control loop that wakes each millisecond and computes for so many ticks.
fn control(work: u64) -> Vm {
    let lines = "budget = \"200 us\"\nperiod = \"1 ms\"";
    vm(
        "control",
        "periodic",
        &format!("work={work} seconds=5"),
        lines,
    )
}

fn control_is_done() -> Ends {
    Ends::Seen("control info bulkhead: vm: end ".to_owned())
}

/// Whether the control loop has done its job in each period, and was never later than this.
fn is_on_time(said: &Said, lateness: u64) -> Result<()> {
    let (cycles, jobs) = (cycles(said, "control")?, jobs(said, "control")?);
    ensure!(cycles.len() >= 3 && jobs.len() >= 3, "{cycles:?} {jobs:?}");
    for (cycles, jobs) in cycles.iter().zip(&jobs) {
        println!("figure mean lateness={}", cycles.mean);
        at_most("lateness", cycles.worst, lateness)?;
        // The job, and what interrupts it: the host's own work.
        at_most("response", jobs.longest, 4_000 + CHANGE + 2 * lateness)?;
        ensure!(cycles.missed == 0, "{cycles:?}");
        ensure!(jobs.jobs >= 999 && jobs.over == 0, "{jobs:?}");
    }
    Ok(())
}

/// A piece of time in which one had its core.
struct Piece {
    begin: u64,
    end: u64,
    /// Without the host's own work meanwhile
    had: u64,
}

/// What lies between the gaps of a span that are longer than any piece of the host's own work; none that it began or ended in.
fn pieces(span: &Span) -> Result<Vec<Piece>> {
    let mut pieces: Vec<Piece> = Vec::new();
    let mut from = None;
    let mut stolen = 0;
    for (begin, ticks) in &span.list {
        if *ticks <= GAP {
            stolen += ticks;
            continue;
        }
        if let Some(from) = from {
            pieces.push(Piece {
                begin: from,
                end: *begin,
                had: begin - from - stolen,
            });
        }
        from = Some(begin + ticks);
        stolen = 0;
    }
    ensure!(!pieces.is_empty(), "it was never interrupted");
    Ok(pieces)
}

fn range(of: impl Iterator<Item = u64> + Clone) -> (u64, u64) {
    (of.clone().min().unwrap_or(0), of.max().unwrap_or(0))
}

/// One with a reservation and no weight has its budget in each period and not a tick more, though the core is idle.
fn a_reservation_is_a_limit() -> Result<()> {
    let lines = "budget = \"200 us\"\nperiod = \"1 ms\"";
    let vms = [vm("a", "share", "spans=3 list=1000", lines)];
    let said = Said::of(&vms, &machine("", &vms).run()?)?;
    let (budget, period) = (said.micros(200), said.micros(1000));
    for span in spans(&said, "a")? {
        let pieces = pieces(&span)?;
        let (shortest, longest) = range(pieces.iter().map(|piece| piece.had));
        at_most("longest piece of a period", longest, budget)?;
        at_least("shortest piece of a period", shortest, budget - CHANGE)?;
        // Releases come in step.
        let first = pieces[0].begin;
        let (earliest, latest) = range((0..).zip(&pieces).map(|(n, piece)| {
            let due = first + n * period;
            LATENESS + piece.begin - due
        }));
        at_most("lateness", latest - earliest, LATENESS)?;
    }
    Ok(())
}

/// The frame of the cyclic tests, and their two windows: where they begin, and how long they are, in microseconds.
const FRAME: u64 = 10_000;
const WINDOWS: [(&str, u64, u64); 2] = [("nav", 0, 4_000), ("radio", 5_000, 3_000)];

fn table(spare: &str) -> String {
    format!(
        "[[cyclic]]\ncore = 0\nframe = \"10 ms\"\nspare = \"{spare}\"\nwindows = [\
         {{ vm = \"nav\", at = \"0 ms\", length = \"4 ms\" }}, \
         {{ vm = \"radio\", at = \"5 ms\", length = \"3 ms\" }}]\n"
    )
}

/// Whether two guests have had their windows, and nothing but them; gives the widest lateness of a window's begin.
fn windows_are_kept(said: &Said, all: &[Vm]) -> Result<()> {
    let mut begins = Vec::new();
    let frame = said.micros(FRAME);
    // Before, there is the loading of others, and after it what they say, which is work for the host.
    let all = all
        .iter()
        .map(|(name, ..)| Ok(spans(said, name)?.remove(0)));
    let all = all.collect::<Result<Vec<Span>>>()?;
    let begin = all.iter().map(|span| span.from).max().unwrap_or(0);
    let end = all.iter().map(Span::until).min().unwrap_or(0);
    for (name, at, length) in WINDOWS {
        let (at, length) = (said.micros(at), said.micros(length));
        let mut late = 0;
        for span in spans(said, name)? {
            let least = length * 97 * PERCENT / frame;
            at_least(&format!("share of {name}"), span.ppm(), least)?;
            let pieces = pieces(&span)?;
            for piece in pieces.iter().filter(|p| begin < p.begin && p.end < end) {
                let had = piece.end - piece.begin;
                ensure!(had <= length, "{name} had {had} of {length}");
                begins.push((piece.begin, at));
                late = late.max(length - had);
            }
        }
        let what = format!("most lacking of a window of {name}");
        at_most(&what, late, LATENESS + HOST)?;
    }
    // The windows of both count from one origin, which is nowhere told: all begins lie together.
    let phase = |(begin, at): &(u64, u64)| (begin - at) % frame;
    let first = phase(begins.first().context("no window")?);
    let offsets = begins.iter().map(|begin| {
        let offset = (phase(begin) + frame + frame / 2 - first) % frame;
        offset as i64 - frame as i64 / 2
    });
    let offsets: Vec<_> = offsets.collect();
    let (least, most) = (offsets.iter().min(), offsets.iter().max());
    println!("figure windows begin {least:?}..={most:?} beside the first");
    let (Some(least), Some(most)) = (least, most) else {
        anyhow::bail!("no window");
    };
    let spread = most.abs_diff(*least);
    at_most("lateness of windows", spread, LATENESS + HOST)
}

fn cyclic_pair() -> Vec<Vm> {
    WINDOWS
        .map(|(name, ..)| vm(name, "share", "span_ms=2500 spans=1 list=1000", ""))
        .to_vec()
}

/// A cyclic pair has its windows to the tick but for a small lateness, and the core idles between them.
fn windows_are_exact() -> Result<()> {
    let vms = cyclic_pair();
    let said = Said::of(&vms, &machine(&table("idle"), &vms).run()?)?;
    windows_are_kept(&said, &vms)
}

/// What windows leave over goes to one with a weight, if the table says so, and the windows do not feel it.
fn spare_time_goes_to_the_pool() -> Result<()> {
    let mut vms = cyclic_pair();
    vms.push(vm("batch", "share", "span_ms=2000 spans=1", ""));
    let said = Said::of(&vms, &machine(&table("pool"), &vms).run()?)?;
    windows_are_kept(&said, &vms)?;
    let rest = mean(&spans(&said, "batch")?);
    near("share of the rest", rest, 29 * PERCENT, 2 * PERCENT)
}

/// Shares change while the machine runs, and what does not fit is refused with the sum.
fn shares_change_at_run_time() -> Result<()> {
    let vms = [
        vm("a", "share", "span_ms=200", ""),
        vm("b", "share", "span_ms=200", ""),
        vm(
            "c",
            "periodic",
            "seconds=200",
            "budget = \"400 us\"\nperiod = \"1 ms\"",
        ),
    ];
    let settings = [
        "vm set b weight=300",
        "vm set b weight=none budget=1ms period=10ms",
        "vm set b budget=7ms",
        "vm set b weight=100 budget=none",
    ];
    let mut boot = machine("", &vms).type_to(0, "share: span=5", "");
    for setting in settings {
        boot = boot.ctl("", setting).ctl("", "top");
        for _ in 0..6 {
            boot = boot.type_to(0, "share: span=", "");
        }
        boot = boot.ctl("", "top");
    }
    let outcome = boot
        .ctl("", "vm stop c")
        .type_to(0, "", "q")
        .type_to(1, "", "q")
        .run()?;
    let said = Said::of(&vms, &outcome)?;
    let (a, b) = (spans(&said, "a")?, spans(&said, "b")?);
    for (n, wanted) in [(0, Some((1, 3))), (1, None), (2, None), (3, Some((1, 1)))] {
        let answer = |k: usize| outcome.answers.get(3 * n + k);
        let setting = settings[n];
        match (answer(0), setting) {
            (Some(Answer::Refused(why)), "vm set b budget=7ms") => {
                println!("{why}");
                ensure!(why.contains('%') && why.contains("40"), "no sum: {why}");
            }
            (Some(Answer::Done(_)), _) if n != 2 => {}
            (other, _) => anyhow::bail!("`{setting}` is answered by {other:?}"),
        }
        let (from, until) = (times(answer(1))?.now.0, times(answer(2))?.now.0);
        let within = |spans: &[Span]| -> Vec<Span> {
            let spans = spans
                .iter()
                .filter(|span| from <= span.from && span.until() <= until);
            spans.cloned().collect()
        };
        let (a, b) = (mean(&within(&a)), mean(&within(&b)));
        println!("figure after `{setting}`: a={a} b={b}");
        match wanted {
            Some((x, y)) => near("share of b", b, (a + b) * y / (x + y), PERCENT)?,
            None => near("share of b", b, 10 * PERCENT, PERCENT)?,
        }
    }
    Ok(())
}

/// The times of each core and of each vCPU add up to those that went by.
fn times_add_up() -> Result<()> {
    let vms = [
        vm("a", "share", "", "weight = 300"),
        vm("b", "share", "", "budget = \"100 us\"\nperiod = \"1 ms\""),
        vm(
            "c",
            "periodic",
            "",
            "budget = \"200 us\"\nperiod = \"1 ms\"\nweight = 100",
        ),
    ];
    let boot = machine("", &vms).ctl_after(0, "share: span=1", "top");
    let boot = boot.ctl_after(0, "share: span=", "top");
    let boot = boot.ctl_after(0, "share: span=", "top").ctl("", "off");
    let outcome = boot
        .ends(Ends::Seen("machine: off reason=ordered".to_owned()))
        .run()?;
    let said = Said::of(&vms, &outcome)?;
    for pair in outcome.answers[..3].windows(2) {
        let (before, after) = (times(pair.first())?, times(pair.last())?);
        let elapsed = after.now.since(before.now).0;
        for (before, after) in before.cores.iter().zip(&after.cores) {
            let sum = |core: &proto::CoreTimes| core.busy.0 + core.idle.0 + core.host.0;
            let all = sum(after) - sum(before);
            let host = after.host.since(before.host).0;
            println!(
                "figure core of {elapsed}: host={host} all={all} worst_switch={}",
                after.worst_switch.0
            );
            near("times of a core", all, elapsed, elapsed / 1000)?;
        }
        for (before, after) in before.vcpus.iter().zip(&after.vcpus) {
            let sum = |vcpu: &proto::VcpuTimes| {
                vcpu.run.0 + vcpu.wait.0 + vcpu.throttled.0 + vcpu.blocked.0
            };
            println!("figure {after:?}");
            // While the host works, or changes vCPUs, it is nobody's time.
            let all = sum(after) - sum(before);
            near("times of a vCPU", all, elapsed, elapsed / 20)?;
            let pool = matches!(after.class, Class::Pool { .. });
            ensure!(pool, "{:?}", after.class);
        }
        let run = |n: usize| after.vcpus[n].run.since(before.vcpus[n].run).0 * 1_000_000 / elapsed;
        near("b's time by top", run(1), 10 * PERCENT, PERCENT)?;
    }
    println!("{:?}", mean(&spans(&said, "a")?));
    Ok(())
}

/// The most that a decision may cost with 256 vCPUs on a core, in ticks: all that may happen at once but a burst.
const DECISION: u64 = 3_000;

/// What the scheduler's decisions cost, measured on its own code.
fn decisions_are_cheap() -> Result<()> {
    let vms = [vm("decide", "decide", "", "cores = [0]")];
    let outcome = machine("", &vms).run()?;
    let mut rows = 0;
    for line in outcome.serial.lines() {
        let Some(row) = line.strip_prefix("decide: vcpus=") else {
            continue;
        };
        println!("figure vcpus={row}");
        rows += 1;
        let mean = row
            .split_whitespace()
            .find_map(|word| word.strip_prefix("mean="));
        let mean: u64 = mean.context("no mean")?.parse()?;
        // A burst wakes all of them.
        if !row.contains("what=burst") {
            at_most("mean of a decision", mean, DECISION)?;
        }
    }
    ensure!(rows == 36, "{rows} rows");
    Ok(())
}

fn main() -> ExitCode {
    qemu_tests::main(vec![
        qemu_tests::test!(weights_are_kept),
        qemu_tests::test!(a_reservation_holds_beside_a_spinner),
        qemu_tests::test!(long a_reservation_holds_away_from_the_consoles),
        qemu_tests::test!(a_reservation_is_a_limit),
        qemu_tests::test!(windows_are_exact),
        qemu_tests::test!(spare_time_goes_to_the_pool),
        qemu_tests::test!(shares_change_at_run_time),
        qemu_tests::test!(times_add_up),
        qemu_tests::test!(decisions_are_cheap),
    ])
}
