//! What is told of a vCPU that has stopped its VM: line by line, in its own turns on its core, so that no neighbour waits for it.

use super::Vcpu;
use crate::log::{self, Level};
use crate::vtx::VtX;
use core::sync::atomic::Ordering;
use spec::Ticks;
use vmx::{Dump, Vmcs};

/// How many instructions from RIP on are shown.
const INSTRUCTIONS: usize = 4;

/// A report that is being told.
#[derive(Clone, Copy)]
pub(crate) struct Report {
    level: Level,
    part: Part,
}

/// What comes next in it.
#[derive(Clone, Copy)]
enum Part {
    /// This one of the instructions at RIP
    Code(usize),
    /// This one of the last exits
    Exit(usize),
    /// The instruction that was not emulated
    Unemulated,
    /// A field of the control structure
    Field(Dump),
    /// The rules of VM entry that the control structure breaks
    Rules,
}

impl Vcpu {
    /// Logs where a vCPU is that has stopped its VM, and has all else told in its turns, if the VM has not had as much of the line in the
    /// time `pause` before: the log is for all VMs, and holds no more than a few reports.
    pub(crate) fn report(&mut self, level: Level, pause: Ticks) {
        let rip = self.vmcs.read(spec::vmcs::GUEST_RIP);
        let rsp = self.vmcs.read(spec::vmcs::GUEST_RSP);
        let (gprs, index) = (&self.registers.gprs, self.software.index);
        let text = format_args!("vm: vcpu={index} rip={rip:#x} rsp={rsp:#x} {gprs}");
        log::line(level, &self.guest.vm.name, text);
        let (now, last) = (hw::tsc::now(), self.guest.reported.load(Ordering::Relaxed));
        if last == 0 || now.since(Ticks(last)) >= pause {
            self.guest.reported.store(now.0, Ordering::Relaxed);
            let part = Part::Code(0);
            self.report = Some(Report { level, part });
        }
    }

    /// Logs a line of the report. Its control structure is current.
    pub(crate) fn report_on(&mut self, vtx: &VtX) {
        let Some(Report { level, part }) = self.report else {
            return;
        };
        let name = &self.guest.vm.name;
        let next = match part {
            Part::Code(number) => {
                let cpu = self.vmx.as_ref().map(|vmx| vmx.cpu_state(&self.vmcs));
                let memory = &self.guest.vm.memory;
                let line =
                    cpu.and_then(|cpu| emul::listing(memory, &cpu, INSTRUCTIONS).nth(number));
                match line {
                    Some(line) => {
                        log::line(level, name, format_args!("vm: code {line}"));
                        Some(Part::Code(number.saturating_add(1)))
                    }
                    None => Some(Part::Exit(0)),
                }
            }
            Part::Exit(back) => match self.software.flight.last_first().nth(back) {
                Some(exit) => {
                    log::line(level, name, format_args!("vm: exit {exit}"));
                    Some(Part::Exit(back.saturating_add(1)))
                }
                None => Some(Part::Unemulated),
            },
            Part::Unemulated => {
                if let Some(e) = &self.software.unemulated {
                    log::line(level, name, format_args!("vm: not emulated: {e:?}"));
                }
                Some(Part::Field(Dump::default()))
            }
            Part::Field(mut dump) => match dump.next(&self.vmcs, &vtx.capabilities) {
                Some(field) => {
                    log::line(level, name, format_args!("vm: vmcs {field}"));
                    Some(Part::Field(dump))
                }
                // Only a fault of ours can break them.
                None => (level == Level::Error).then_some(Part::Rules),
            },
            Part::Rules => {
                let tell = &mut |broken: vmx::Failure| {
                    log::line(level, name, format_args!("vm: entry rule broken: {broken}"));
                };
                vmx::check(
                    &self.vmcs,
                    &vtx.capabilities,
                    hw::cpuid::address_widths(),
                    tell,
                );
                None
            }
        };
        self.report = next.map(|part| Report { level, part });
    }
}
