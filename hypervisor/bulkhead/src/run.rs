//! The loop of a core: its vCPUs take turns; each enters its guest, takes an exit, answers it.
// UNSAFETY: VM entry.
#![allow(unsafe_code)]

use crate::host::Core;
use crate::machine::Machine;
use crate::vcpu::{FOREVER, Vcpu};
use crate::vtx::VtX;
use crate::{console, lifecycle, stop};
use alloc::vec::Vec;
use exits::{Exit, Stop};
use hw::entry::Outcome;
use processor::hygiene::Actions;
use spec::Ticks;
use spec::cpu::vector;
use vm::Kind;
use vmx::Effect;

/// How long a vCPU runs while another of the same core waits, in nanoseconds.
const TURN: u64 = 1_000_000;

/// A core and the vCPUs that live on it.
pub(crate) struct Runner {
    pub(crate) core: Core,
    pub(crate) vtx: VtX,
    pub(crate) machine: &'static Machine,
    pub(crate) vcpus: Vec<Vcpu>,
    /// Whose registers the core holds
    current: Option<usize>,
    /// The only guest of which the core's predictors and caches may know: the one that it ran last, if it has loaded no other since
    guest: Option<u32>,
    /// Who has had its turn last
    last: usize,
    turn: Ticks,
    /// What is done before each entry beside what the entry itself does
    around: Actions,
}

/// Runs what the plan puts on this core, for as long as the machine is up.
pub(crate) fn core(core: Core, mut vtx: VtX, machine: &'static Machine) -> ! {
    let number = core.local.index;
    // SAFETY: the policy was made from what these processors show; nothing of a guest's has been loaded here.
    let around = unsafe { hw::hygiene::adopt(core.local, &machine.hygiene) };
    let mut vcpus = Vec::new();
    for guest in &machine.guests {
        for (index, at) in (0..).zip(&guest.cores) {
            if *at == number {
                let vpid = vcpus.len() as u16 + 1;
                match Vcpu::new(&mut vtx, &core, guest, index, vpid) {
                    Ok(vcpu) => vcpus.push(vcpu),
                    Err(e) => stop::die(&format_args!("vm {}: vcpu {index}: {e}", guest.vm.name)),
                }
            }
        }
    }
    let mut runner = Runner {
        turn: machine.bundle.handover().tsc.ticks(TURN),
        around,
        core,
        vtx,
        machine,
        vcpus,
        current: None,
        guest: None,
        last: 0,
    };
    // Orders may have been given before we could be kicked.
    runner.core.local.note_kick();
    loop {
        if runner.core.local.take_kick() {
            runner.attend();
        }
        let now = hw::tsc::now();
        match runner.next(now) {
            Some(i) => runner.stay(i),
            None => {
                let deadline = runner.vcpus.iter().filter_map(Vcpu::deadline).min();
                runner.core.sleep(deadline);
            }
        }
    }
}

impl Runner {
    /// Looks at everything for which a core is kicked, but for the mailboxes: those are looked at before each entry.
    fn attend(&mut self) {
        stop::obey();
        if console::is_ours(self.core.local.index) {
            self.core.serve_consoles();
        }
        for i in 0..self.vcpus.len() {
            lifecycle::obey(self, i);
        }
    }

    /// The first vCPU that can be entered, beginning with the one after the last.
    fn next(&mut self, now: Ticks) -> Option<usize> {
        let n = self.vcpus.len();
        (1..=n)
            .map(|k| (self.last + k) % n)
            .find(|&i| self.vcpus[i].is_ready(now))
    }

    /// When the vCPU `i` has to make room for another.
    fn limit(&mut self, i: usize, now: Ticks) -> Ticks {
        let turn = now.after(self.turn);
        let others = self.vcpus.iter_mut().enumerate().filter(|(j, _)| *j != i);
        others
            .map(|(_, other)| {
                if other.is_ready(now) {
                    turn
                } else {
                    other.deadline().map_or(FOREVER, |d| d.max(turn))
                }
            })
            .min()
            .unwrap_or(FOREVER)
    }

    /// The core has seen what belongs to another guest than it ran last.
    pub(crate) fn soil(&mut self) {
        self.guest = None;
    }

    /// Takes the current vCPU's registers out of the core.
    pub(crate) fn release(&mut self) {
        if let Some(i) = self.current.take() {
            self.vcpus[i].put_away();
        }
    }

