//! VMs that measure from inside what they get of their core.
#![allow(dead_code, reason = "not every target uses all of it")]

use anyhow::{Context, Result, ensure};
use proto::MachineTimes;
use qemu_tests::{Answer, Boot, Ends, Outcome};
use spec::Hz;
use std::collections::BTreeMap;
use std::str::FromStr;

/// What a VM is made of, as `Boot::guests` takes it.
pub(crate) type Vm = (String, String, String);

/// What a `share` guest had in a span.
#[derive(Clone, Debug)]
pub(crate) struct Span {
    /// Its first tick, of the machine's TSC
    pub(crate) from: u64,
    pub(crate) ticks: u64,
    pub(crate) had: u64,
    pub(crate) gaps: u64,
    /// The longest gap
    pub(crate) worst: u64,
    /// The first of them: begin, as a tick of the machine's TSC, and length
    pub(crate) list: Vec<(u64, u64)>,
}

impl Span {
    /// Of its time, how much it had, in thousandths of thousandths.
    pub(crate) fn ppm(&self) -> u64 {
        self.had * 1_000_000 / self.ticks
    }

    pub(crate) fn until(&self) -> u64 {
        self.from + self.ticks
    }
}

/// What a `periodic` guest said of a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cycles {
    pub(crate) cycles: u64,
    pub(crate) missed: u64,
    pub(crate) worst: u64,
    pub(crate) mean: u64,
}

/// What it said of its jobs in a second.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Jobs {
    pub(crate) jobs: u64,
    pub(crate) over: u64,
    pub(crate) longest: u64,
    /// The end of the second, of the machine's TSC
    pub(crate) until: u64,
}

/// A VM of a program, which its command line tells what to do; `lines` are further lines of its config.
pub(crate) fn vm(name: &str, program: &str, cmdline: &str, lines: &str) -> Vm {
    let config = format!("cmdline = \"{cmdline}\"\n{lines}\n");
    (name.to_owned(), program.to_owned(), config)
}

/// The same, which waits for an order to start.
pub(crate) fn idle(name: &str, program: &str, cmdline: &str, lines: &str) -> Vm {
    vm(
        name,
        program,
        cmdline,
        &format!("{lines}\nautostart = false"),
    )
}

/// A machine with these; `head` stands above them in the config.
pub(crate) fn machine(head: &str, vms: &[Vm]) -> Boot {
    let vms: Vec<_> = vms
        .iter()
        .map(|(name, program, lines)| (name.as_str(), program.as_str(), lines.as_str()))
        .collect();
    Boot::guests_under(head, &vms).limit(120)
}

/// What each VM said, by its name. Without a word over the second line a run repeats to the tick; then the first has it all.
pub(crate) struct Said {
    words: BTreeMap<String, String>,
    /// The TSC's frequency, as `boot` has measured it
    hz: u64,
}

impl Said {
    pub(crate) fn of(vms: &[Vm], outcome: &Outcome) -> Result<Said> {
        let on_first = |name: &str| -> String {
            let own = |line: &str| {
                let (from, words) = line.split_once('|')?;
                (from.trim_end() == name).then(|| format!("{}\n", words.trim_start()))
            };
            outcome.serial.lines().filter_map(own).collect()
        };
        let said = vms.iter().enumerate().map(|(number, (name, ..))| {
            let words = match outcome.consoles.get(&number) {
                Some(words) => words.clone(),
                None if vms.len() == 1 => outcome.serial.clone(),
                None => on_first(name),
            };
            (name.clone(), words)
        });
        let hz = outcome.expect_line(r"machine: up .*tsc_hz=(\d+)")?;
        Ok(Said {
            words: said.collect(),
            hz: hz[1].parse()?,
        })
    }

    /// Ticks in so many microseconds, as the hypervisor counts them.
    pub(crate) fn micros(&self, micros: u64) -> u64 {
        Hz(self.hz).ticks(micros * 1000).0
    }

    fn lines<'a>(&'a self, vm: &str, begin: &'a str) -> impl Iterator<Item = &'a str> {
        let words = self.words.get(vm).map_or("", String::as_str);
        // The last line may be cut short by the end of the run.
        let whole = words.rfind('\n').map_or("", |end| &words[..end]);
        whole.lines().filter(move |line| line.starts_with(begin))
    }
}

/// The number after `name=` in a line.
fn field<T: FromStr>(line: &str, name: &str) -> Option<T> {
    let given = line.split_whitespace().find_map(|word| {
        let (found, value) = word.split_once('=')?;
        (found == name).then_some(value)
    });
    given?.parse().ok()
}

