//! The one function that moves RIP.

use crate::Vmcs;
use spec::cpu::{Efer, Rflags, Segment};
use spec::qualification::DebugBits;
use spec::vmcs;
use spec::vmx_event::Interruptibility;

/// IA32_DEBUGCTL.BTF: single-step on branches (SDM vol. 4).
const BTF: u64 = 1 << 1;

/// Completes the instruction at RIP, which has `length` bytes, as the processor would have.
///
/// `new_flags` are the flags that the instruction leaves; `None` if it leaves them alone. A `length` of 0 says
/// that an iteration of a repeated instruction is done and more follow.
///
/// Completing clears blocking by STI and MOV SS and RFLAGS.RF, and with RFLAGS.TF set before the instruction a
/// single-step trap follows (SDM vol. 3, "Single-Step Exception Condition"). The trap is left pending rather than injected,
/// so that it merges with the data breakpoints of a MOV SS before.
pub(crate) fn advance_rip(vmcs: &mut impl Vmcs, length: u64, new_flags: Option<u64>) {
    let old_flags = vmcs.read(vmcs::GUEST_RFLAGS);
    let mut flags = new_flags.unwrap_or(old_flags);
    if length != 0 {
        let rip = vmcs.read(vmcs::GUEST_RIP);
        let mut next = rip.wrapping_add(length);
        // The mode matters only where the upper half changes; elsewhere its fields need not be read.
        if (rip ^ next) >> 32 != 0 && !is_64_bit(vmcs) {
            next &= 0xffff_ffff;
        }
        vmcs.write(vmcs::GUEST_RIP, next);

        flags &= !Rflags::RF.bits();
        let blocking =
            Interruptibility::from_bits_retain(vmcs.read(vmcs::GUEST_INTERRUPTIBILITY) as u32);
        let shadow = Interruptibility::STI | Interruptibility::MOV_SS;
        if blocking.intersects(shadow) {
            vmcs.write(
                vmcs::GUEST_INTERRUPTIBILITY,
                u64::from(blocking.difference(shadow).bits()),
            );
        }
    }
    if flags != old_flags {
        vmcs.write(vmcs::GUEST_RFLAGS, flags);
    }
    if old_flags & Rflags::TF.bits() != 0 && vmcs.read(vmcs::GUEST_DEBUGCTL) & BTF == 0 {
        let pending = vmcs.read(vmcs::GUEST_PENDING_DEBUG);
        vmcs.write(vmcs::GUEST_PENDING_DEBUG, pending | DebugBits::BS.bits());
    }
}

/// Whether the guest runs 64-bit code.
pub(crate) fn is_64_bit(vmcs: &impl Vmcs) -> bool {
    vmcs.read(vmcs::GUEST_EFER) & Efer::LMA.bits() != 0
        && vmcs.read(vmcs::GUEST_CS_RIGHTS) & u64::from(Segment::LONG) != 0
}
