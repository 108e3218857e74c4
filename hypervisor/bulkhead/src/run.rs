//! The loop of a core: look at what it is kicked for, decide who runs, run it or sleep.
// UNSAFETY: actions of the hygiene policy.
#![allow(unsafe_code)]

use crate::guest::Guest;
use crate::host::Core;
use crate::machine::Machine;
use crate::quiet::Quiet;
use crate::seat::{self, Seat};
use crate::times::{Here, Switches};
use crate::turn::{self, Over};
use crate::vcpu::{FOREVER, Vcpu};
use crate::vtx::VtX;
use crate::{console, lifecycle, shares, stop, trace};
use alloc::boxed::Box;
use exits::Stop;
use proto::trace::{Event, What};
use sched::{Band, Id, Scheduler};
use spec::Ticks;

/// Work of the hypervisor's own that takes longer is in the trace, in ticks.
const WORTH_TELLING: u64 = 1 << 11;

/// A core and the vCPUs that are on it.
pub(crate) struct Runner {
    pub(crate) core: Core,
    pub(crate) vtx: VtX,
    pub(crate) machine: &'static Machine,
    pub(crate) seat: &'static Seat,
    pub(crate) scheduler: Scheduler,
    /// By their numbers; those that are on other cores are not there
    vcpus: Box<[Option<Box<Vcpu>>]>,
    /// Whose registers the core holds
    pub(crate) current: Option<Id>,
    /// The only guest of which the core's predictors and caches may know: the one that it ran last, if it has loaded no other since
    guest: Option<u32>,
    /// Who was to run at the last decision
    running: Option<(Id, Band)>,
    /// What `seat.crowded` says
    pub(crate) crowded: bool,
    /// A vCPU could not go where its reservation is
    pub(crate) homesick: bool,
    quiet: Quiet,
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
    for (guest, index) in machine.vcpus().filter(|(g, i)| g.places.of(*i) == number) {
        match Vcpu::new(&vtx, &core, guest, index) {
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
        crowded: false,
        homesick: false,
        quiet: Quiet::default(),
        begs_after: Ticks(0),
        switches: Switches::default(),
    };
    // Orders may have been given before we could be kicked.
    for (guest, index) in machine.vcpus() {
        seat::wake(number, guest.id(index).0.into());
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
            Some((id, _)) => runner.stay(id, decision.until, now),
            None => runner.rest(decision.until),
        }
    }
}

