//! The loop of a core: look at what it is kicked for, decide who runs, run it or sleep.
// UNSAFETY: actions of the hygiene policy.
#![allow(unsafe_code)]

use crate::carrier::Carrying;
use crate::containment::{self, GIVEN_UP};
use crate::guest::Guest;
use crate::host::Core;
use crate::machine::Machine;
use crate::quiet::Quiet;
use crate::seat::{self, Seat};
use crate::times::Switches;
use crate::turn::{self, Over};
use crate::vcpu::{FOREVER, Vcpu};
use crate::vtx::VtX;
use crate::{lifecycle, shares, stop, trace};
use alloc::boxed::Box;
use exits::Stop;
use plan::{Exits, Interrupts};
use proto::trace::{Event, What};
use sched::{Band, Id, Scheduler};
use spec::Ticks;
use spec::apic::Carrier;

/// A core and the vCPUs that are on it.
pub(crate) struct Runner {
    pub(crate) core: Core,
    pub(crate) vtx: VtX,
    pub(crate) machine: &'static Machine,
    pub(crate) seat: &'static Seat,
    pub(crate) scheduler: Scheduler,
    /// By their numbers; those that are on other cores are not there
    pub(crate) vcpus: Box<[Option<Box<Vcpu>>]>,
    /// Whose registers the core holds
    pub(crate) current: Option<Id>,
    /// The only guest of which the core's predictors and caches may know: the one that it ran last, if it has loaded no other since
    guest: Option<u32>,
    /// Who was to run at the last decision
    pub(crate) running: Option<(Id, Band)>,
    /// It is one of several cores between which vCPUs may move: none that stands in for another, or whose TSC is out of step
    pub(crate) shares: bool,
    /// No more than one vCPU is ever here
    alone: bool,
    /// What `seat.crowded` says
    pub(crate) crowded: bool,
    /// A vCPU that could go to another core, and since when it has been the first of those that wait
    pub(crate) waits: Option<(Id, Ticks)>,
    /// A vCPU could not go where its reservation is
    pub(crate) homesick: bool,
    pub(crate) quiet: Quiet,
    /// When it may kick another core again since it has nothing to run
    pub(crate) begs_after: Ticks,
    pub(crate) switches: Switches,
}

/// Runs what the plan puts on this core, and what comes to it later, for as long as the machine is up.
pub(crate) fn core(core: Core, vtx: VtX, machine: &'static Machine) -> ! {
    let number = core.local.index;
    let Some(seat) = seat::at(number) else {
        stop::die(&format_args!("core {number} has no seat"));
    };
    // SAFETY: the policy was made from what these processors show; nothing of a guest's has been loaded here.
    let left = unsafe { hw::hygiene::adopt(core.local, &machine.hygiene) };
    if !left.is_empty() {
        crate::error!("core: {left:?} is asked for at entries or exits, and not done");
    }
    let now = hw::tsc::now();
    let mut scheduler = shares::scheduler(machine, number, now);
    let mut vcpus: Box<[Option<Box<Vcpu>>]> = machine.vcpus().map(|_| None).collect();
    let here = || machine.vcpus().filter(|(g, i)| g.places.of(*i) == number);
    let shares = machine.pool.len() > 1 && machine.pool.contains(&number);
    // No more than one vCPU is ever here.
    let alone = !shares && here().count() == 1;
    let may_lend = alone && core.can_lend();
    for (guest, index) in here() {
        let carrying = carrying(&vtx, (guest, index), may_lend);
        match Vcpu::new(&vtx, &core, guest, index, carrying) {
            Ok(vcpu) => {
                scheduler.add(vcpu.id(), shares::of(machine, guest), now);
                if let Some(place) = vcpus.get_mut(usize::from(vcpu.id().0)) {
                    *place = Some(Box::new(vcpu));
                }
            }
            Err(e) => stop::die(&format_args!("vm {}: vcpu {index}: {e}", guest.vm.name)),
        }
    }
    let mut runner = Runner {
        core,
        vtx,
        machine,
        seat,
        scheduler,
        vcpus,
        current: None,
        guest: None,
        running: None,
        alone,
        shares,
        crowded: false,
        homesick: false,
        waits: None,
        quiet: Quiet::new(machine.guests.len()),
        begs_after: Ticks(0),
        switches: Switches::default(),
    };
    // Orders may have been given before we could be kicked.
    for (guest, index) in machine.vcpus() {
        seat.mark(guest.id(index).0.into());
    }
    runner.core.local.note_kick();
    loop {
        let now = hw::tsc::now();
        if runner.core.local.take_kick() || runner.quiet.is_over(now) {
            runner.attend(now);
        }
        let now = hw::tsc::now();
        let decision = runner.scheduler.decide(now);
        runner.offer(now);
        runner.tell(decision.run, now);
        match decision.run {
            Some((id, _)) => {
                runner.seat.serve(Some(id.0));
                runner.stay(id, decision.until, now);
                runner.seat.serve(None);
            }
            None => runner.rest(decision.until),
        }
    }
}

