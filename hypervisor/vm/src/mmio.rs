//! Accesses to guest-physical addresses without memory: the local APIC's page, the I/O APIC's, the configuration
//! space of the PCI bus, or nothing.

use crate::interrupts::By;
use crate::{Vcpu, Vm};
use devices::lapic::Mode;
use emul::{Bus, Error, Fault, Intent, PortBus, Progress, StringPort, Translation};
use exits::{Access, Answer, Direction, Event, GpaFault, Stop, StringAccess};
use platform::layout::{ECAM, IOAPIC, LOCAL_APIC};
use seam::{GuestMem, SerialLine};
use spec::cpu::Gprs;
use spec::pci::ECAM_BUS_SIZE;
use spec::state::CpuState;
use spec::{Gpa, PAGE_SIZE, Port, Ticks, Width};

/// The privilege level of the guest's user mode.
const USER: u8 = 3;

/// What the instruction emulator sees of the machine while it carries out one instruction of one vCPU.
struct Outside<'a, M, L> {
    vm: &'a Vm<M, L>,
    vcpu: &'a mut Vcpu,
    now: Ticks,
    /// A chip wants the VM to end.
    stop: Option<Stop>,
}

impl<M: GuestMem, L: SerialLine> Outside<'_, M, L> {
    fn note(&mut self, r: Result<(), Stop>) {
        self.stop = self.stop.or(r.err());
    }
}

/// Which chip answers at an address, and the offset in its window.
enum Page {
    LocalApic(u16),
    IoApic(u16),
    PciConfig(u32),
    Nothing,
}

fn page(vcpu: &Vcpu, gpa: Gpa) -> Page {
    let offset = (gpa.0 % PAGE_SIZE) as u16;
    match gpa.align_down(PAGE_SIZE) {
        LOCAL_APIC if vcpu.lapic.mode() == Mode::XApic => Page::LocalApic(offset),
        IOAPIC => Page::IoApic(offset),
        _ => match gpa.offset_from(ECAM) {
            Some(offset) if offset < ECAM_BUS_SIZE => Page::PciConfig(offset as u32),
            _ => Page::Nothing,
        },
    }
}

impl<M: GuestMem, L: SerialLine> Bus for Outside<'_, M, L> {
    fn read(&mut self, gpa: Gpa, width: Width) -> u64 {
        match page(self.vcpu, gpa) {
            Page::LocalApic(offset) => self.vcpu.lapic.read_mmio(offset, width, self.now),
            Page::IoApic(offset) => self.vm.chips.ioapic.lock().read(offset, width),
            Page::PciConfig(offset) => self.vm.chips.pci.lock().read(offset, width),
            Page::Nothing => return width.ones(),
        }
        .unwrap_or(width.ones())
    }

    fn write(&mut self, gpa: Gpa, width: Width, value: u64) {
        match page(self.vcpu, gpa) {
            Page::LocalApic(offset) => {
                let before = self.vcpu.lapic.address();
                let Ok(effect) = self.vcpu.lapic.write_mmio(offset, width, value, self.now) else {
                    return;
                };
                if self.vcpu.lapic.address() != before {
                    self.vm.publish(self.vcpu);
                }
                let carried = self.vm.carry(self.vcpu, effect);
                self.note(carried);
            }
            Page::IoApic(offset) => {
                self.vm
                    .write_ioapic(Some(self.vcpu.index), offset, width, value)
            }
            Page::PciConfig(offset) => {
                // What is refused is dropped.
                let _ = self.vm.chips.pci.lock().write(offset, width, value);
            }
            Page::Nothing => {}
        }
    }
}

/// The ports alone, beside [`Outside`], for an instruction whose operand may be emulated too.
struct Ports<'a, M, L> {
    vm: &'a Vm<M, L>,
    by: By,
    now: Ticks,
    stop: Option<Stop>,
}

impl<M: GuestMem, L: SerialLine> PortBus for Ports<'_, M, L> {
    fn read(&mut self, port: Port, width: Width) -> u64 {
        self.vm.read_port(self.by, port, width, self.now)
    }

    fn write(&mut self, port: Port, width: Width, value: u64) {
        let done = self.vm.write_port(self.by, port, width, value, self.now);
        self.stop = self.stop.or(done.err());
    }
}

