//! What a core does when it is kicked: it looks at orders, at the consoles, and at the vCPUs for which something was left.

use crate::run::Runner;
use crate::times::Here;
use crate::{console, desk, lifecycle, stop, trace, watchdog};
use proto::trace::What;
use sched::Id;
use spec::Ticks;

/// Work of the hypervisor's own that takes longer is in the trace, in ticks.
const WORTH_TELLING: u64 = 1 << 11;

impl Runner {
    /// Looks at everything for which a core is kicked.
    pub(crate) fn attend(&mut self, now: Ticks) {
        stop::obey();
        if console::is_ours(self.core.local.index)
            && (console::was_rung() | self.core.has_consoles_due())
        {
            let (seat, number) = (self.seat, self.core.local.index);
            // What somebody there asks of this core is told at once.
            self.core.serve_consoles(&mut || {
                if seat.desk.is_asked() {
                    let (vtx, vcpus) = (&self.vtx, &mut self.vcpus);
                    desk::Here::new(seat, number, vtx, vcpus, self.current).tell();
                } else {
                    let here = Here::new(&self.scheduler, &self.vcpus, self.switches);
                    seat.report.tell(&here, now);
                }
            });
        }
        if watchdog::is_ours(self.core.local.index)
            && (self.seat.is_to_watch() | self.core.has_watchdogs_due(now))
        {
            self.core.watch_at(watchdog::look(self.machine, now));
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
            seat.serve(Some(id.0));
            lifecycle::obey(self, id);
            seat.serve(None);
            match disturbs {
                Some((vm, true)) if !self.quiet.may_disturb(seat, vm, now) => {
                    // It is looked at when the core is quiet no more.
                    seat.mark(id.0.into());
                }
                Some((_, false)) => {
                    self.consider(id, now);
                    own = own.after(hw::tsc::now().since(begun));
                }
                _ => self.consider(id, now),
            }
        }
        if self.seat.report.is_asked() {
            let here = Here::new(&self.scheduler, &self.vcpus, self.switches);
            self.seat.report.tell(&here, now);
        }
        self.tell_if_asked();
        if self.homesick {
            self.core.local.note_kick();
        }
        let host = hw::tsc::now().since(now);
        self.scheduler.stolen(host.since(own));
        if host.0 > WORTH_TELLING {
            self.note(now.after(host), trace::took(What::Host, (0, 0), host));
        }
    }

    /// A vCPU's VM, and whether a look at it costs the time of another VM's, not of its own. `None` if nobody runs.
    fn disturbs(&self, id: Id) -> Option<(u32, bool)> {
        let running = self.running.and_then(|(id, _)| self.vcpu(id))?;
        let vm = self.vcpu(id)?.guest.index;
        Some((vm, running.guest.index != vm))
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
}
