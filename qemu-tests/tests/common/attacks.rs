//! An attacker beside two victims that watch over themselves, and what must come of it.
#![allow(dead_code, reason = "not every target uses all of it")]

use super::carried::holds_on_console;
use super::steady::{boot, nothing_touched, seconds, steady};
use anyhow::{Context, Result, bail, ensure};
use libtest_mimic::Trial;
use qemu_tests::{Ends, Outcome};
use regex::Regex;

/// The latest that a tick of a victim on a core of its own may come beside any attacker, in ticks of the TSC; what it has of its core in a
/// second must not tell that there is an attacker.
const LATENESS: u64 = 5_000;
/// Where the processor delivers no interrupts by itself, and each of the victim's own ends is an exit.
const LATENESS_WITHOUT_DELIVERY: u64 = 8_000;

/// Emulated seconds that all of it may take.
const LIMIT: u32 = 100;

/// The victims come first in the config, then the attacker.
const APART: usize = 0;
const BESIDE: usize = 1;
const ATTACKER: usize = 2;

/// What our log may say from the attacker's start on: that VMs start and end, who carries their local APICs, and that the machine goes off.
const ALLOWED: &[&str] = &[
    r"^\S+ info bulkhead: vm: start ",
    r"^\S+ info bulkhead: vm: vcpu=\d+ apic=",
    r"^\S+ info bulkhead: vm: end reason=(power-off|stopped) ",
    r"^- info bulkhead: machine: (off|heap_bytes)\b",
];

/// A class of attacks: the tiny guest `attack_WORD`, whose claims are the answers that the manual wants.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attack {
    word: &'static str,
    vcpus: u32,
    lines: &'static str,
    ways: &'static [Way],
    lives: &'static [Life],
    also: Option<&'static str>,
    reports: &'static [&'static str],
    is_open: bool,
}

/// What the same program does for ever, by the word of its command line that says so, and how it ends.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub(crate) word: &'static str,
    /// The reason in the log; one that is `stopped` is stopped after a second.
    pub(crate) end: &'static str,
}

impl Way {
    pub(crate) const fn ends(word: &'static str, end: &'static str) -> Way {
        Way { word, end }
    }
}

/// How a life of an attacker ends before its last one, when it asks what to do: the next looks for what is left of it.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Life {
    /// It resets itself
    Reset,
    /// It is stopped, and started anew
    Stopped,
}

/// An attacker with one vCPU.
pub(crate) const fn attack(word: &'static str) -> Attack {
    Attack {
        word,
        vcpus: 1,
        lines: "",
        ways: &[],
        lives: &[],
        also: None,
        reports: &[],
        is_open: false,
    }
}

impl Attack {
    /// It has so many.
    pub(crate) const fn vcpus(self, vcpus: u32) -> Attack {
        Attack { vcpus, ..self }
    }

    /// Further lines of its config.
    pub(crate) const fn lines(self, lines: &'static str) -> Attack {
        Attack { lines, ..self }
    }

    /// What its program does for ever, each in a VM of its own, one after the other behind the claims.
    pub(crate) const fn ways(self, ways: &'static [Way]) -> Attack {
        Attack { ways, ..self }
    }

    /// The lives before its last.
    pub(crate) const fn lives(self, lives: &'static [Life]) -> Attack {
        Attack { lives, ..self }
    }

    /// A model besides, which has what this class is about.
    pub(crate) const fn also(self, model: &'static str) -> Attack {
        Attack {
            also: Some(model),
            ..self
        }
    }

