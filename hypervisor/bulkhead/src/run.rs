//! The loop of a core: enter the guest, take its exit, answer it.
// UNSAFETY: VM entry.
#![allow(unsafe_code)]

use crate::host::Core;
use crate::launch::Guest;
use crate::vcpu::Vcpu;
use crate::vtx::VtX;
use exits::{Exit, Stop};
use plan::bundle::Bundle;
use spec::Ticks;
use spec::cpu::vector;
use vmx::Effect;

/// Runs the plan to its end, and says how it ended.
pub(crate) fn all(
    mut core: Core,
    vtx: &mut VtX,
    bundle: &Bundle<'_>,
    entered: Ticks,
) -> &'static str {
    let handover = bundle.handover();
    let [plan] = handover.plan.vms.as_slice() else {
        crate::stop::refuse(format_args!(
            "the plan has {} VMs, and this version runs one",
            handover.plan.vms.len()
        ));
    };
    let name = plan.name.as_str();
    let mut guest = Guest::claim(vtx, plan, handover)
        .unwrap_or_else(|e| crate::stop::refuse(format_args!("vm {name}: {e}")));
    loop {
        let start = guest
            .reset(bundle)
            .unwrap_or_else(|e| crate::stop::refuse(format_args!("vm {name}: {e}")));
        let mut vcpu = Vcpu::new(vtx, &core, &guest, &start)
            .unwrap_or_else(|e| crate::stop::refuse(format_args!("vm {name}: {e}")));
        let now = hw::tsc::now();
        crate::log::line(
            crate::log::Level::Info,
            name,
            format_args!(
                "vm: start memory_mib={} rip={:#x} since_entry={}",
                plan.memory >> 20,
                start.rip,
                now.since(entered).0
            ),
        );
        let end = run(&mut core, &guest, &mut vcpu);
        let (level, why) = match end {
            Stop::PowerOff => (crate::log::Level::Info, "power-off"),
            Stop::Reset => (crate::log::Level::Info, "reset"),
            Stop::TripleFault => (crate::log::Level::Warn, "triple-fault"),
            Stop::Unsupported(_) => (crate::log::Level::Warn, "unsupported"),
            Stop::Bug(_) => (crate::log::Level::Error, "bug"),
        };
        let ran = hw::tsc::now().since(now).0;
        crate::log::line(
            level,
            name,
            format_args!(
                "vm: end reason={why} ticks={ran} {}",
                vcpu.software.statistics
            ),
        );
        if let Stop::Unsupported(what) | Stop::Bug(what) = end {
            crate::log::line(level, name, format_args!("vm: {what}"));
        }
        if level != crate::log::Level::Info {
            vcpu.report(vtx, name, level);
        }
        vcpu.end(vtx);
        match end {
            Stop::Reset => {}
            Stop::PowerOff => return "last-guest-powered-off",
            _ => return "last-guest-stopped",
        }
    }
}

/// Runs a vCPU until its VM ends.
fn run(core: &mut Core, guest: &Guest, vcpu: &mut Vcpu) -> Stop {
    let mailbox = guest.vm.mailbox(&vcpu.software);
    let mut exited = hw::tsc::now();
    loop {
        let now = hw::tsc::now();
        if !vcpu.prepare(core, mailbox, now) {
            // Nothing to do until an interrupt: of the host, or of the guest's timer.
            vcpu.software.statistics.spent(exited, now);
            core.sleep(vcpu.software.deadline());
            guest.vm.poll_serial();
            exited = hw::tsc::now();
            continue;
        }
        vcpu.software.statistics.spent(exited, now);
        // SAFETY: interrupts are off but in `sleep`; `Vcpu::new` described this core in the host-state area; tables and
        // bitmaps grant what `Guest::claim` and the policy grant.
        let entry = unsafe { hw::entry::run(&vcpu.vmcs, &mut vcpu.registers) };
        exited = hw::tsc::now();
        if let Err(e) = entry {
            crate::error!("vm: entry failed: {e}");
            return Stop::Bug("VM entry failed");
        }
        let exit = vcpu.vmx.decode(&mut vcpu.vmcs, &vcpu.registers.gprs);
        match exit {
            Exit::HostInterrupt(vector) => {
                core.serve(vector);
                guest.vm.poll_serial();
            }
            Exit::HostNmi => hw::trap::unblock_nmis(),
            Exit::Exception {
                vector: vector::MC, ..
            } => panic!("machine check while vm {} ran", guest.vm.name),
            // A guest must not keep the host's interrupts out by exits that come before theirs: of a timer that it re-arms without
            // end (SDM vol. 3, "VMX-Preemption Timer"), or of an exception whose delivery raises the next.
            Exit::TimerExpired | Exit::Exception { .. } | Exit::Forbidden => {
                core.breathe();
                guest.vm.poll_serial();
            }
            _ => {}
        }
        let answer = vm::step(
            &guest.vm,
            &mut vcpu.software,
            &mut vcpu.registers.gprs,
            &exit,
            exited,
        );
        let effect = vcpu.vmx.apply(&mut vcpu.vmcs, answer);
        if effect != Effect::None
            && let Some(stop) = vcpu.carry_out(effect)
        {
            return stop;
        }
        if let Some(field) = vcpu.vmcs.take_failure() {
            crate::error!("vm: VMREAD or VMWRITE of field {:#x} failed", field.0);
            return Stop::Bug("a VMCS field is not there");
        }
    }
}
