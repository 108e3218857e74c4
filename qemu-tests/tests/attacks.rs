//! Attackers, one class a machine, beside victims that check their own memory, registers and time all the while.

mod common;

use anyhow::{Context, Result, ensure};
use common::WITH_DELIVERY;
use common::attacks::{Attack, Life, Way, attack};
use common::carried::holds_on_console;
use common::shares::times;
use common::steady::{boot, nothing_touched, steady};
use std::process::ExitCode;

/// A model with protection keys, supervisor state, and barriers for indirect branches.
const NEWEST: &str = "tigerlake";

const ATTACKS: &[Attack] = &[
    attack("indices"),
    attack("addresses").ways(WILD).reports(UNSUPPORTED),
    attack("noncanonical"),
    attack("delivery").ways(ENDLESS).reports(EXIT_LOOP),
    attack("privilege"),
    attack("instructions"),
    attack("msrs_and_ports").also(NEWEST),
    attack("memory_map"),
    attack("translations").lives(&[Life::Reset]).reports(RESETS),
    attack("leftovers")
        .lives(&[Life::Stopped, Life::Reset])
        .also(NEWEST)
        .reports(RESETS),
    attack("races").vcpus(2),
    attack("hygiene").also(NEWEST),
    // An INIT to the first processor resets the machine.
    attack("storms")
        .vcpus(2)
        .lines("on_reboot = \"stop\"")
        .ways(&[Way {
            word: "bootstrap",
            end: "reset",
        }])
        .reports(&[r"^bootstrap info bulkhead: vm: end reason=reset "]),
    attack("timers"),
    // Not in the default set until the fault is mended that it finds: an interrupt between STI and HLT, now and then.
    attack("sleep_and_control").found_a_fault(),
    attack("control_bits"),
    attack("vmx"),
    // Hardware task switches are not carried out: the limit that is stated, and the report that says so.
    attack("tasks")
        .lines("on_crash = \"stop\"")
        .ways(&[Way {
            word: "switch",
            end: "unsupported",
        }])
        .reports(&[
            r"^switch warn bulkhead: vm: hardware task switch$",
            r"^switch warn bulkhead: vm: (vcpu=|code |exit at=|vmcs )",
            r"^switch warn bulkhead: vm: end reason=unsupported ",
        ]),
    attack("steps"),
];

/// What the processor itself would have to read or write where nothing is.
const WILD: &[Way] = &[
    Way::ends("cr3", "unsupported"),
    Way::ends("table", "unsupported"),
    Way::ends("pointers", "unsupported"),
    Way::ends("gdt", "unsupported"),
    Way::ends("idt", "unsupported"),
    Way::ends("stack", "unsupported"),
    Way::ends("frame", "unsupported"),
    Way::ends("state", "unsupported"),
];
const UNSUPPORTED: &[&str] =
    &[r"^(cr3|table|pointers|gdt|idt|stack|frame|state) warn bulkhead: vm: "];

/// Deliveries without end: one in which no instruction is ever begun is given up, the others go on until they are stopped.
const ENDLESS: &[Way] = &[
    Way::ends("ac", "exit-loop"),
    Way::ends("db", "stopped"),
    Way::ends("gp", "stopped"),
    Way::ends("pf", "stopped"),
];
const EXIT_LOOP: &[&str] = &[r"^ac warn bulkhead: vm: "];

/// An attacker with more lives than one ends by resets.
const RESETS: &[&str] = &[r"^attacker info bulkhead: vm: end reason=reset "];

/// Two vCPUs of one VM take turns on a core, and then one of another VM with a neighbour: what the hygiene policy asks for was done exactly
/// once at each change of VM, and at none between vCPUs of one.
fn hygiene_is_done_at_each_change_of_vm_alone(model: &str) -> Result<()> {
    const TURNS: u64 = 600;
    let attacker = |name: &str, vcpus: u32| {
        let lines = format!("autostart = false\nvcpus = {vcpus}\n");
        (name.to_owned(), "attack_hygiene".to_owned(), lines)
    };
    let vms = [
        steady("apart", 1, "", "cores = [1]"),
        attacker("pair", 2),
        steady("beside", 2, "", "autostart = false"),
        attacker("single", 1),
    ];
    let (apart, pair, beside, single) = (0, 1, 2, 3);
    let outcome = boot(&vms)
        .cpu_model(model)
        .cpus(2)
        .ctl_after(apart, "steady: second=", "top")
        .ctl("", "vm start pair")
        .send("pair info bulkhead: vm: end reason=power-off ", "")
        .ctl("", "top")
        .ctl("", "vm start beside")
        .ctl_after(beside, "steady: second=", "vm start single")
        .ctl_after(single, "guest: pass the_predictor_barrier", "top")
        .send("single info bulkhead: vm: end reason=power-off ", "")
        .ctl("", "top")
        .type_to(beside, "steady: second=", "q")
        .type_to(apart, "steady: second=", "q")
        .run()?;
    holds_on_console(&outcome, pair)?;
    holds_on_console(&outcome, single)?;
    nothing_touched(&outcome, apart)?;
    nothing_touched(&outcome, beside)?;
    let tops: Vec<_> = outcome
        .answers
        .iter()
        .filter_map(|answer| times(Some(answer)).ok())
        .collect();
    ensure!(tops.len() == 4, "{:?}", outcome.answers);
    let core = |top: usize, core: usize| tops.get(top).and_then(|times| times.cores.get(core));
    let added = |from, number| {
        let (before, after) = core(from, number)
            .zip(core(from + 1, number))
            .context("no such core")?;
        let changes = after.cleared.changes - before.cleared.changes;
        anyhow::Ok((after.switches - before.switches, changes))
    };
    let (switches, changes) = added(0, 0)?;
    println!("figure hygiene {model}: of one VM switches={switches} changes={changes}");
    ensure!(
        switches >= TURNS && changes == 1,
        "{switches} switches of one VM, {changes} changes of VM"
    );
    let (switches, changes) = added(2, 0)?;
    println!("figure hygiene {model}: of two VMs switches={switches} changes={changes}");
    ensure!(
        changes >= TURNS && switches == changes,
        "{switches} switches of two VMs, {changes} changes of VM"
    );
    let lacks_barrier = outcome
        .serial
        .contains("needs microcode with IBRS and IBPB");
    for top in &tops {
        for core in &top.cores {
            let done = core.cleared;
            let barriers = if lacks_barrier { 0 } else { done.changes };
            ensure!(
                (done.ibpb, done.rsb_fills) == (barriers, done.changes),
                "core {}: {done:?}",
                core.core
            );
            let whole = [done.l1d_flushes, done.verw]
                .iter()
                .all(|n| [0, done.changes].contains(n));
            ensure!(whole, "core {}: {done:?}", core.core);
        }
    }
    let alone = core(3, 1).context("no such core")?.cleared.changes;
    ensure!(alone == 1, "{alone} changes of VM on a core of one VM");
    Ok(())
}

fn main() -> ExitCode {
    let hygiene = [(WITH_DELIVERY, true), (NEWEST, false)].map(|(model, default)| {
        let name = format!("attacks::hygiene_is_done_at_each_change_of_vm_alone::{model}");
        let trial = qemu_tests::test(&name, move || {
            hygiene_is_done_at_each_change_of_vm_alone(model)
        });
        trial.with_ignored_flag(!default)
    });
    let trials = ATTACKS.iter().flat_map(|attack| attack.trials());
    qemu_tests::main(trials.chain(hygiene).collect())
}