    /// What our log may say beyond the usual, for it is the right answer: regular expressions, from the VM's name on.
    pub(crate) const fn reports(self, reports: &'static [&'static str]) -> Attack {
        Attack { reports, ..self }
    }

    /// It finds a fault that is not mended yet, so that it is for `--all`.
    pub(crate) const fn found_a_fault(self) -> Attack {
        Attack {
            is_open: true,
            ..self
        }
    }

    /// The trials of this class, on each model; all but the first model's are for `--all`.
    pub(crate) fn trials(self) -> impl Iterator<Item = Trial> {
        let models = [
            super::WITH_DELIVERY,
            super::WITHOUT_DELIVERY,
            super::carried::WITH_POSTING,
        ];
        let models = models.into_iter().chain(self.also);
        models.enumerate().map(move |(n, model)| {
            let trial = qemu_tests::test(&format!("attacks::{}::{model}", self.word), move || {
                self.run(model)
            });
            trial.with_ignored_flag(n > 0 || self.is_open)
        })
    }

    /// One machine: a victim on the last core, alone, one on the attacker's own core or cores, and the attacker.
    fn run(self, model: &str) -> Result<()> {
        let program = format!("attack_{}", self.word);
        let attacker = |name: &str, word: &str| {
            let Attack { vcpus, lines, .. } = self;
            let lines =
                format!("autostart = false\nvcpus = {vcpus}\ncmdline = \"{word}\"\n{lines}");
            (name.replace('_', "-"), program.clone(), lines)
        };
        let mut vms = vec![
            steady("apart", 1, "", &format!("cores = [{}]", self.vcpus)),
            steady("beside", 2, "", ""),
            attacker("attacker", ""),
        ];
        vms.extend(self.ways.iter().map(|way| attacker(way.word, way.word)));
        let mut boot = boot(&vms)
            .cpu_model(model)
            .cpus(self.vcpus + 1)
            .limit(LIMIT)
            .type_to(APART, "steady: second=", "")
            .ctl_after(BESIDE, "steady: second=", "vm start attacker");
        const QUESTION: &str = "guest: what now";
        for life in self.lives {
            boot = match life {
                Life::Reset => boot
                    .type_to(ATTACKER, QUESTION, "r")
                    .send("attacker info bulkhead: vm: end reason=reset ", ""),
                Life::Stopped => boot
                    .ctl_after(ATTACKER, QUESTION, "vm stop attacker")
                    .send("attacker info bulkhead: vm: end reason=stopped ", "")
                    .ctl("", "vm start attacker"),
            };
        }
        if !self.lives.is_empty() {
            boot = boot.type_to(ATTACKER, QUESTION, "q");
        }
        boot = boot.send(r"attacker \w+ bulkhead: vm: end reason=", "");
        for (way, (name, ..)) in self.ways.iter().zip(&vms[ATTACKER + 1..]) {
            boot = boot.ctl("", &format!("vm start {name}"));
            if way.end == "stopped" {
                boot = boot
                    .type_to(APART, "steady: second=", "")
                    .type_to(APART, "steady: second=", "")
                    .ctl("", &format!("vm stop {name}"));
            }
            boot = boot.send(
                &format!(r"{name} \w+ bulkhead: vm: end reason={} ", way.end),
                "",
            );
        }
        let ends = if self.ways.iter().all(|way| way.end == "power-off") {
            Ends::Off
        } else {
            Ends::Stopped
        };
        let outcome = boot
            .type_to(APART, "steady: second=", "q")
            .type_to(BESIDE, "steady: second=", "q")
            .ends(ends)
            .run()?;
        holds_on_console(&outcome, ATTACKER)?;
        nothing_touched(&outcome, APART)?;
        nothing_touched(&outcome, BESIDE)?;
        self.nothing_logged(&outcome)?;
        let seconds = seconds(&outcome, APART)?;
        let worst = seconds.iter().map(|second| second[3]).max();
        let worst = worst.context("no second")?;
        let most = if model == super::WITHOUT_DELIVERY {
            LATENESS_WITHOUT_DELIVERY
        } else {
            LATENESS
        };
        println!(
            "figure {} {model}: lateness={worst} alone={}",
            self.word, seconds[0][3]
        );
        ensure!(
            worst <= most,
            "a tick of the victim on a core of its own came {worst} ticks late"
        );
        Ok(())
    }

    /// Whether every line of ours since the attacker's start is one that is allowed; guests' output has the VM's name before it.
    fn nothing_logged(self, outcome: &Outcome) -> Result<()> {
        let guests = Regex::new(r"^\S+ +[|+] ")?;
        let event = Regex::new(r"^ *\d+ \d+ (\S+ .*)$")?;
        let known = ALLOWED
            .iter()
            .chain(self.reports)
            .map(|allowed| Regex::new(allowed));
        let known: Vec<Regex> = known.collect::<Result<_, _>>()?;
        let mut lines = outcome
            .serial
            .lines()
            .skip_while(|line| !line.contains("attacker info bulkhead: vm: start "));
        // A report goes on over lines of its own.
        let report = Regex::new(r"^(  [A-Z]|[A-Z][\w-]+ (state|information)$|Controls$)")?;
        let odd = lines.find(|line| {
            let ours = event.captures(line).and_then(|found| found.get(1));
            !line.trim().is_empty()
                && !guests.is_match(line)
                && (self.reports.is_empty() || !report.is_match(line))
                && !ours.is_some_and(|ours| known.iter().any(|known| known.is_match(ours.as_str())))
        });
        match odd {
            Some(line) => bail!("the log says `{line}`\n{}", outcome.tail()),
            None => Ok(()),
        }
    }
}
