//! What a core does for the life of its guests: load, begin, hold, come to rest, and what follows when the last vCPU has.

use crate::guest::Guest;
use crate::log::{self, Level};
use crate::run::Runner;
use crate::{machine, stop};
use exits::Stop;
use vm::life::{End, Order, State};

/// Acts on the orders of the guest whose vCPU `i` is.
pub(crate) fn obey(runner: &mut Runner, i: usize) {
    let guest = runner.vcpus[i].guest;
    let first = runner.vcpus[i].software.index == 0;
    let (generation, order) = guest.life.order();
    match order {
        Order::Load if first => load(runner, i),
        Order::Run | Order::Hold => {
            // The first vCPU has begun when its VM was loaded.
            if runner.vcpus[i].generation != generation {
                begin(runner, i, generation, None);
            }
            runner.vcpus[i].held = order == Order::Hold;
        }
        // One that has missed the whole of a generation, since its core was busy, rests too: all of them are waited for.
        Order::Rest if runner.vcpus[i].on || runner.vcpus[i].generation != generation => {
            runner.vcpus[i].on = false;
            runner.vcpus[i].generation = generation;
            if guest.life.rested() {
                ended(runner, guest);
            }
        }
        Order::Load | Order::Rest => {}
    }
}

/// A vCPU has ended its VM.
pub(crate) fn stopped(runner: &mut Runner, i: usize, why: Stop) {
    let vcpu = &runner.vcpus[i];
    let guest = vcpu.guest;
    let (level, _) = told(End::Stopped(why));
    if let Stop::Unsupported(what) | Stop::Bug(what) = why {
        log::line(level, &guest.vm.name, format_args!("vm: {what}"));
    }
    if level != Level::Info && runner.holds(i) {
        vcpu.report(&runner.vtx, level);
    }
    // Another vCPU may have been first: then this one only rests.
    let _ = guest.life.end(End::Stopped(why));
    guest.kick();
}

fn load(runner: &mut Runner, i: usize) {
    let guest = runner.vcpus[i].guest;
    let name = guest.vm.name.as_str();
    runner.soil();
    let Runner { core, machine, .. } = runner;
    // The consoles are served meanwhile: a UART keeps no more than 16 bytes of what is typed.
    let start = match guest.load(&machine.bundle, || core.breathe()) {
        Ok(start) => start,
        Err(e) => {
            log::line(Level::Warn, name, format_args!("vm: not started: {e}"));
            guest.life.failed();
            rest(runner);
            return;
        }
    };
    let now = hw::tsc::now();
    log::line(
        Level::Info,
        name,
        format_args!(
            "vm: start memory_mib={} vcpus={} cores={:?} rip={:#x} since_entry={}",
            guest.plan.memory >> 20,
            guest.plan.vcpus,
            guest.cores,
            start.rip,
            now.since(runner.machine.entered).0
        ),
    );
    guest.life.loaded(guest.cores.len() as u32, now);
    let (generation, _) = guest.life.order();
    begin(runner, i, generation, Some(&start));
    guest.kick();
}

fn begin(runner: &mut Runner, i: usize, generation: u32, start: Option<&spec::state::StartState>) {
    runner.release();
    let Runner { vtx, vcpus, .. } = runner;
    let vcpu = &mut vcpus[i];
    let begun = vcpu
        .make_current()
        .and_then(|()| vcpu.begin(vtx, generation, start));
    if let Err(e) = begun {
        let name = &vcpu.guest.vm.name;
        log::line(Level::Error, name, format_args!("vm: {e}"));
        stopped(runner, i, Stop::Bug("a vCPU cannot begin"));
    }
}

/// The last vCPU of a guest rests.
fn ended(runner: &Runner, guest: &'static Guest) {
    let name = guest.vm.name.as_str();
    let (end, up) = guest.life.ended(hw::tsc::now());
    let (level, why) = told(end);
    log::line(
        level,
        name,
        format_args!(
            "vm: end reason={why} ticks={} {}",
            up.0,
            guest.vm.snapshot()
        ),
    );
    if runner.machine.bundle.handover().plan.statistics {
        crate::statistics::log(guest);
    }
    if end.restarts() {
        guest.kick_first();
    } else if end != End::Asked {
        rest(runner);
    }
}

/// How an end is told in the log.
pub(crate) fn told(end: End) -> (Level, &'static str) {
    match end {
        End::Stopped(Stop::PowerOff) => (Level::Info, "power-off"),
        End::Stopped(Stop::Reset) => (Level::Info, "reset"),
        End::Stopped(Stop::TripleFault) => (Level::Warn, "triple-fault"),
        End::Stopped(Stop::Unsupported(_)) => (Level::Warn, "unsupported"),
        End::Stopped(Stop::Bug(_)) => (Level::Error, "bug"),
        End::Asked => (Level::Info, "stopped"),
        End::AskedToReset => (Level::Info, "reset-by-command"),
        End::NotStarted => (Level::Warn, "not-started"),
    }
}

/// A guest has gone by itself: the machine goes off with the last one.
fn rest(runner: &Runner) {
    let guests = &runner.machine.guests;
    if guests.iter().any(|g| g.life.state() != State::Off) {
        return;
    }
    let well = guests
        .iter()
        .filter_map(|g| g.life.last_end())
        .all(|end| matches!(end, End::Stopped(Stop::PowerOff) | End::Asked));
    stop::request(if well {
        "last-guest-powered-off"
    } else {
        "last-guest-stopped"
    });
    machine::kick(0);
}
