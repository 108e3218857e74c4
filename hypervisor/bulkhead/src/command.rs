//! What somebody asks of the machine, at its prompt or from a workstation.

use crate::guest::Guest;
use crate::lifecycle;
use crate::machine::Machine;
use crate::seat::{self, Seat};
use crate::shares::{self, Change};
use crate::{certify, stop, times, trace, watchdog};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use alloc::{borrow::ToOwned, format};
use plan::Exits;
use proto::{
    Answer, Breach, Command, CoreInfo, ExitRow, Occupant, Promise, VcpuStatistics, VmInfo, VmState,
    VmStatistics,
};
use vm::life::{End, Refused, State};

/// Carries a command out, or sees to it that it will be.
/// `tell` has the core that this is on tell its times.
pub(crate) fn carry_out(
    machine: &'static Machine,
    command: &Command,
    tell: &mut dyn FnMut(),
) -> Answer {
    match command {
        Command::List => Answer::Vms(machine.guests.iter().map(|g| info(machine, g)).collect()),
        Command::Cores => Answer::Cores(cores(machine)),
        Command::Off => {
            stop::request("ordered");
            seat::kick(0);
            Answer::Done("The machine goes off.".into())
        }
        Command::Start { vm } => order(machine, vm, "started", |guest| guest.life.start()),
        Command::Stop { vm } => order(machine, vm, "stopped", |guest| guest.life.end(End::Asked)),
        Command::Reset { vm } => order(machine, vm, "reset", |guest| {
            guest.life.end(End::AskedToReset)
        }),
        Command::Pause { vm } => order(machine, vm, "paused", watchdog::pause),
        Command::Resume { vm } => order(machine, vm, "resumed", watchdog::resume),
        Command::Statistics { vm } => match find(machine, vm) {
            Ok(guest) => Answer::Statistics(statistics(machine, guest)),
            Err(refused) => refused,
        },
        Command::Set {
            vm,
            weight,
            budget,
            period,
        } => match find(machine, vm) {
            Ok(guest) => {
                let change = Change {
                    weight: *weight,
                    budget: *budget,
                    period: *period,
                };
                match shares::set(machine, guest, &change) {
                    Ok(done) => Answer::Done(done),
                    Err(why) => Answer::Refused(why),
                }
            }
            Err(refused) => refused,
        },
        Command::Times => Answer::Times(times::ask(machine, tell)),
        Command::Trace { core, from } => {
            let tsc = machine.bundle.handover().tsc;
            match trace::read(*core, *from, tsc) {
                Some(chunk) => Answer::Trace(chunk),
                None => Answer::Refused(format!(
                    "There is no core {core}; the machine has {}.",
                    seat::all().len()
                )),
            }
        }
        Command::Certify { part } => certify::answer(machine, *part, tell),
        #[cfg(feature = "planted")]
        Command::Plant { vm, fault } => match find(machine, vm) {
            Ok(guest) => crate::planted::plant(machine, guest, *fault, tell),
            Err(refused) => refused,
        },
        #[cfg(not(feature = "planted"))]
        Command::Plant { .. } => Answer::Refused(
            "This image does nothing wrong on purpose: that takes one built with the feature `planted`."
                .into(),
        ),
        Command::Unknown => Answer::Refused(
            "This machine does not know that command: its version is older than the workstation's."
                .into(),
        ),
    }
}

fn find(machine: &'static Machine, name: &str) -> Result<&'static Guest, Answer> {
    machine
        .guests
        .iter()
        .find(|guest| guest.vm.name == name)
        .ok_or_else(|| {
            let names: Vec<&str> = machine.guests.iter().map(|g| g.vm.name.as_str()).collect();
            Answer::Refused(format!(
                "There is no VM called {name}; the plan has {}.",
                names.join(", ")
            ))
        })
}

fn order(
    machine: &'static Machine,
    name: &str,
    what: &str,
    give: impl FnOnce(&Guest) -> Result<(), Refused>,
) -> Answer {
    let guest = match find(machine, name) {
        Ok(guest) => guest,
        Err(refused) => return refused,
    };
    match give(guest) {
        Ok(()) => {
            guest.kick();
            Answer::Done(format!("{name} is {what}."))
        }
        Err(Refused(state)) => Answer::Refused(format!(
            "{name} cannot be {what}: it is {}.",
            shown(state).name()
        )),
    }
}

const fn shown(state: State) -> VmState {
    match state {
        State::Off => VmState::Off,
        State::Starting => VmState::Starting,
        State::Running => VmState::Running,
        State::Paused => VmState::Paused,
        State::Stopping => VmState::Stopping,
    }
}

fn info(machine: &Machine, guest: &Guest) -> VmInfo {
    let counted = guest.vm.snapshot();
    VmInfo {
        name: guest.vm.name.clone(),
        state: shown(guest.life.state()),
        last_end: guest
            .life
            .last_end()
            .map(|end| lifecycle::told(end).1.to_owned()),
        vcpus: guest.plan.vcpus,
        cores: guest.cores(),
        memory: guest.plan.memory,
        uptime: guest.life.uptime(hw::tsc::now()),
        tsc: machine.bundle.handover().tsc,
        exits: counted.exits(),
        root_ticks: counted.root(),
        crashes: guest.life.crashes(),
    }
}

fn statistics(machine: &Machine, guest: &Guest) -> VmStatistics {
    let vcpus = (0..).zip(guest.cores()).zip(&guest.vm.statistics);
    let (now, tsc) = (hw::tsc::now(), machine.bundle.handover().tsc);
    let promise = |vcpu| {
        let standing = guest.visible(vcpu).promise(now);
        Promise {
            holds_for: standing.holds_for,
            breaches: standing.breaches().map(breach).collect(),
        }
    };
    let promises = guest.plan.exits != Exits::Any;
    VmStatistics {
        vm: guest.vm.name.clone(),
        tsc,
        vcpus: vcpus
            .map(|((vcpu, core), counters)| VcpuStatistics {
                vcpu,
                core,
                carrier: guest.visible(vcpu).carrier().to_string(),
                last_exit: counters.since_exit(now),
                promise: promises.then(|| promise(vcpu)),
                rows: counters.snapshot().rows().map(row).collect(),
            })
            .collect(),
    }
}

fn breach((kind, count): (vm::Kind, u64)) -> Breach {
    Breach {
        kind: String::from(kind.name()),
        count,
    }
}

fn row(row: &vm::Row) -> ExitRow {
    let used = row
        .histogram
        .iter()
        .rposition(|n| *n != 0)
        .map_or(0, |last| last + 1);
    ExitRow {
        kind: String::from(row.kind.name()),
        count: row.count(),
        ticks: row.sum,
        worst: row.worst,
        histogram: row.histogram.iter().take(used).copied().collect(),
    }
}

fn cores(machine: &Machine) -> Vec<CoreInfo> {
    let plan = &machine.bundle.handover().plan;
    let core = |(number, seat): (u32, &Seat)| CoreInfo {
        number,
        apic_id: seat.apic_id,
        up: seat.is_up(),
        dedicated: plan
            .vms
            .iter()
            .any(|vm| vm.dedicated().is_some_and(|own| own.contains(&number))),
        vcpus: machine
            .guests
            .iter()
            .flat_map(|guest| {
                let here =
                    (0..guest.plan.vcpus).filter(move |vcpu| guest.places.of(*vcpu) == number);
                here.map(|vcpu| Occupant {
                    vm: guest.vm.name.clone(),
                    vcpu,
                })
            })
            .collect(),
    };
    (0..).zip(seat::all()).map(core).collect()
}
