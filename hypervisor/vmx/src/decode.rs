//! Exit reasons and qualifications into [`Exit`]. Reads the reason, and only the fields that this reason needs.

use crate::advance::is_64_bit;
use crate::{Vcpu, Vmcs};
use exits::{Access, ControlWrite, Direction, Exit, GpaFault, PortAccess, StringAccess};
use spec::cpu::{Cr0, Efer, Gpr, Gprs, Segment, vector};
use spec::exit_reason::{self as reason, ExitReason};
use spec::qualification::{CrAccess, CrAccessKind, EptViolation, IoAccess, StringIoInformation};
use spec::state::{ControlState, CpuState};
use spec::vmx_event::{EventKind, InterruptionInfo};
use spec::{Gpa, Gva, Msr, Vector, msr, vmcs};

impl Vcpu {
    /// What made the guest stop. To be called once after each exit, before anything else that touches the VMCS.
    ///
    /// `gprs` are the guest's registers at the exit. An event whose delivery the exit cut short is put back for
    /// the next entry.
    pub fn decode(&mut self, vmcs: &mut impl Vmcs, gprs: &Gprs) -> Exit {
        let exit_reason = ExitReason(vmcs.read(vmcs::EXIT_REASON) as u32);
        let basic = exit_reason.basic();
        self.delivering = false;
        self.again = false;
        self.last_rip = 0;
        if exit_reason.is_entry_failure() {
            // The event that was queued still is.
            return Exit::EntryFailed(basic);
        }
        // The entry took what was queued: it was delivered, or comes back as IDT-vectoring information.
        self.queued = None;
        self.int1 = false;
        match basic {
            reason::CPUID => Exit::Cpuid,
            reason::RDMSR => Exit::MsrRead(msr_number(gprs)),
            reason::WRMSR => match msr_number(gprs) {
                msr::EFER => Exit::EferWrite(ControlWrite {
                    value: gprs.edx_eax(),
                    old: self.control_state(vmcs),
                }),
                other => Exit::MsrWrite(other),
            },
            reason::HLT => Exit::Hlt,
            reason::IO_INSTRUCTION => self.io(vmcs),
            reason::PREEMPTION_TIMER => Exit::TimerExpired,
            reason::INTERRUPT_WINDOW => Exit::InterruptWindow,
            reason::EXTERNAL_INTERRUPT => Exit::HostInterrupt(exit_interruption(vmcs).vector()),
            reason::VIRTUALIZED_EOI => {
                Exit::VirtualizedEoi(Vector(vmcs.read(vmcs::EXIT_QUALIFICATION) as u8))
            }
            reason::APIC_WRITE => Exit::ApicWrite(apic_register(vmcs)),
            reason::EPT_VIOLATION => self.ept_violation(vmcs),
            reason::EXCEPTION_OR_NMI => self.event(vmcs),
            reason::CR_ACCESS => self.cr_access(vmcs, gprs),
            reason::VMCALL => Exit::Hypercall,
            // Hardware raises #GP for its privilege before it exits (SDM vol. 3, "Relative Priority of Faults and VM Exits").
            // Bochs 3.0 exits first, and a guest's user mode must not change its kernel's XCR0 there either.
            reason::XSETBV if privilege(vmcs) != 0 => Exit::Forbidden,
            reason::XSETBV => Exit::Xsetbv,
            reason::NMI_WINDOW => Exit::NmiWindow,
            reason::INVD | reason::WBINVD => Exit::CacheFlush,
            reason::TRIPLE_FAULT => Exit::TripleFault,
            reason::TASK_SWITCH => task_switch(vmcs),
            // RDPMC exits after its checks of privilege, so what is left is a counter that is not there: #GP.
            reason::RDPMC => Exit::Forbidden,
            // CPUID shows none of these. (CR4.VMXE and SMXE are clear in the guest's eyes, which comes before privilege.)
            reason::GETSEC
            | reason::RSM
            | reason::VMCLEAR
            | reason::VMLAUNCH
            | reason::VMPTRLD
            | reason::VMPTRST
            | reason::VMREAD
            | reason::VMRESUME
            | reason::VMWRITE
            | reason::VMXOFF
            | reason::VMXON
            | reason::INVEPT
            | reason::INVVPID
            | reason::VMFUNC
            | reason::MWAIT
            | reason::MONITOR
            | reason::ENCLS
            | reason::ENCLV
            | reason::PCONFIG
            | reason::LOADIWKEY
            | reason::SEAMCALL
            | reason::TDCALL => Exit::Undefined,
            other => Exit::Unknown(other),
        }
    }

