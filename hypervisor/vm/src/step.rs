//! One exit in, one answer out.

use crate::interrupts::{already_done, done};
use crate::{Vcpu, Vm, control};
use devices::lapic::Mode;
use exits::{Answer, Event, Exit, Stop, SystemWrite};
use seam::{GuestMem, SerialLine};
use spec::cpu::{Gpr, Gprs, vector};
use spec::{Ticks, Vector};

/// Decides what becomes of a vCPU after an exit. `now` is the host's TSC, read once per exit.
///
/// General registers are changed in place, `gprs` and `vcpu` being the vCPU's own; all else is said in the answer. A guest cannot
/// make this panic, nor take longer than a bounded time.
#[inline]
pub fn step<M: GuestMem, L: SerialLine>(
    vm: &Vm<M, L>,
    vcpu: &mut Vcpu,
    gprs: &mut Gprs,
    exit: &Exit,
    now: Ticks,
) -> Answer {
    match exit {
        Exit::Cpuid => cpuid(vm, vcpu, gprs),
        Exit::MsrWrite(msr) => vm.write_msr(vcpu, gprs, *msr, now),
        Exit::MsrRead(msr) => vm.read_msr(vcpu, gprs, *msr, now),
        Exit::Port(access) => done(vm.port(vcpu, access, gprs, now)),
        Exit::GpaFault(fault) => vm.memory_fault(vcpu, gprs, fault, now),
        Exit::PortString(access) => vm.port_string(vcpu, gprs, access, now),
        Exit::Hlt => Answer::Halt,
        // The core's loop looks for what to deliver before each entry.
        Exit::InterruptWindow
        | Exit::NmiWindow
        | Exit::TimerExpired
        | Exit::HostInterrupt(_)
        | Exit::HostNmi => Answer::Retry,
        Exit::Cr0Write(w) => control::cr0(vm, vcpu, w),
        Exit::Cr4Write(w) => control::cr4(vm, vcpu, w),
        Exit::EferWrite(w) => control::efer(&vm.policy, w),
        Exit::Xsetbv => control::xsetbv(vcpu, &vm.policy, gprs),
        Exit::Cr8Read(Gpr::Rsp) => Answer::Write(SystemWrite::Rsp(vcpu.lapic.cr8().into())),
        Exit::Cr8Read(to) => {
            gprs.set(*to, vcpu.lapic.cr8().into());
            Answer::Advance
        }
        Exit::Cr8Write(value) if *value > 15 => Answer::Inject(Event::GP0),
        Exit::Cr8Write(value) => {
            vcpu.lapic.set_cr8(*value as u8);
            Answer::Advance
        }
        Exit::CacheFlush => Answer::Advance,
        // There are no hypercalls: to a guest, as on hardware, the instruction does not exist.
        Exit::Undefined | Exit::Hypercall => Answer::Inject(Event::UD),
        Exit::Forbidden => Answer::Inject(Event::GP0),
        Exit::Exception {
            vector,
            error_code,
            qualification,
        } => Answer::Inject(reflected(*vector, *error_code, *qualification)),
        Exit::VirtualizedEoi(vector) => {
            let effect = vcpu.lapic.end_virtualized(*vector);
            already_done(vm.carry(vcpu, effect))
        }
        Exit::ApicWrite(register) => {
            let effect = vcpu.lapic.apic_write(*register);
            already_done(vm.carry(vcpu, effect))
        }
        Exit::TripleFault => Answer::Stop(Stop::TripleFault),
        Exit::TaskSwitch => Answer::Stop(Stop::Unsupported("hardware task switch")),
        Exit::EntryFailed(_) => Answer::Stop(Stop::Bug("VM entry refused the guest state")),
        Exit::Unknown(_) => Answer::Stop(Stop::Bug("exit for a reason that was not asked for")),
    }
}

/// The guest's own exception, as the processor would have delivered it.
fn reflected(vector: Vector, error_code: Option<u32>, qualification: u64) -> Event {
    match vector {
        vector::DB => Event::Debug { dr6: qualification },
        vector::PF => Event::PageFault {
            address: qualification,
            error_code: error_code.unwrap_or(0),
        },
        vector => Event::Exception { vector, error_code },
    }
}

#[inline]
fn cpuid<M, L>(vm: &Vm<M, L>, vcpu: &Vcpu, gprs: &mut Gprs) -> Answer {
    let shown = vm.policy.cpuid.lookup(
        gprs.get(Gpr::Rax) as u32,
        gprs.get(Gpr::Rcx) as u32,
        platform::cpuid::Dynamic {
            apic_id: vcpu.index,
            apic_enabled: vcpu.lapic.mode() != Mode::Disabled,
            osxsave: vcpu.osxsave,
            xcr0: vcpu.xcr0,
        },
    );
    for (r, v) in [Gpr::Rax, Gpr::Rbx, Gpr::Rcx, Gpr::Rdx]
        .into_iter()
        .zip(shown)
    {
        gprs.set(r, v.into());
    }
    Answer::Advance
}
