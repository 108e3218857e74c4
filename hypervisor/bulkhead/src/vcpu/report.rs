//! What is told of a vCPU that has stopped its VM.

use super::Vcpu;
use crate::log::Level;
use crate::vtx::VtX;
use core::sync::atomic::Ordering;
use spec::Ticks;
use vmx::Vmcs;

/// How many instructions from RIP on are shown.
const INSTRUCTIONS: u32 = 4;

impl Vcpu {
    /// Logs what is known of a vCPU that has stopped its VM: all of it, if the VM has not had as much of the line just before. The log is
    /// for all VMs, and holds no more than a few such reports.
    pub(crate) fn report(&self, vtx: &VtX, level: Level, pause: Ticks) {
        let name = &self.guest.vm.name;
        let rip = self.vmcs.read(spec::vmcs::GUEST_RIP);
        let rsp = self.vmcs.read(spec::vmcs::GUEST_RSP);
        let gprs = &self.registers.gprs;
        crate::log::line(
            level,
            name,
            format_args!(
                "vm: vcpu={} rip={rip:#x} rsp={rsp:#x} {gprs}",
                self.software.index
            ),
        );
        let (now, last) = (hw::tsc::now(), self.guest.reported.load(Ordering::Relaxed));
        if last != 0 && now.since(Ticks(last)) < pause {
            return;
        }
        self.guest.reported.store(now.0, Ordering::Relaxed);
        if let Some(vmx) = &self.vmx {
            let cpu = vmx.cpu_state(&self.vmcs);
            for instruction in emul::listing(&self.guest.vm.memory, &cpu, INSTRUCTIONS) {
                crate::log::line(level, name, format_args!("vm: code {instruction}"));
            }
        }
        for exit in self.software.flight.last_first() {
            crate::log::line(level, name, format_args!("vm: exit {exit}"));
        }
        if let Some(e) = &self.software.unemulated {
            crate::log::line(level, name, format_args!("vm: not emulated: {e:?}"));
        }
        crate::log::line(
            level,
            name,
            format_args!("vm: {}", vmx::dump(&self.vmcs, &vtx.capabilities)),
        );
        vmx::check(
            &self.vmcs,
            &vtx.capabilities,
            hw::cpuid::address_widths(),
            &mut |failure| {
                crate::log::line(
                    level,
                    name,
                    format_args!("vm: entry rule broken: {failure}"),
                );
            },
        );
    }
}
