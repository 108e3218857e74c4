//! The claims about local APICs, whoever carries them: the hypervisor, a virtual-APIC page, or the core's own APIC. The guests are the
//! same, and so are their claims; only the config says another carrier.

mod common;

use anyhow::{Context, Result, ensure};
use common::carried::{
    ACCELERATED, DIRECT, SOFTWARE, WITH_POSTING, added, carried_by, holds_on_console, statistics,
};
use common::{WITH_DELIVERY, WITHOUT_DELIVERY};
use qemu_tests::{Boot, Ends, Outcome};
use std::process::ExitCode;

/// A guest that makes claims about local APICs, in x2APIC mode or on its way there: its program, vCPUs, and command line.
type Guest = (&'static str, u32, &'static str);

const GUESTS: [Guest; 8] = [TIMER, INTERRUPTS, SHADOWS, PINS, IPIS, WAKE, TURNS, FLIP];
const TIMER: Guest = ("timer", 1, "");
const INTERRUPTS: Guest = ("interrupts", 1, "x2apic");
const SHADOWS: Guest = ("shadows", 1, "x2apic");
const PINS: Guest = ("uart_and_ioapic", 1, "x2apic");
const IPIS: Guest = ("smp_ipis", 2, "");
const WAKE: Guest = ("smp_wake", 2, "");
const TURNS: Guest = ("carrier_turns", 2, "");
const FLIP: Guest = ("apic_flip", 2, "");
/// Others that make claims about several processors.
const MORE: [Guest; 4] = [
    ("smp_pins", 2, ""),
    ("smp_memory", 2, "x2apic"),
    ("smp_state", 2, ""),
    ("smp_time", 2, "x2apic"),
];

/// Cores for the VMs that have none of their own, of which each has two vCPUs at most and runs alone.
const SHARED: u32 = 2;

/// VMs that wait for their order to start, and the cores that they need.
#[derive(Default)]
struct Machine {
    vms: Vec<(String, &'static str, String)>,
    carriers: Vec<&'static str>,
    /// The cores that VMs own; the first is no one's own, for it serves the consoles
    own: u32,
}

impl Machine {
    fn add(&mut self, (guest, vcpus, words): Guest, carrier: &'static str) {
        let name = format!("{}-{carrier}", guest.replace('_', "-"));
        let cores: Vec<String> = (0..vcpus).map(|n| (self.own + 1 + n).to_string()).collect();
        let cores = if carrier == DIRECT {
            self.own += vcpus;
            format!("cores = [{}]", cores.join(", "))
        } else {
            format!("vcpus = {vcpus}")
        };
        let lines = format!(
            "{cores}\ncmdline = \"vcpus={vcpus} stay {words}\"\ninterrupts = \"{carrier}\"\nautostart = false"
        );
        self.vms.push((name, guest, lines));
        self.carriers.push(carrier);
    }

    fn boot(&self, model: &str) -> Boot {
        let mut vms: Vec<_> = self
            .vms
            .iter()
            .map(|(name, guest, lines)| (name.as_str(), *guest, lines.as_str()))
            .collect();
        // The core that serves the consoles is the own one of a VM that never starts: it would make others late.
        vms.push(("none", "triple_fault", "cores = [0]\nautostart = false"));
        let shares = self.carriers.iter().any(|carrier| *carrier != DIRECT);
        let shared = if shares { SHARED } else { 0 };
        // A command takes its time by the wall clock, in which the machine goes on.
        Boot::guests(&vms)
            .cpu_model(model)
            .cpus(1 + self.own + shared)
            .memory(512)
            .limit(120)
    }