impl Runner {
    /// The place of a vCPU, which is empty if it is not on this core.
    pub(crate) fn vcpu_mut(&mut self, id: Id) -> &mut Option<Box<Vcpu>> {
        // Numbers are given out by `Guest::id`, and there is a place for each.
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

    /// Looks at everything for which a core is kicked.
    fn attend(&mut self, now: Ticks) {
        stop::obey();
        if console::is_ours(self.core.local.index)
            && (console::was_rung() | self.core.has_consoles_due())
        {
            let here = Here::new(&self.scheduler, &self.vcpus, self.switches);
            let report = &self.seat.report;
            self.core.serve_consoles(&mut || report.tell(&here, now));
        }
        self.take(now);
        self.quiet.end(self.seat, now);
        if core::mem::take(&mut self.homesick) {
            for (guest, index) in self.machine.vcpus() {
                lifecycle::reshare(self, guest.id(index), guest);
            }
        }
        let seat = self.seat;
        // What the VM that runs has asked for itself.
        let mut own = Ticks(0);
        for id in seat.wakes() {
            let Ok(id) = u16::try_from(id).map(Id) else {
                continue;
            };
            let (disturbs, begun) = (self.disturbs(id), hw::tsc::now());
            if disturbs == Some(true) {
                self.quiet.disturbed(self.seat, now);
            }
            lifecycle::obey(self, id);
            self.consider(id, now);
            if disturbs == Some(false) {
                own = own.after(hw::tsc::now().since(begun));
            }
        }
        if self.seat.report.is_asked() {
            let here = Here::new(&self.scheduler, &self.vcpus, self.switches);
            self.seat.report.tell(&here, now);
        }
        if self.homesick {
            self.core.local.note_kick();
        }
        let host = hw::tsc::now().since(now);
        self.scheduler.stolen(host.since(own));
        if host.0 > WORTH_TELLING {
            self.note(now.after(host), trace::took(What::Host, (0, 0), host));
        }
    }

    /// Whether a look at a vCPU costs the time of another VM's, and not of its own. `None` if nobody runs.
    fn disturbs(&self, id: Id) -> Option<bool> {
        let running = self.running.and_then(|(id, _)| self.vcpu(id))?;
        let looked_at = self.vcpu(id)?;
        Some(running.guest.index != looked_at.guest.index)
    }

    /// Tells the scheduler whether a vCPU can run.
    pub(crate) fn consider(&mut self, id: Id, now: Ticks) {
        let ready = self.scheduler.is_ready(id);
        let Some(vcpu) = self.vcpu_mut(id).as_mut() else {
            return;
        };
        let who = vcpu.who();
        let (can_run, until) = match &vcpu.loading {
            Some(loading) => (loading.not_before <= now, Some(loading.not_before)),
            // What waits for one that will run anyway is left where it is: who left it would leave and kick again.
            None => {
                let can_run = vcpu.on && !vcpu.held && ready || vcpu.is_ready(now);
                (can_run, vcpu.deadline())
            }
        };
        match (ready, can_run) {
            (false, true) => {
                self.scheduler.wake(id, now);
                self.note(now, trace::of(What::Wake, who, 0));
            }
            (true, true) => {}
            (_, false) => {
                self.scheduler.block(id, until, now);
                if ready {
                    self.note(now, trace::of(What::Block, who, 0));
                }
            }
        }
    }

    /// Writes down who has the core, if that has changed.
    fn tell(&mut self, run: Option<(Id, Band)>, now: Ticks) {
        if run == self.running {
            return;
        }
        self.running = run;
        let event = match run {
            Some((id, band)) => {
                let band = match band {
                    Band::Window => proto::trace::Band::Window,
                    Band::Reserved => proto::trace::Band::Reserved,
                    Band::LeftOver => proto::trace::Band::LeftOver,
                };
                let Some(vcpu) = self.vcpu_mut(id) else {
                    return;
                };
                trace::of(What::Run(band), vcpu.who(), 0)
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
        let until = self.beg().min(self.quiet.latest(until));
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
            && let Some(vcpu) = self.vcpu_mut(id)
        {
            vcpu.put_away();
        }
    }

    /// Puts the registers of a vCPU into the core.
    fn switch_to(&mut self, id: Id, guest: &Guest) -> Result<(), Stop> {
        if self.current == Some(id) {
            return Ok(());
        }
        self.release();
        let guest = Some(guest.index);
        if core::mem::replace(&mut self.guest, guest) != guest {
            // SAFETY: the policy names only what this processor has.
            unsafe { hw::hygiene::carry_out(self.machine.hygiene.at_vm_change) };
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
        } else if vcpu.is_ready(now)
            && let Err(stop) = self.turn_of(id, guest, until, now)
        {
            lifecycle::stopped(self, id, stop);
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

    fn turn_of(&mut self, id: Id, guest: &Guest, until: Ticks, decided: Ticks) -> Result<(), Stop> {
        let switches = self.current != Some(id);
        self.switch_to(id, guest)?;
        if switches {
            self.switches.note(hw::tsc::now().since(decided));
        }
        let Some(vcpu) = self.vcpus[usize::from(id.0)].as_mut() else {
            return Ok(());
        };
        if let Some(vector) = vcpu.awaited_start_up() {
            vcpu.start_up(&self.vtx, vector).map_err(|e| {
                crate::error!("vm: {e}");
                Stop::Bug("a vCPU cannot be started up")
            })?;
        }
        match turn::run(&mut self.core, vcpu, until) {
            Over::Later => Ok(()),
            Over::Stop(stop) => Err(stop),
        }
    }
}
