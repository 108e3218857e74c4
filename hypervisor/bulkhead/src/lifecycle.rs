//! What a core does for the life of its guests: load, begin, hold, come to rest, and what follows when the last vCPU has.

use crate::guest::Guest;
use crate::loading::Loading;
use crate::log::{self, Level};
use crate::run::Runner;
use crate::{containment, seat, shares, stop, trace};
use alloc::boxed::Box;
use exits::Stop;
use plan::Then;
use proto::trace::What;
use sched::Id;
use spec::state::StartState;
use spec::{Hz, Ticks};
use vm::life::{End, Ended, Order, State};
use vm::recovery::{Next, Policy};

/// The least time between two starts of a VM, in nanoseconds: each of them is two lines of the log, on a slow line.
const BETWEEN_STARTS: u64 = 100_000_000;

/// The least time between two full reports of a VM, in nanoseconds: each takes the line for a second.
const BETWEEN_REPORTS: u64 = 10_000_000_000;

/// Acts on the orders of the guest whose vCPU this is, if it is on this core.
pub(crate) fn obey(runner: &mut Runner, id: Id) {
    let Some(vcpu) = runner.vcpu_mut(id).as_mut() else {
        return;
    };
    let guest = vcpu.guest;
    let (generation, order) = guest.life.order();
    if order != Order::Load && vcpu.loading.take().is_some() {
        unloaded(guest);
    }
    match order {
        Order::Load if vcpu.software.index == 0 => {
            let not_before = guest.life.not_before();
            vcpu.loading
                .get_or_insert_with(|| Box::new(Loading::new(not_before)));
        }
        Order::Run | Order::Hold => {
            vcpu.held = order == Order::Hold;
            // The first vCPU has begun when its VM was loaded.
            if vcpu.generation != generation {
                begin(runner, id, generation, None);
            }
        }
        // One that has missed the whole of a generation, since its core was busy, rests too: all of them are waited for.
        // The control structure is needed until all is told.
        Order::Rest if vcpu.report.is_some() => {}
        Order::Rest if vcpu.on || vcpu.generation != generation => {
            vcpu.on = false;
            vcpu.generation = generation;
            if guest.life.rested() {
                ended(runner, guest);
            }
        }
        Order::Load | Order::Rest => {}
    }
    reshare(runner, id, guest);
}

/// Lets the scheduler know of a share that was changed, and sends a vCPU to where its reservation is.
pub(crate) fn reshare(runner: &mut Runner, id: Id, guest: &'static Guest) {
    let (here, version) = (runner.core.local.index, guest.share.version());
    let Some(vcpu) = runner.vcpu_mut(id).as_mut() else {
        return;
    };
    let home = guest.share.home(vcpu.software.index);
    let now = hw::tsc::now();
    if let Some(home) = home
        && home != here
    {
        // Else another one is on its way there.
        runner.homesick |= !runner.give(id, home, now);
        return;
    }
    if vcpu.share_version != version {
        vcpu.share_version = version;
        runner
            .scheduler
            .set(id, shares::of(runner.machine, guest), now);
    }
}

/// A vCPU has ended its VM.
pub(crate) fn stopped(runner: &mut Runner, id: Id, why: Stop) {
    let (holds, seat) = (runner.current == Some(id), runner.seat);
    let tsc = runner.machine.bundle.handover().tsc;
    let Some(vcpu) = runner.vcpu_mut(id).as_mut() else {
        return;
    };
    let guest = vcpu.guest;
    let (level, _) = told(End::Stopped(why));
    if let Stop::Unsupported(what) | Stop::Bug(what) = why {
        log::line(level, &guest.vm.name, format_args!("vm: {what}"));
    }
    // Another vCPU may have been first: then this one only rests.
    let first = guest.life.end(End::Stopped(why)).is_ok();
    let pause = tsc.ticks(BETWEEN_REPORTS);
    if first && level != Level::Info && holds {
        // What it tells of may be what is broken.
        let _ = containment::attempt(seat, || vcpu.report(level, pause));
    }
    guest.kick();
}

/// Goes on with the report on a vCPU that has stopped its VM until `until`, or until the core is kicked. It rests when all is told.
pub(crate) fn report(runner: &mut Runner, id: Id, until: Ticks) {
    let seat = runner.seat;
    let Some(guest) = runner.vcpu(id).map(|vcpu| vcpu.guest) else {
        return;
    };
    let holds = runner.switch_to(id, guest).is_ok();
    loop {
        let (vtx, vcpu) = runner.vtx_and_vcpu(id);
        let Some(vcpu) = vcpu else {
            return;
        };
        // What it tells of may be what is broken.
        if !holds || containment::attempt(seat, || vcpu.report_on(vtx)).is_none() {
            vcpu.report = None;
        }
        if vcpu.report.is_none() {
            break;
        }
        if hw::tsc::now() >= until || runner.core.local.is_kicked() {
            return;
        }
    }
    obey(runner, id);
}