/// What may carry the local APIC of a guest's vCPU. Says so where that is less than the plan asks for.
fn carrying(vtx: &VtX, (guest, vcpu): (&Guest, u32), may_lend: bool) -> Carrying {
    let has = vtx.capabilities.has_accelerated_apic();
    let planned = guest.plan.carrier(vcpu);
    let best = match planned {
        Carrier::Direct if may_lend && vtx.capabilities.has_direct_apic() => Carrier::Direct,
        Carrier::Direct | Carrier::Accelerated if has => Carrier::Accelerated,
        _ => Carrier::Software,
    };
    let counts_on_it = guest.plan.interrupts != Interrupts::Auto || guest.plan.exits != Exits::Any;
    if best < planned && counts_on_it {
        crate::warning!(
            "vm: {}: vcpu={vcpu} has its local APIC {best}: this core cannot have it {planned}",
            guest.vm.name
        );
    }
    let posts = vtx.capabilities.has_posted_interrupts();
    Carrying::new(best, has && planned != Carrier::Software, posts)
}

impl Runner {
    /// The place of a vCPU, which is empty if it is not on this core.
    #[expect(
        clippy::indexing_slicing,
        reason = "numbers are given out by `Guest::id`, and there is a place for each"
    )]
    pub(crate) fn vcpu_mut(&mut self, id: Id) -> &mut Option<Box<Vcpu>> {
        &mut self.vcpus[usize::from(id.0)]
    }

    /// A vCPU, if it is on this core.
    pub(crate) fn vcpu(&self, id: Id) -> Option<&Vcpu> {
        self.vcpus.get(usize::from(id.0))?.as_deref()
    }

    /// A vCPU, if it is on this core, beside the core's VT-x.
    pub(crate) fn vtx_and_vcpu(&mut self, id: Id) -> (&VtX, Option<&mut Vcpu>) {
        let vcpu = self.vcpus.get_mut(usize::from(id.0));
        (&self.vtx, vcpu.and_then(Option::as_deref_mut))
    }

    /// Writes down who has the core, if that has changed.
    fn tell(&mut self, run: Option<(Id, Band)>, now: Ticks) {
        if run == self.running {
            return;
        }
        if let Some((id, Band::Reserved)) = self.running
            && self.scheduler.is_throttled(id)
            && let Some(vcpu) = self.vcpu(id)
        {
            self.note(now, trace::of(What::Spent, vcpu.who(), 0));
        }
        self.running = run;
        let event = match run {
            Some((id, band)) => {
                let Some(vcpu) = self.vcpu_mut(id) else {
                    return;
                };
                trace::of(What::Run(shown(band)), vcpu.who(), 0)
            }
            None => trace::of(What::Idle, (0, 0), 0),
        };
        self.note(now, event);
    }

    pub(crate) fn note(&self, at: Ticks, event: Event) {
        self.seat.trace.note(at, event);
    }

    /// Sleeps until something happens, at the latest until `until`.
    fn rest(&mut self, until: Ticks) {
        if self.quiet.pause(self.seat) {
            // There may be something to do for those VMs.
            self.core.local.note_kick();
            return;
        }
        if self.core.is_lent() {
            self.release();
        }
        let until = self.beg().min(until);
        self.core.sleep((until != FOREVER).then_some(until));
        self.stop_begging();
    }

    /// The core has seen what belongs to another guest than it ran last.
    pub(crate) fn soil(&mut self) {
        // Or the one whose registers are there would go on without being told apart.
        self.release();
        self.guest = None;
    }

    /// Takes the current vCPU's registers out of the core.
    pub(crate) fn release(&mut self) {
        if let Some(id) = self.current.take()
            && let Some(Some(vcpu)) = self.vcpus.get_mut(usize::from(id.0))
        {
            vcpu.put_away(&mut self.core);
        }
    }

    /// Puts the registers of a vCPU into the core.
    pub(crate) fn switch_to(&mut self, id: Id, guest: &Guest) -> Result<(), Stop> {
        if self.current == Some(id) {
            return Ok(());
        }
        self.release();
        let guest = Some(guest.index);
        if core::mem::replace(&mut self.guest, guest) != guest {
            let carried = &mut self.switches.carried;
            // SAFETY: the policy names only what this processor has.
            unsafe { hw::hygiene::carry_out(self.machine.hygiene.at_vm_change, carried) };
            self.switches.of_vms += 1;
        }
        if let Some(vcpu) = self.vcpu_mut(id) {
            vcpu.take_up().map_err(|e| {
                crate::error!("vm: {e}");
                Stop::Bug("the vCPU's state cannot be loaded")
            })?;
        }
        self.current = Some(id);
        Ok(())
    }

    /// Lets a vCPU have the core until `until` at the latest, or until it has nothing to do.
    fn stay(&mut self, id: Id, until: Ticks, now: Ticks) {
        let until = self.quiet.latest(until);
        let Some(vcpu) = self.vcpu_mut(id).as_mut() else {
            self.scheduler.block(id, None, now);
            return;
        };
        let guest = vcpu.guest;
        if vcpu.loading.is_some() {
            lifecycle::load(self, id, until);
        } else if vcpu.report.is_some() {
            lifecycle::report(self, id, until);
        } else if vcpu.is_ready(now) {
            let mut turn = self.turn_of(id, guest, until, now);
            while self.alone && turn.is_ok() && self.nap(id, until) {
                turn = self.turn_of(id, guest, until, now);
            }
            if let Err(stop) = turn {
                lifecycle::stopped(self, id, stop);
            }
        }
        let now = hw::tsc::now();
        self.consider_again(id, now);
    }

    /// A vCPU that had the core may have nothing to do any more.
    fn consider_again(&mut self, id: Id, now: Ticks) {
        if let Some(vcpu) = self.vcpu_mut(id).as_mut()
            && vcpu.loading.is_none()
            && !vcpu.is_ready(now)
        {
            let (who, until) = (vcpu.who(), vcpu.deadline());
            self.scheduler.block(id, until, now);
            self.note(now, trace::of(What::Block, who, 0));
        }
    }

    /// Sleeps with the only vCPU of this core, if that has nothing to do, until it has; says whether it has then. Not with one that runs
    /// by its reservation or in its window, for which it counts when it wakes.
    fn nap(&mut self, id: Id, until: Ticks) -> bool {
        if self.core.is_lent() {
            return false;
        }
        let (now, run) = (hw::tsc::now(), self.running);
        let Some(vcpu) = self.vcpu_mut(id).as_mut() else {
            return false;
        };
        if run != Some((id, Band::LeftOver)) || vcpu.is_ready(now) || !vcpu.on || vcpu.held {
            return false;
        }
        let until = vcpu
            .deadline()
            .map_or(until, |deadline| deadline.min(until));
        self.tell(None, now);
        self.core.sleep((until != FOREVER).then_some(until));
        let then = hw::tsc::now();
        self.scheduler.slept(then.since(now));
        self.tell(run, then);
        // With neither a kick nor the time it was the host's interrupt, and the next turn sleeps on.
        let is_ready = |vcpu: &mut Box<Vcpu>| vcpu.is_ready(then);
        !self.core.local.is_kicked()
            && (then < until || self.vcpu_mut(id).as_mut().is_some_and(is_ready))
    }

    fn turn_of(&mut self, id: Id, guest: &Guest, until: Ticks, decided: Ticks) -> Result<(), Stop> {
        let switches = self.current != Some(id);
        self.switch_to(id, guest)?;
        if switches {
            self.switches.note(hw::tsc::now().since(decided));
        }
        let Some(Some(vcpu)) = self.vcpus.get_mut(usize::from(id.0)) else {
            return Ok(());
        };
        if let Some(vector) = vcpu.awaited_start_up() {
            let vtx = &self.vtx;
            let started = containment::attempt(self.seat, || vcpu.start_up(vtx, vector));
            started.ok_or(GIVEN_UP)?.map_err(|e| {
                crate::error!("vm: {e}");
                Stop::Bug("a vCPU cannot be started up")
            })?;
        }
        let mailbox = vcpu.mailbox();
        let posts = vcpu.takes_posts();
        if posts {
            mailbox.post_at(self.core.local.apic_id);
        }
        let core = &mut self.core;
        let over = containment::attempt(self.seat, || turn::run(core, vcpu, until));
        // One to which the local APIC was lent meanwhile has another way.
        if posts && vcpu.carrying.now == Carrier::Accelerated {
            mailbox.withdraw();
        }
        match over {
            Some(Over::Later) => Ok(()),
            Some(Over::Stop(stop)) => Err(stop),
            None => Err(GIVEN_UP),
        }
    }
}

const fn shown(band: Band) -> proto::trace::Band {
    match band {
        Band::Window => proto::trace::Band::Window,
        Band::Reserved => proto::trace::Band::Reserved,
        Band::LeftOver => proto::trace::Band::LeftOver,
    }
}
