//! Where the time of cores and vCPUs went, told by each core when it is asked.

use crate::guest::Guest;
use crate::machine::Machine;
use crate::seat::{self, Seat};
use crate::vcpu::Vcpu;
use alloc::boxed::Box;
use alloc::vec::Vec;
use core::sync::atomic::{AtomicBool, Ordering};
use hw::hygiene::Carried;
use plan::Runs;
use proto::{Class, Cleared, CoreTimes, MachineTimes, Reservation, VcpuTimes};
use sched::{Id, Scheduler, Times};
use spec::Ticks;
use spin::Mutex;

/// How long whoever asks waits for a core's answer: a core looks after an exit, or after a piece of loading.
const PATIENCE: Ticks = Ticks(1 << 22);

/// What a core has told, and whether it is to tell again.
#[derive(Default)]
pub(crate) struct Report {
    asked: AtomicBool,
    told: Mutex<Told>,
}

/// What one core knows.
#[derive(Default)]
struct Told {
    core: sched::CoreTimes,
    switches: Switches,
    vcpus: Vec<(Id, u64, Times)>,
}

/// Changes from one vCPU to another.
#[derive(Clone, Copy, Default)]
pub(crate) struct Switches {
    count: u64,
    worst: Ticks,
    /// Those from one VM to another, or to one whose memory this core has loaded
    pub(crate) of_vms: u64,
    /// What was done at them
    pub(crate) carried: Carried,
}

impl Switches {
    /// One took so long, from the decision to the entry.
    #[inline]
    pub(crate) fn note(&mut self, took: Ticks) {
        self.count += 1;
        self.worst = self.worst.max(took);
    }
}

/// Where a core finds what it tells.
pub(crate) struct Here<'a> {
    scheduler: &'a Scheduler,
    vcpus: &'a [Option<Box<Vcpu>>],
    switches: Switches,
}

impl<'a> Here<'a> {
    /// On this core.
    pub(crate) fn new(
        scheduler: &'a Scheduler,
        vcpus: &'a [Option<Box<Vcpu>>],
        switches: Switches,
    ) -> Self {
        Self {
            scheduler,
            vcpus,
            switches,
        }
    }
}

impl Report {
    /// Whether somebody waits for this core to tell.
    pub(crate) fn is_asked(&self) -> bool {
        self.asked.load(Ordering::Acquire)
    }

    /// Tells how things are on this core.
    pub(crate) fn tell(&self, here: &Here<'_>, now: Ticks) {
        let times = |vcpu: &Vcpu| {
            let times = here.scheduler.times(vcpu.id(), now)?;
            Some((vcpu.id(), vcpu.moves, times))
        };
        let mut told = self.told.lock();
        told.core = here.scheduler.core_times(now);
        told.switches = here.switches;
        told.vcpus.clear();
        let vcpus = here.vcpus.iter().filter_map(Option::as_deref);
        told.vcpus.extend(vcpus.filter_map(times));
        drop(told);
        self.asked.store(false, Ordering::Release);
    }
}

/// Asks all cores; `tell` has this one, the first, tell.
pub(crate) fn ask(machine: &Machine, tell: &mut dyn FnMut()) -> MachineTimes {
    tell();
    let others = || {
        (0..)
            .zip(seat::all())
            .filter(|(n, seat)| *n != 0 && seat.is_up())
    };
    for (number, seat) in others() {
        seat.report.asked.store(true, Ordering::Release);
        seat::kick(number);
    }
    let begun = hw::tsc::now();
    let waits = |seat: &Seat| seat.report.asked.load(Ordering::Acquire);
    while others().any(|(_, seat)| waits(seat)) && hw::tsc::now().since(begun) < PATIENCE {
        core::hint::spin_loop();
    }
    let core = |(core, seat): (u32, &Seat)| {
        let told = seat.report.told.lock();
        let times = told.core;
        CoreTimes {
            core,
            idle: times.idle,
            busy: times.window.after(times.reserved).after(times.left_over),
            host: times.stolen,
            switches: told.switches.count,
            worst_switch: told.switches.worst,
            cleared: cleared(&told.switches),
        }
    };
    MachineTimes {
        tsc: machine.bundle.handover().tsc,
        entered: machine.entered,
        now: hw::tsc::now(),
        cores: (0..).zip(seat::all()).map(core).collect(),
        vcpus: machine
            .vcpus()
            .map(|(guest, index)| vcpu(guest, index))
            .collect(),
    }
}

const fn cleared(switches: &Switches) -> Cleared {
    let Carried {
        ibpb,
        rsb_fills,
        l1d_flushes,
        verw,
    } = switches.carried;
    Cleared {
        changes: switches.of_vms,
        ibpb,
        rsb_fills,
        l1d_flushes,
        verw,
    }
}

fn vcpu(guest: &Guest, index: u32) -> VcpuTimes {
    let (id, core) = (guest.id(index), guest.places.of(index));
    // One that moves at this very moment is told of by neither core, or by the one that it has left.
    let told = seat::all().iter().find_map(|seat| {
        let told = seat.report.told.lock();
        told.vcpus.iter().find(|(of, ..)| *of == id).copied()
    });
    let (_, moves, times) = told.unwrap_or((id, 0, Times::default()));
    VcpuTimes {
        vm: guest.vm.name.clone(),
        vcpu: index,
        core,
        class: class(guest),
        run: times.run(),
        reserved: times.reserved,
        wait: times.wait,
        throttled: times.throttled,
        blocked: times.blocked,
        turns: times.turns,
        worst_wait: times.worst_wait,
        worst_late: times.worst_late,
        missed: times.missed,
        moves,
    }
}

fn class(guest: &Guest) -> Class {
    match guest.plan.runs {
        Runs::Dedicated(_) => Class::Dedicated,
        Runs::Cyclic => Class::Cyclic,
        Runs::Pool(_) => {
            let share = guest.share.get();
            Class::Pool {
                weight: share.weight,
                reservation: share.reservation.map(|r| Reservation {
                    budget: r.budget,
                    period: r.period,
                }),
            }
        }
    }
}