    fn io(&self, vmcs: &impl Vmcs) -> Exit {
        let io = IoAccess(vmcs.read(vmcs::EXIT_QUALIFICATION));
        let Some(width) = io.width() else {
            return Exit::Unknown(reason::IO_INSTRUCTION);
        };
        let access = PortAccess {
            port: io.port(),
            width,
            direction: if io.is_in() {
                Direction::In
            } else {
                Direction::Out
            },
        };
        if !io.is_string() {
            return Exit::Port(access);
        }
        let information = StringIoInformation(vmcs.read(vmcs::EXIT_INSTRUCTION_INFO) as u32);
        let Some(address_size) = information.address_size() else {
            return Exit::Unknown(reason::IO_INSTRUCTION);
        };
        Exit::PortString(StringAccess {
            access,
            repeated: io.is_repeated(),
            address_size,
            // INS leaves the field undefined; two of its encodings are unused, and must not reach past the segments.
            segment: if io.is_in() {
                0
            } else {
                information.segment().min(5)
            },
            cpu: self.cpu_state(vmcs),
        })
    }

    fn ept_violation(&mut self, vmcs: &mut impl Vmcs) -> Exit {
        let violation = EptViolation::from_bits_retain(vmcs.read(vmcs::EXIT_QUALIFICATION));
        self.resume_delivery(vmcs, violation.contains(EptViolation::NMI_UNBLOCKING));
        // Only an access by the instruction at RIP may be carried out for it. One made while an event was being delivered
        // has a translated linear address too, but is the processor's own.
        let by_instruction = violation
            .contains(EptViolation::LINEAR_VALID | EptViolation::TRANSLATED)
            && !violation.contains(EptViolation::ASYNCHRONOUS)
            && self.queued.is_none();
        Exit::GpaFault(GpaFault {
            gpa: Gpa(vmcs.read(vmcs::GUEST_PHYSICAL_ADDRESS)),
            access: if violation.contains(EptViolation::FETCH) {
                Access::Fetch
            } else if violation.contains(EptViolation::WRITE) {
                Access::Write
            } else {
                Access::Read
            },
            linear: by_instruction.then(|| Gva(vmcs.read(vmcs::GUEST_LINEAR_ADDRESS))),
            present: violation.intersects(
                EptViolation::READABLE | EptViolation::WRITEABLE | EptViolation::EXECUTABLE,
            ),
            cpu: self.cpu_state(vmcs),
        })
    }

    fn event(&mut self, vmcs: &mut impl Vmcs) -> Exit {
        let info = exit_interruption(vmcs);
        if info.kind() == EventKind::Nmi {
            return Exit::HostNmi;
        }
        let vector = info.vector();
        self.int1 = info.kind() == EventKind::PrivilegedSoftwareException;
        // The bit is undefined for #DF (SDM vol. 3, "Information for VM Exits Due to Vectored Events").
        self.resume_delivery(vmcs, info.nmi_unblocking() && vector != vector::DF);
        let qualification = if matches!(vector, vector::DB | vector::PF) {
            vmcs.read(vmcs::EXIT_QUALIFICATION)
        } else {
            0
        };
        Exit::Exception {
            vector,
            error_code: info
                .has_error_code()
                .then(|| vmcs.read(vmcs::EXIT_INTERRUPTION_ERROR_CODE) as u32),
            qualification,
        }
    }

    fn cr_access(&self, vmcs: &impl Vmcs, gprs: &Gprs) -> Exit {
        let access = CrAccess(vmcs.read(vmcs::EXIT_QUALIFICATION));
        let operand = || match access.gpr() {
            Gpr::Rsp => vmcs.read(vmcs::GUEST_RSP),
            other => gprs.get(other),
        };
        let write = |value: fn(&ControlState, u64) -> u64, operand| {
            let old = self.control_state(vmcs);
            // Outside 64-bit mode the operand of MOV has 32 bits, and the rest of the register may hold anything.
            let operand = if old.cs_long {
                operand
            } else {
                operand & 0xffff_ffff
            };
            ControlWrite {
                value: value(&old, operand),
                old,
            }
        };
        match (access.kind(), access.register()) {
            (CrAccessKind::MovTo, 0) => Exit::Cr0Write(write(|_, new| new, operand())),
            (CrAccessKind::MovTo, 4) => Exit::Cr4Write(write(|_, new| new, operand())),
            (CrAccessKind::MovTo, 8) => Exit::Cr8Write(operand()),
            (CrAccessKind::MovFrom, 8) => Exit::Cr8Read(access.gpr()),
            (CrAccessKind::Clts, _) => Exit::Cr0Write(write(|old, _| old.cr0 & !Cr0::TS.bits(), 0)),
            (CrAccessKind::Lmsw, _) => Exit::Cr0Write(write(
                |old, source| {
                    // LMSW loads PE, MP, EM and TS, and cannot clear PE.
                    let loaded = (Cr0::PE | Cr0::MP | Cr0::EM | Cr0::TS).bits();
                    old.cr0 & !loaded | source & loaded | old.cr0 & Cr0::PE.bits()
                },
                u64::from(access.lmsw_source()),
            )),
            // CR3, and reads of the others, do not exit.
            _ => Exit::Unknown(reason::CR_ACCESS),
        }
    }

