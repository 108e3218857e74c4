//! What is told of a vCPU that has stopped its VM.

use super::Vcpu;
use crate::log::Level;
use crate::vtx::VtX;
use vmx::Vmcs;

/// How many instructions from RIP on are shown.
const INSTRUCTIONS: u32 = 4;

impl Vcpu {
    /// Logs all that is known of a vCPU whose VM it has stopped.
    pub(crate) fn report(&self, vtx: &VtX, level: Level) {
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