impl<M: GuestMem, L: SerialLine> Vm<M, L> {
    /// Answers an access that the nested tables did not grant.
    #[inline(never)]
    pub(crate) fn memory_fault(
        &self,
        vcpu: &mut Vcpu,
        gprs: &mut Gprs,
        fault: &GpaFault,
        now: Ticks,
    ) -> Answer {
        let Some(linear) = fault.linear else {
            // The processor itself came here: for a page-table entry, a descriptor, a stack frame of an interrupt.
            return Answer::Stop(Stop::Unsupported(
                "page table, descriptor or stack outside memory",
            ));
        };
        let intent = match fault.access {
            Access::Read => Intent::Read,
            Access::Write => Intent::Write,
            // Where nothing answers, every byte reads as 0xff, and FF FF is no instruction.
            Access::Fetch => return Answer::Inject(Event::UD),
        };
        let known = Translation {
            linear,
            gpa: fault.gpa,
            intent,
        };
        let operation = match vcpu.instructions.fetch(&fault.cpu, &self.memory) {
            Ok(operation) => operation,
            // Not the instruction that came here, for that one was fetched, and made this access.
            Err(e) => {
                let changed = match &e {
                    Error::Outside(_) => true,
                    Error::Unsupported(code) => !emul::may_access(code, &fault.cpu, gprs, linear),
                    _ => false,
                };
                if changed && vcpu.tries_afresh() {
                    return Answer::RetryAfresh;
                }
                return failed(vcpu, &fault.cpu, e);
            }
        };
        let mut outside = Outside {
            vm: self,
            vcpu,
            now,
            stop: None,
        };
        let result = emul::execute(
            &operation,
            &fault.cpu,
            gprs,
            &self.memory,
            &mut outside,
            Some(&known),
        );
        match (outside.stop, result) {
            (Some(stop), _) => Answer::Stop(stop),
            (None, Ok(done)) => Answer::Emulated {
                length: done.length,
                rflags: done.rflags,
                rsp: done.rsp,
            },
            (None, Err(e)) => failed(vcpu, &fault.cpu, e),
        }
    }

    /// Carries out an INS or OUTS.
    #[inline(never)]
    pub(crate) fn port_string(
        &self,
        vcpu: &mut Vcpu,
        gprs: &mut Gprs,
        s: &StringAccess,
        now: Ticks,
    ) -> Answer {
        let access = StringPort {
            port: s.access.port,
            width: s.access.width,
            input: s.access.direction == Direction::In,
            repeated: s.repeated,
            address_size: s.address_size,
            segment: s.segment,
        };
        let by = Some(vcpu.index);
        let mut bus = Outside {
            vm: self,
            vcpu,
            now,
            stop: None,
        };
        let mut ports = Ports {
            vm: self,
            by,
            now,
            stop: None,
        };
        let result =
            emul::run_string_port(&s.cpu, gprs, access, &self.memory, &mut bus, &mut ports);
        match (bus.stop.or(ports.stop), result) {
            (Some(stop), _) => Answer::Stop(stop),
            (None, Ok(Progress::Finished)) => Answer::Advance,
            // Not a retry: a single-step trap comes after each repetition.
            (None, Ok(Progress::More)) => Answer::Emulated {
                length: 0,
                rflags: s.cpu.rflags,
                rsp: None,
            },
            (None, Err(e)) => failed(vcpu, &s.cpu, e),
        }
    }
}

/// What becomes of an instruction that could not be emulated.
fn failed(vcpu: &mut Vcpu, cpu: &CpuState, e: Error) -> Answer {
    let stop = match e {
        Error::Inject(Fault {
            cr2: Some(address),
            error_code,
            ..
        }) => {
            return Answer::Inject(Event::PageFault {
                address,
                error_code: error_code.unwrap_or(0),
            });
        }
        Error::Inject(Fault {
            vector, error_code, ..
        }) => return Answer::Inject(Event::Exception { vector, error_code }),
        Error::Retry => return Answer::RetryAfresh,
        Error::Unsupported(_) => "instruction on emulated memory that is not emulated",
        Error::Outside(_) => "instruction or page table outside memory",
    };
    if cpu.cpl() == USER {
        // No process of the guest may end its VM. It can bring either about by itself where its kernel has mapped it
        // something that is no memory: by a vector instruction, or by a thread that changes the code meanwhile.
        return Answer::Inject(Event::UD);
    }
    vcpu.unemulated = Some(e);
    Answer::Stop(Stop::Unsupported(stop))
}
