//! The loop of a core, in which its vCPUs take turns.
// UNSAFETY: actions of the hygiene policy.
#![allow(unsafe_code)]

use crate::host::Core;
use crate::machine::Machine;
use crate::turn::{self, Over};
use crate::vcpu::{FOREVER, Vcpu};
use crate::vtx::VtX;
use crate::{console, lifecycle, stop};
use alloc::vec::Vec;
use exits::Stop;
use spec::Ticks;

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
    /// Whose turn it is, or was last
    last: usize,
    /// When that turn is over
    over: Ticks,
    turn: Ticks,
}

/// Runs what the plan puts on this core, for as long as the machine is up.
pub(crate) fn core(core: Core, mut vtx: VtX, machine: &'static Machine) -> ! {
    let number = core.local.index;
    // SAFETY: the policy was made from what these processors show; nothing of a guest's has been loaded here.
    let left = unsafe { hw::hygiene::adopt(core.local, &machine.hygiene) };
    if !left.is_empty() {
        crate::error!("core: {left:?} is asked for at entries or exits, and not done");
    }
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
        core,
        vtx,
        machine,
        vcpus,
        current: None,
        guest: None,
        last: 0,
        over: Ticks(0),
    };
    // Orders may have been given before we could be kicked.
    runner.core.local.note_kick();
    loop {
        if runner.core.local.take_kick() {
            runner.attend();
        }
        let now = hw::tsc::now();
        match runner.next(now) {
            Some(i) => runner.stay(i, now),
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
        if console::is_ours(self.core.local.index) && console::was_rung() {
            self.core.serve_consoles();
        }
        for i in 0..self.vcpus.len() {
            lifecycle::obey(self, i);
        }
    }

    /// Who has the core: the one whose turn it is, else the next that can be entered. A turn that is not over is given to nobody else,
    /// or a vCPU could take it from its neighbour by having itself woken.
    fn next(&mut self, now: Ticks) -> Option<usize> {
        let last = self.last;
        if now < self.over && self.vcpus.get_mut(last).is_some_and(|v| v.is_ready(now)) {
            return Some(last);
        }
        let n = self.vcpus.len();
        (1..=n)
            .map(|k| (last + k) % n)
            .find(|&i| self.vcpus[i].is_ready(now))
    }

    /// When the vCPU whose turn it is has to make room for another.
    fn limit(&mut self, now: Ticks) -> Ticks {
        let (last, over) = (self.last, self.over);
        let others = self.vcpus.iter_mut().enumerate();
        others
            .filter(|(i, _)| *i != last)
            .map(|(_, other)| {
                if other.may_be_ready(now) {
                    over
                } else {
                    other.deadline().map_or(FOREVER, |d| d.max(over))
                }
            })
            .min()
            .unwrap_or(FOREVER)
    }

    /// The core has seen what belongs to another guest than it ran last.
    pub(crate) fn soil(&mut self) {
        // Or the one whose registers are there would go on without being told apart.
        self.release();
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

    /// Whether the core holds the registers of the vCPU `i`.
    pub(crate) fn holds(&self, i: usize) -> bool {
        self.current == Some(i)
    }

    /// Gives a vCPU its turn, or the rest of it.
    fn stay(&mut self, i: usize, now: Ticks) {
        if i != self.last || now >= self.over {
            self.last = i;
            self.over = now.after(self.turn);
        }
        if let Err(stop) = self.turn_of(i) {
            lifecycle::stopped(self, i, stop);
        }
    }

    fn turn_of(&mut self, i: usize) -> Result<(), Stop> {
        self.switch_to(i)?;
        let limit = self.limit(hw::tsc::now());
        let vcpu = &mut self.vcpus[i];
        if let Some(vector) = vcpu.awaited_start_up() {
            vcpu.start_up(&self.vtx, vector).map_err(|e| {
                crate::error!("vm: {e}");
                Stop::Bug("a vCPU cannot be started up")
            })?;
        }
        match turn::run(&mut self.core, vcpu, limit) {
            Over::Later => Ok(()),
            Over::Stop(stop) => Err(stop),
        }
    }
}