    /// Puts the registers of the vCPU `i` into the core.
    fn switch_to(&mut self, i: usize) -> Result<(), Stop> {
        if self.current == Some(i) {
            return Ok(());
        }
        self.release();
        let guest = Some(self.vcpus[i].guest.index);
        if core::mem::replace(&mut self.guest, guest) != guest {
            // SAFETY: the policy names only what this processor has.
            unsafe { hw::hygiene::carry_out(self.machine.hygiene.at_vm_change) };
        }
        self.vcpus[i].take_up().map_err(|e| {
            crate::error!("vm: {e}");
            Stop::Bug("the vCPU's state cannot be loaded")
        })?;
        self.current = Some(i);
        Ok(())
    }

    /// Runs a vCPU until it sleeps, ends, has to make room, or the core is kicked.
    fn stay(&mut self, i: usize) {
        self.last = i;
        let stop = match self.switch_to(i) {
            Ok(()) => self.run(i),
            Err(stop) => Some(stop),
        };
        if let Some(stop) = stop {
            lifecycle::stopped(self, i, stop);
        }
    }

    fn run(&mut self, i: usize) -> Option<Stop> {
        let mut exited = hw::tsc::now();
        let limit = self.limit(i, exited);
        let around = self.around;
        let Self {
            core, vtx, vcpus, ..
        } = self;
        let vcpu = &mut vcpus[i];
        let guest = vcpu.guest;
        let mailbox = guest.vm.mailbox(&vcpu.software);
        let statistics = guest.vm.statistics(&vcpu.software);
        let mut served: Option<Kind> = None;
        loop {
            let now = hw::tsc::now();
            if let Some(kind) = served.take() {
                statistics.record(kind, now.since(exited));
            }
            if now >= limit || core.local.is_kicked() {
                return None;
            }
            if !vcpu.prepare(core, mailbox, now, limit) {
                let wants = vcpu.software.wants(mailbox, now);
                let vector = wants.start_up?;
                if let Err(e) = vcpu.start_up(vtx, vector) {
                    crate::error!("vm: {e}");
                    return Some(Stop::Bug("a vCPU cannot be started up"));
                }
                continue;
            }
            let vmx = vcpu.vmx.as_mut()?;
            // SAFETY: the policy names only what this processor has.
            unsafe { hw::hygiene::carry_out(around) };
            // SAFETY: interrupts are off but in `sleep`; `Vcpu::new` described this core in the host-state area; tables and
            // bitmaps grant what `Guest::claim` and the policy grant.
            match unsafe { hw::entry::run(&vcpu.vmcs, &mut vcpu.registers) } {
                Ok(Outcome::Exited) => exited = hw::tsc::now(),
                Ok(Outcome::Kicked) => return None,
                Err(e) => {
                    crate::error!("vm: entry failed: {e}");
                    return Some(Stop::Bug("VM entry failed"));
                }
            }
            let exit = vmx.decode(&mut vcpu.vmcs, &vcpu.registers.gprs);
            served = Some(Kind::of(&exit));
            match exit {
                Exit::HostInterrupt(vector) => core.serve(vector),
                Exit::HostNmi => {
                    core.local.note_kick();
                    hw::trap::unblock_nmis();
                }
                Exit::Exception {
                    vector: vector::MC, ..
                } => panic!("machine check while vm {} ran", guest.vm.name),
                // A guest must not keep the host's interrupts out by exits that come before theirs: of a timer that it re-arms
                // without end (SDM vol. 3, "VMX-Preemption Timer"), or of an exception whose delivery raises the next.
                Exit::TimerExpired | Exit::Exception { .. } | Exit::Forbidden => core.breathe(),
                _ => {}
            }
            let answer = vm::step(
                &guest.vm,
                &mut vcpu.software,
                &mut vcpu.registers.gprs,
                &exit,
                exited,
            );
            let effect = vmx.apply(&mut vcpu.vmcs, answer);
            if effect != Effect::None
                && let Some(stop) = vcpu.carry_out(effect)
            {
                return Some(stop);
            }
            if let Some(field) = vcpu.vmcs.take_failure() {
                crate::error!("vm: VMREAD or VMWRITE of field {:#x} failed", field.0);
                return Some(Stop::Bug("a VMCS field is not there"));
            }
        }
    }
}
