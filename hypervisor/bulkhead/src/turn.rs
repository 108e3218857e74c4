//! A vCPU's turn on its core: enter the guest, take its exit, answer it.
// UNSAFETY: VM entry.
#![allow(unsafe_code)]

use crate::host::Core;
use crate::stop;
use crate::vcpu::Vcpu;
use exits::{Exit, Stop};
use hw::entry::Outcome;
use plan::Exits;
use spec::Ticks;
use spec::cpu::vector;
use vm::Kind;
use vmx::Effect;

/// Why a turn is over.
pub(crate) enum Over {
    /// The vCPU sleeps, waits for its start-up, or has to make room; or the core was kicked
    Later,
    /// Its VM ends
    Stop(Stop),
}

/// Runs a vCPU, whose registers the core holds, until `limit` at the latest.
///
/// What every exit goes through is in this one function, out of line, so that its few variables stay in registers.
#[inline(never)]
pub(crate) fn run(core: &mut Core, vcpu: &mut Vcpu, limit: Ticks) -> Over {
    let guest = vcpu.guest;
    let mailbox = guest.vm.mailbox(&vcpu.software);
    let statistics = guest.vm.statistics(&vcpu.software);
    let mut now = hw::tsc::now();
    loop {
        if !vcpu.prepare(core, mailbox, now, limit) {
            return Over::Later;
        }
        // SAFETY: interrupts are off but in `sleep`; `Vcpu::new` or `attach` described this core in the host-state area; tables and
        // bitmaps grant what `Guest::claim` and the policy grant.
        match unsafe { hw::entry::run(&vcpu.vmcs, &mut vcpu.registers) } {
            Ok(Outcome::Exited) => {}
            Ok(Outcome::Kicked) => return Over::Later,
            Err(e) => {
                crate::error!("vm: entry failed: {e}");
                return Over::Stop(Stop::Bug("VM entry failed"));
            }
        }
        let exited = hw::tsc::now();
        let Some(vmx) = vcpu.vmx.as_mut() else {
            return Over::Later;
        };
        let exit = vmx.decode(&mut vcpu.vmcs, &vcpu.registers.gprs);
        let kind = Kind::of(&exit);
        // First, so that an interrupt that the exit has taken is ended whatever comes of the rest.
        let leave = concerns_host(&exit) && serve_host(core, &exit, exited, limit);
        #[cfg(feature = "planted")]
        crate::planted::fail(guest, vcpu.software.index);
        let answer = vm::step(
            &guest.vm,
            &mut vcpu.software,
            &mut vcpu.registers.gprs,
            &exit,
            exited,
        );
        let effect = vmx.apply(&mut vcpu.vmcs, answer);
        let software = &mut vcpu.software;
        software.flight.record(exited, kind, &exit, vmx.last_rip());
        // A write to a local APIC that the processor carries exits behind its instruction.
        if vmx.tries_again() && kind != Kind::ApicWrite && software.is_stuck(kind) {
            return Over::Stop(Stop::ExitLoop);
        }
        if effect != Effect::None
            && let Some(stop) = vcpu.carry_out(effect)
        {
            return Over::Stop(stop);
        }
        if let Some(field) = vcpu.vmcs.take_failure() {
            crate::error!("vm: VMREAD or VMWRITE of field {:#x} failed", field.0);
            return Over::Stop(Stop::Bug("a VMCS field is not there"));
        }
        if guest.plan.exits != Exits::Any {
            vcpu.visible()
                .breach((guest, vcpu.software.index), kind, exited);
        }
        now = hw::tsc::now();
        statistics.record(kind, exited, now);
        if leave {
            return Over::Later;
        }
    }
}

#[inline]
const fn concerns_host(exit: &Exit) -> bool {
    matches!(
        exit,
        Exit::HostInterrupt(_)
            | Exit::HostNmi
            | Exit::TimerExpired
            | Exit::Exception { .. }
            | Exit::Forbidden
    )
}

/// Does the host's part of an exit; says if the turn is over.
#[cold]
#[inline(never)]
fn serve_host(core: &mut Core, exit: &Exit, now: Ticks, limit: Ticks) -> bool {
    match exit {
        Exit::HostInterrupt(vector) => core.serve(*vector),
        // A kick, which the next entry would find too.
        Exit::HostNmi => {
            core.local.note_kick();
            hw::trap::unblock_nmis();
            return true;
        }
        // What it has harmed may be anybody's.
        Exit::Exception {
            vector: vector::MC, ..
        } => stop::die(&"machine check while a guest ran"),
        // A guest must not keep the host's interrupts out by exits that come before theirs: of a timer that it re-arms without
        // end (SDM vol. 3, "VMX-Preemption Timer"), or of an exception whose delivery raises the next.
        Exit::TimerExpired | Exit::Exception { .. } | Exit::Forbidden => core.breathe(),
        _ => {}
    }
    now >= limit || core.local.is_kicked()
}
