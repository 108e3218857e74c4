//! Writes to control registers: judged by `platform`, remembered where CPUID shows them.

use crate::{Policy, Vcpu, Vm, pdptes};
use exits::{Answer, ControlWrite, Event, SystemWrite};
use platform::control::{self as rules, GeneralProtection};
use seam::GuestMem;
use spec::cpu::{Cr4, Gpr, Gprs};

/// A judged write, or #GP(0).
fn judged(value: Result<u64, GeneralProtection>, write: fn(u64) -> SystemWrite) -> Answer {
    match value {
        Ok(value) => Answer::Write(write(value)),
        Err(GeneralProtection) => Answer::Inject(Event::GP0),
    }
}

pub(crate) fn cr0<M: GuestMem, L>(vm: &Vm<M, L>, vcpu: &mut Vcpu, w: &ControlWrite) -> Answer {
    let value = rules::check_cr0(&w.old, w.value);
    if let Ok(value) = value
        && let Err(refused) = pdptes::load(vm, vcpu, &w.old, value, w.old.cr4)
    {
        return refused;
    }
    judged(value, SystemWrite::Cr0)
}

pub(crate) fn cr4<M: GuestMem, L>(vm: &Vm<M, L>, vcpu: &mut Vcpu, w: &ControlWrite) -> Answer {
    let value = rules::check_cr4(&w.old, w.value, vm.policy.cpuid.cr4());
    if let Ok(value) = value {
        if let Err(refused) = pdptes::load(vm, vcpu, &w.old, w.old.cr0, value) {
            return refused;
        }
        vcpu.osxsave = value & Cr4::OSXSAVE.bits() != 0;
    }
    judged(value, SystemWrite::Cr4)
}

pub(crate) fn efer(policy: &Policy, w: &ControlWrite) -> Answer {
    judged(
        rules::check_efer(&w.old, w.value, policy.cpuid.efer()),
        SystemWrite::Efer,
    )
}

/// XSETBV: privilege and CR4.OSXSAVE have been judged by hardware, the register number and value have not.
pub(crate) fn xsetbv(vcpu: &mut Vcpu, policy: &Policy, gprs: &Gprs) -> Answer {
    if gprs.get(Gpr::Rcx) as u32 != 0 {
        return Answer::Inject(Event::GP0);
    }
    let value = rules::check_xcr0(gprs.edx_eax(), policy.cpuid.xcr0());
    if let Ok(value) = value {
        vcpu.xcr0 = value;
    }
    judged(value, SystemWrite::Xcr0)
}