    fn control_state(&self, vmcs: &impl Vmcs) -> ControlState {
        let (cr0, efer) = (self.cr0(vmcs), vmcs.read(vmcs::GUEST_EFER));
        let may_activate = efer & Efer::LME.bits() != 0 && cr0 & Cr0::PG.bits() == 0;
        ControlState {
            cr0,
            cr3: vmcs.read(vmcs::GUEST_CR3),
            cr4: self.cr4(vmcs),
            efer,
            cs_long: is_64_bit(vmcs),
            bars_ia32e: may_activate && bars_ia32e(vmcs),
        }
    }

    /// The registers that carrying out an instruction needs. In 64-bit mode what segments do not take part in is left out.
    #[must_use]
    pub fn cpu_state(&self, vmcs: &impl Vmcs) -> CpuState {
        let mut cpu = CpuState {
            rip: vmcs.read(vmcs::GUEST_RIP),
            rsp: vmcs.read(vmcs::GUEST_RSP),
            rflags: vmcs.read(vmcs::GUEST_RFLAGS),
            cr0: self.cr0(vmcs),
            cr3: vmcs.read(vmcs::GUEST_CR3),
            cr4: self.cr4(vmcs),
            efer: vmcs.read(vmcs::GUEST_EFER),
            physical_bits: self.physical_bits,
            segments: [Segment::default(); 6],
        };
        let rights = |n| vmcs.read(vmcs::segment(n).rights) as u32;
        cpu.segments[CpuState::CS].rights = rights(CpuState::CS);
        cpu.segments[CpuState::SS].rights = rights(CpuState::SS);
        if cpu.is_64_bit() {
            for n in [FS, GS] {
                if let Some(segment) = cpu.segments.get_mut(n) {
                    segment.base = vmcs.read(vmcs::segment(n).base);
                }
            }
            return cpu;
        }
        for (n, segment) in cpu.segments.iter_mut().enumerate() {
            let fields = vmcs::segment(n);
            *segment = Segment {
                selector: vmcs.read(fields.selector) as u16,
                base: vmcs.read(fields.base),
                limit: vmcs.read(fields.limit) as u32,
                rights: vmcs.read(fields.rights) as u32,
            };
        }
        cpu
    }
}

/// Index of FS in [`CpuState::segments`]
const FS: usize = 4;
/// Index of GS
const GS: usize = 5;

/// Whether a segment register holds what IA-32e mode cannot have, and VM entry would refuse in it.
fn bars_ia32e(vmcs: &impl Vmcs) -> bool {
    const KIND: u64 = 0x9f;
    vmcs.read(vmcs::GUEST_CS_RIGHTS) & u64::from(Segment::LONG) != 0
        || vmcs.read(vmcs::GUEST_TR_RIGHTS) & KIND == u64::from(Segment::TSS_BUSY_16)
}

/// The current privilege level: that of the stack segment (SDM vol. 3, "Guest Register State").
fn privilege(vmcs: &impl Vmcs) -> u64 {
    vmcs.read(vmcs::GUEST_SS_RIGHTS) >> 5 & 3
}

/// A kernel that leaves its user mode the means for a task switch loses the process over it, not the VM: but only where an
/// instruction of that process asked for it. One that an interrupt or exception makes through a task gate ends the VM, since
/// #GP in its place would lose the event, and could meet the same gate for ever.
fn task_switch(vmcs: &impl Vmcs) -> Exit {
    // Bits 31:30 of the qualification: CALL, IRET, JMP, task gate in the IDT (SDM vol. 3, "Exit Qualification for Task
    // Switches").
    const IDT_GATE: u64 = 3;
    let by_instruction = vmcs.read(vmcs::EXIT_QUALIFICATION) >> 30 & 3 != IDT_GATE || {
        let event = InterruptionInfo(vmcs.read(vmcs::IDT_VECTORING_INFO) as u32);
        event.is_valid()
            && matches!(
                event.kind(),
                EventKind::SoftwareInterrupt
                    | EventKind::PrivilegedSoftwareException
                    | EventKind::SoftwareException
            )
    };
    if by_instruction && privilege(vmcs) == 3 {
        Exit::Forbidden
    } else {
        Exit::TaskSwitch
    }
}

fn msr_number(gprs: &Gprs) -> Msr {
    Msr(gprs.get(Gpr::Rcx) as u32)
}

/// The qualification holds the offset in the virtual-APIC page (SDM vol. 3, "APIC-Write VM Exits"), registers lie 16 bytes apart.
fn apic_register(vmcs: &impl Vmcs) -> u8 {
    (vmcs.read(vmcs::EXIT_QUALIFICATION) >> 4) as u8
}

fn exit_interruption(vmcs: &impl Vmcs) -> InterruptionInfo {
    InterruptionInfo(vmcs.read(vmcs::EXIT_INTERRUPTION_INFO) as u32)
}