/// The spans of a `share` guest that began at `after` or later, of the machine's TSC.
pub(crate) fn spans(said: &Said, vm: &str) -> Result<Vec<Span>> {
    let mut spans: Vec<Span> = Vec::new();
    for line in said.lines(vm, "share: ") {
        if line.starts_with("share: span=") {
            let read = |name| field(line, name).with_context(|| line.to_owned());
            spans.push(Span {
                from: read("from")?,
                ticks: read("ticks")?,
                had: read("had")?,
                gaps: read("gaps")?,
                worst: read("worst")?,
                list: Vec::new(),
            });
        } else if let Some(list) = line.strip_prefix("share: gaps ") {
            let span = spans.last_mut().context("gaps of no span")?;
            for gap in list.split_whitespace() {
                let (at, ticks) = gap.split_once('+').with_context(|| gap.to_owned())?;
                span.list
                    .push((span.from + at.parse::<u64>()?, ticks.parse()?));
            }
        }
    }
    ensure!(!spans.is_empty(), "VM {vm} has measured nothing");
    Ok(spans)
}

/// Of several `share` guests, the spans in which all of them measured or said what they had: from when the last has
/// begun to when the first has ended.
pub(crate) fn together(said: &Said, vms: &[&str]) -> Result<Vec<Vec<Span>>> {
    let all = vms.iter().map(|vm| spans(said, vm));
    let mut all = all.collect::<Result<Vec<_>>>()?;
    let from = all
        .iter()
        .filter_map(|spans| Some(spans.first()?.from))
        .max()
        .unwrap_or(0);
    let until = all
        .iter()
        .filter_map(|spans| Some(spans.last()?.until()))
        .min()
        .unwrap_or(0);
    for (vm, spans) in vms.iter().zip(&mut all) {
        spans.retain(|span| from <= span.from && span.until() <= until);
        ensure!(!spans.is_empty(), "VM {vm} has no span beside the others");
    }
    Ok(all)
}

/// What a `periodic` guest said of each second.
pub(crate) fn cycles(said: &Said, vm: &str) -> Result<Vec<Cycles>> {
    let seconds = said.lines(vm, "periodic: cycles=");
    seconds
        .map(|line| {
            let read = |name| field(line, name).with_context(|| line.to_owned());
            Ok(Cycles {
                cycles: read("cycles")?,
                missed: read("missed")?,
                worst: read("worst_ticks")?,
                mean: read("mean_ticks")?,
            })
        })
        .collect()
}

/// What it said of its jobs.
pub(crate) fn jobs(said: &Said, vm: &str) -> Result<Vec<Jobs>> {
    let seconds = said.lines(vm, "periodic: jobs=");
    seconds
        .map(|line| {
            let read = |name| field(line, name).with_context(|| line.to_owned());
            Ok(Jobs {
                jobs: read("jobs")?,
                over: read("over")?,
                longest: read("longest_ticks")?,
                until: read("until")?,
            })
        })
        .collect()
}

/// A hundredth, in millionths.
pub(crate) const PERCENT: u64 = 10_000;

/// The end of a run in which others go on for ever.
pub(crate) fn done(vm: &str) -> Ends {
    Ends::Seen(format!(r"^{vm} *\| share: done"))
}

/// What a VM had of its core in all these spans, in millionths.
pub(crate) fn mean(spans: &[Span]) -> u64 {
    let had: u64 = spans.iter().map(|span| span.had).sum();
    let ticks: u64 = spans.iter().map(|span| span.ticks).sum();
    had * 1_000_000 / ticks.max(1)
}

/// The longest gap in any of them.
pub(crate) fn worst(spans: &[Span]) -> u64 {
    spans.iter().map(|span| span.worst).max().unwrap_or(0)
}

pub(crate) fn near(what: &str, is: u64, wanted: u64, within: u64) -> Result<()> {
    println!("figure {what}={is} wanted={wanted}");
    ensure!(
        is.abs_diff(wanted) <= within,
        "{what} is {is}, and not within {within} of {wanted}"
    );
    Ok(())
}

pub(crate) fn at_most(what: &str, is: u64, most: u64) -> Result<()> {
    println!("figure {what}={is} most={most}");
    ensure!(is <= most, "{what} is {is}, and {most} is the most");
    Ok(())
}

pub(crate) fn at_least(what: &str, is: u64, least: u64) -> Result<()> {
    println!("figure {what}={is} least={least}");
    ensure!(is >= least, "{what} is {is}, and {least} is the least");
    Ok(())
}

/// An answer to `top`.
pub(crate) fn times(answer: Option<&Answer>) -> Result<&MachineTimes> {
    match answer {
        Some(Answer::Times(times)) => Ok(times),
        other => anyhow::bail!("not where the time went: {other:?}"),
    }
}