    /// Whether each VM was carried as its config has it.
    fn are_carried(&self, outcome: &Outcome) -> Result<()> {
        for ((name, ..), carrier) in self.vms.iter().zip(&self.carriers) {
            carried_by(outcome, name, carrier)?;
        }
        Ok(())
    }
}

fn off() -> Ends {
    Ends::Seen("machine: off reason=ordered".to_owned())
}

/// Each guest on each carrier, one after the other, so that none is late for another's sake.
fn claims(model: &str, carriers: &[&'static str], guests: &[Guest]) -> Result<()> {
    let mut machine = Machine::default();
    for carrier in carriers {
        for guest in guests {
            machine.add(*guest, carrier);
        }
    }
    let mut boot = machine.boot(model);
    for (at, (name, ..)) in machine.vms.iter().enumerate() {
        boot = boot
            .ctl("", &format!("vm start {name}"))
            .ctl_after(at, "guest: done", &format!("vm stats {name}"))
            .ctl("", &format!("vm stop {name}"))
            .send(&format!("{name} info bulkhead: vm: end reason="), "");
    }
    let outcome = boot.ctl("", "off").ends(off()).run()?;
    let mut broken = Vec::new();
    for (at, (name, ..)) in machine.vms.iter().enumerate() {
        if let Err(why) = holds_on_console(&outcome, at) {
            broken.push(format!("{name}: {why:#}"));
        }
    }
    ensure!(
        broken.is_empty(),
        "{}\n{}",
        broken.join("\n"),
        outcome.tail()
    );
    machine.are_carried(&outcome)
}

/// Where the CPU has no x2APIC the hypervisor falls back, and says so.
fn falls_back() -> Result<()> {
    let mut machine = Machine::default();
    machine.add(SHADOWS, DIRECT);
    machine.carriers = vec![SOFTWARE];
    let (name, ..) = &machine.vms[0];
    let outcome = machine
        .boot(WITHOUT_DELIVERY)
        .ctl("", &format!("vm start {name}"))
        .ctl_after(0, "guest: done", &format!("vm stats {name}"))
        .ctl("", "off")
        .ends(off())
        .run()?;
    holds_on_console(&outcome, 0)?;
    outcome.expect_line(&format!(
        "warn bulkhead: vm: {name}: vcpu=0 has its local APIC software: this core cannot have it direct$"
    ))?;
    machine.are_carried(&outcome)
}

/// What is typed to the guest that leaves all in its APIC, and the command that ends it then, but for what ends itself.
const LEAVINGS: [(&str, Option<&str>); 5] = [
    ("r", None),
    ("s", Some("stop")),
    ("h", Some("reset")),
    ("b", Some("stop")),
    ("s", Some("reset")),
];

/// A guest leaves all that there is in its APIC, ends in each way, and starts anew to find nothing of it; held and let go meanwhile.
fn leftovers(model: &str, carriers: &[&'static str]) -> Result<()> {
    let mut machine = Machine::default();
    for carrier in carriers {
        machine.add(("leftovers", 1, ""), carrier);
    }
    let mut boot = machine.boot(model);
    for (at, (name, ..)) in machine.vms.iter().enumerate() {
        boot = boot.ctl("", &format!("vm start {name}"));
        for (key, end) in LEAVINGS {
            boot = boot
                .ctl_after(at, "guest: what now", &format!("vm stats {name}"))
                .type_to(at, "", key);
            let Some(end) = end else { continue };
            boot = boot
                .ctl_after(
                    at,
                    "guest: (leaves all|storms)",
                    &format!("vm pause {name}"),
                )
                .ctl("", &format!("vm resume {name}"))
                .ctl("", &format!("vm {end} {name}"))
                .send(&format!("{name} info bulkhead: vm: end reason="), "");
            if end == "stop" {
                boot = boot.ctl("", &format!("vm start {name}"));
            }
        }
        boot = boot.type_to(at, "guest: what now", "q").ctl_after(
            at,
            "guest: done",
            &format!("vm stop {name}"),
        );
    }
    let outcome = boot.ctl("", "off").ends(off()).run()?;
    for (at, (name, ..)) in machine.vms.iter().enumerate() {
        let console = outcome.consoles.get(&at).with_context(|| name.clone())?;
        holds_on_console(&outcome, at).with_context(|| name.clone())?;
        let starts = console.matches("guest: what now").count();
        ensure!(
            starts == LEAVINGS.len() + 1,
            "{name} has started {starts} times\n{console}"
        );
        let asked = statistics(&outcome, name).len();
        ensure!(asked == LEAVINGS.len(), "{name}: {asked} answers");
    }
    machine.are_carried(&outcome)
}

/// The `storm` guest's ways, by the character that is typed to it, and whether its second processor runs: one that halts for good is not
/// entered again after it was held, nor is one that waits for its start-up.
const WAYS: [(&str, bool); 8] = [
    ("0", true),
    ("1", false),
    ("2", true),
    ("3", true),
    ("4", false),
    ("5", false),
    ("6", true),
    ("7", true),
];

/// The latest that a control loop on a core of its own may be, in ticks, whatever goes on beside it.
const LATENESS: u64 = 3_000;

/// Storms of messages, NMIs and deadlines on cores of their own, held and let go, reset and stopped in their midst, beside a control loop.
fn storms(model: &str, carrier: &'static str) -> Result<()> {
    const CONTROL: usize = 0;
    const STORM: usize = 1;
    let lines = [
        format!("cores = [1]\ninterrupts = \"{carrier}\"\ncmdline = \"work=4000\""),
        format!(
            "cores = [2, 3]\ninterrupts = \"{carrier}\"\ncmdline = \"told\"\nautostart = false"
        ),
    ];
    let vms = [
        ("control", "periodic", lines[0].as_str()),
        ("storm", "storm", lines[1].as_str()),
    ];
    let mut boot = Boot::guests(&vms).cpu_model(model).cpus(4).limit(600);
    for (way, _) in WAYS {
        boot = boot
            .ctl("", "vm start storm")
            .type_to(STORM, "storm: what now", way)
            .ctl_after(STORM, "storm: begins", "vm pause storm")
            .ctl("", "vm resume storm")
            .type_to(CONTROL, "periodic: cycles=", "")
            .ctl("", "vm stats storm")
            .ctl("", "vm reset storm")
            .type_to(STORM, "storm: what now", way)
            .ctl_after(STORM, "storm: begins", "vm stop storm")
            .send("storm info bulkhead: vm: end reason=stopped", "");
    }
    let outcome = boot
        .ctl("", "vm start storm")
        .type_to(STORM, "storm: what now", "x")
        .type_to(STORM, "storm: nothing to do", "")
        .type_to(CONTROL, "periodic: cycles=", "")
        .ctl("", "vm stats control")
        .ctl("", "off")
        .ends(off())
        .run()?;
    outcome.expect_no_line("(error|fatal) bulkhead:|vm: end reason=(triple-fault|unsupported)")?;
    carried_by(&outcome, "control", carrier)?;
    let found = statistics(&outcome, "storm");
    ensure!(found.len() == WAYS.len(), "{} answers", found.len());
    for ((way, both), found) in WAYS.iter().zip(found) {
        for vcpu in found.vcpus.iter().take(if *both { 2 } else { 1 }) {
            ensure!(
                vcpu.carrier == carrier,
                "way {way}: vCPU {} is carried by {}",
                vcpu.vcpu,
                vcpu.carrier
            );
        }
    }
    let console = outcome
        .consoles
        .get(&CONTROL)
        .context("the control loop has said nothing")?;
    let late = regex::Regex::new(
        r"(?m)^periodic: cycles=\d+ .* worst_ticks=(\d+) mean_ticks=\d+ missed=(\d+)$",
    )?;
    let mut worst = 0;
    let mut seconds = 0;
    for line in late.captures_iter(console) {
        ensure!(&line[2] == "0", "{}", &line[0]);
        worst = line[1].parse::<u64>()?.max(worst);
        seconds += 1;
    }
    println!("figure {model} {carrier} lateness_beside_storms {worst} of {seconds} seconds");
    ensure!(
        seconds >= WAYS.len(),
        "{seconds} seconds of the control loop"
    );
    ensure!(worst <= LATENESS, "the control loop was {worst} ticks late");
    Ok(())
}

/// What a hostile reading found in the carriers, and once went wrong: a level that comes by its own end, an INIT to one asleep in its own
/// HLT, a route after the carrier changed within a turn. The last is seen by its exits: each message would be a kick.
fn once_went_wrong(model: &str) -> Result<()> {
    let mut machine = Machine::default();
    machine.add(("carrier_faults", 2, ""), DIRECT);
    let (name, ..) = &machine.vms[0];
    let stats = format!("vm stats {name}");
    let outcome = machine
        .boot(model)
        .ctl("", &format!("vm start {name}"))
        .ctl_after(0, "carrier: messages begin", &stats)
        .type_to(0, "", "a")
        .ctl_after(0, "carrier: messages came", &stats)
        .type_to(0, "", "b")
        .ctl_after(0, "guest: done", &stats)
        .ctl("", "off")
        .ends(off())
        .run()?;
    holds_on_console(&outcome, 0)?;
    machine.are_carried(&outcome)?;
    let [before, after, _] = statistics(&outcome, name)[..] else {
        anyhow::bail!("{:?}", outcome.answers);
    };
    let exits: u64 = added(before, after)
        .iter()
        .filter(|((vcpu, _), _)| *vcpu == 1)
        .map(|(_, count)| count)
        .sum();
    println!("figure {model} exits_of_1000_messages_after_a_change {exits}");
    ensure!(
        exits < 20,
        "{exits} exits for messages that the processor takes by itself"
    );
    Ok(())
}

fn main() -> ExitCode {
    // Those that own their cores need many, and an emulator of many is slow: a few guests at a time.
    let few: [(&'static str, &'static [Guest], bool); 4] = [
        ("of_one", &[TIMER, INTERRUPTS, TURNS], true),
        ("of_two", &[WAKE, FLIP], true),
        ("of_pins", &[SHADOWS, PINS, IPIS], false),
        ("more", &MORE, false),
    ];
    let all: [(&'static str, &'static [Guest], bool); 2] =
        [("all", &GUESTS, true), ("more", &MORE, false)];
    // Model, carriers, guests, and whether it is in the default set.
    let machines: [(&'static str, &'static [&'static str], &[_], bool); 5] = [
        (WITH_DELIVERY, &[SOFTWARE, ACCELERATED], &all, true),
        (WITH_DELIVERY, &[DIRECT], &few, true),
        (WITH_POSTING, &[ACCELERATED], &all, false),
        (WITH_POSTING, &[DIRECT], &few, false),
        (WITHOUT_DELIVERY, &[SOFTWARE], &all, false),
    ];
    let mut trials = Vec::new();
    for (model, carriers, guests, default) in machines {
        for (which, guests, first) in guests {
            let name = format!("claims::{which}::{}::{model}", carriers.join("_and_"));
            let guests = *guests;
            let trial = qemu_tests::test(&name, move || claims(model, carriers, guests));
            trials.push(trial.with_ignored_flag(!default || !first));
        }
    }
    for (model, carriers, default) in [
        (
            WITH_DELIVERY,
            [SOFTWARE, ACCELERATED, DIRECT].as_slice(),
            true,
        ),
        (WITH_POSTING, &[ACCELERATED, DIRECT], false),
        (WITHOUT_DELIVERY, &[SOFTWARE], false),
    ] {
        let trial = qemu_tests::test(&format!("nothing_is_left::{model}"), move || {
            leftovers(model, carriers)
        });
        trials.push(trial.with_ignored_flag(!default));
    }
    for (model, carrier, default) in [
        (WITH_DELIVERY, DIRECT, true),
        (WITH_DELIVERY, ACCELERATED, false),
        (WITH_DELIVERY, SOFTWARE, false),
        (WITH_POSTING, ACCELERATED, false),
        (WITH_POSTING, DIRECT, false),
    ] {
        let trial = qemu_tests::test(&format!("storms::{carrier}::{model}"), move || {
            storms(model, carrier)
        });
        trials.push(trial.with_ignored_flag(!default));
    }
    for (model, default) in [(WITH_POSTING, true), (WITH_DELIVERY, false)] {
        let trial = qemu_tests::test(&format!("once_went_wrong::{model}"), move || {
            once_went_wrong(model)
        });
        trials.push(trial.with_ignored_flag(!default));
    }
    trials.push(qemu_tests::test("falls_back", falls_back));
    qemu_tests::main(trials)
}