/// Goes on with loading the VM of a first vCPU until `until`, or until the core is kicked.
pub(crate) fn load(runner: &mut Runner, id: Id, until: Ticks) {
    runner.soil();
    let (machine, seat, begun) = (runner.machine, runner.seat, hw::tsc::now());
    let (done, now) = loop {
        let Some(vcpu) = runner.vcpu_mut(id).as_mut() else {
            return;
        };
        let Some(loading) = vcpu.loading.as_mut() else {
            return;
        };
        let guest = vcpu.guest;
        let done = containment::attempt(seat, || loading.step(guest, &machine.bundle))
            .unwrap_or_else(|| Err("a panic while it was loaded".into()));
        // The consoles are heard meanwhile: a UART keeps no more than 16 bytes of what is typed.
        runner.core.breathe();
        let now = hw::tsc::now();
        if !matches!(done, Ok(None)) || now >= until || runner.core.local.is_kicked() {
            break (done, now);
        }
    };
    let Some(vcpu) = runner.vcpu_mut(id).as_mut() else {
        return;
    };
    let (guest, who) = (vcpu.guest, vcpu.who());
    let since = vcpu.loading.as_ref().map_or(now, |loading| loading.begun);
    if !matches!(done, Ok(None)) {
        vcpu.loading = None;
    }
    runner.note(now, trace::took(What::Load, who, now.since(begun)));
    match done {
        Ok(None) => {}
        Ok(Some(start)) => loaded(runner, id, guest, &start, since),
        Err(e) => {
            let name = guest.vm.name.as_str();
            log::line(Level::Warn, name, format_args!("vm: not started: {e}"));
            guest.life.failed();
            rest(runner);
        }
    }
}

/// A VM is loaded; that has been going on since a time.
fn loaded(runner: &mut Runner, id: Id, guest: &'static Guest, start: &StartState, since: Ticks) {
    let now = hw::tsc::now();
    if !guest.life.loaded(guest.plan.vcpus, now) {
        unloaded(guest);
        return;
    }
    log::line(
        Level::Info,
        &guest.vm.name,
        format_args!(
            "vm: start memory_mib={} vcpus={} cores={:?} rip={:#x} since_entry={} loaded_in={}",
            guest.plan.memory >> 20,
            guest.plan.vcpus,
            guest.cores(),
            start.rip,
            now.since(runner.machine.entered).0,
            now.since(since).0
        ),
    );
    let (generation, _) = guest.life.order();
    begin(runner, id, generation, Some(start));
    guest.kick();
}

/// Somebody has stopped a VM before it could start.
fn unloaded(guest: &Guest) {
    log::line(
        Level::Info,
        &guest.vm.name,
        format_args!("vm: end reason=stopped before its start"),
    );
}

fn begin(runner: &mut Runner, id: Id, generation: u32, start: Option<&StartState>) {
    runner.release();
    runner.core.forget_borrower();
    let seat = runner.seat;
    let (vtx, vcpu) = runner.vtx_and_vcpu(id);
    let Some(vcpu) = vcpu else {
        return;
    };
    let held = vcpu.held;
    let begin = || {
        vcpu.make_current()?;
        vcpu.begin(vtx, generation, start)
    };
    let begun =
        containment::attempt(seat, begin).unwrap_or_else(|| Err("a panic while it began".into()));
    vcpu.held = held;
    if let Err(e) = begun {
        let name = &vcpu.guest.vm.name;
        log::line(Level::Error, name, format_args!("vm: {e}"));
        stopped(runner, id, Stop::Bug("a vCPU cannot begin"));
    }
}

/// The last vCPU of a guest rests.
fn ended(runner: &Runner, guest: &'static Guest) {
    let name = guest.vm.name.as_str();
    let now = hw::tsc::now();
    let tsc = runner.machine.bundle.handover().tsc;
    let Ended { end, up, next } = guest.life.ended(now, tsc.ticks(BETWEEN_STARTS));
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
    match next {
        Next::Again(after) => {
            if end.is_crash() {
                // Ticks are whole, so that a round number of milliseconds comes back as a bit less.
                let after_ms = tsc.nanos(after).saturating_add(500_000) / 1_000_000;
                let crashes = guest.life.crashes();
                log::line(
                    Level::Info,
                    name,
                    format_args!("vm: restarts after_ms={after_ms} crashes={crashes}"),
                );
            }
            guest.kick_one(0);
        }
        Next::GivenUp => {
            let restarts = guest.plan.recovery.restarts;
            log::line(
                Level::Warn,
                name,
                format_args!("vm: stays off: it has crashed again after {restarts} restarts"),
            );
            rest(runner);
        }
        Next::Off if end == End::Asked => {}
        Next::Off => rest(runner),
    }
}

/// What the plan says of a VM's crashes, in ticks.
pub(crate) fn policy(plan: &plan::Recovery, tsc: Hz) -> Policy {
    Policy {
        restarts: match plan.on_crash {
            Then::Restart => plan.restarts,
            Then::Stop => 0,
        },
        reboots: plan.on_reboot == Then::Restart,
        delay: tsc.ticks(plan.delay),
        longest: tsc.ticks(plan::MAX_DELAY),
        window: tsc.ticks(plan.window),
    }
}

/// How an end is told in the log.
pub(crate) fn told(end: End) -> (Level, &'static str) {
    match end {
        End::Stopped(Stop::PowerOff) => (Level::Info, "power-off"),
        End::Stopped(Stop::Reset) => (Level::Info, "reset"),
        End::Stopped(Stop::TripleFault) => (Level::Warn, "triple-fault"),
        End::Stopped(Stop::Unsupported(_)) => (Level::Warn, "unsupported"),
        End::Stopped(Stop::ExitLoop) => (Level::Warn, "exit-loop"),
        End::Stopped(Stop::Bug(_)) => (Level::Error, "bug"),
        End::Watchdog => (Level::Warn, "watchdog"),
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
    seat::kick(0);
}
