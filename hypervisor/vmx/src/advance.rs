//! The one function that moves RIP.

use crate::Vmcs;
use spec::cpu::{Efer, Rflags, Segment};
use spec::qualification::DebugBits;
use spec::vmcs;
use spec::vmx_event::Interruptibility;

/// IA32_DEBUGCTL.BTF: single-step on branches (SDM vol. 4).
const BTF: u64 = 1 << 1;

/// An instruction that is done.
pub(crate) struct Completed {
    /// Where it is; zero if RIP did not move
    pub(crate) rip: u64,
    /// A single-step trap follows it
    pub(crate) stepping: bool,
}

/// Completes the instruction at RIP, which has `length` bytes, as the processor would have.
///
/// `new_flags` are the flags that the instruction leaves; `None` if it leaves them alone. A `length` of 0 says
/// that an iteration of a repeated instruction is done and more follow.
///
/// Completing clears RFLAGS.RF. That or an iteration clears blocking by STI and MOV SS, for a long string leaves "the interrupt response
/// time of the system" as it is (SDM vol. 2, "REP/REPE/REPZ/REPNE/REPNZ"), and with RFLAGS.TF set before a
/// single-step trap follows (SDM vol. 3, "Single-Step Exception Condition"). The trap is left pending rather than injected,
/// so that it merges with the data breakpoints of a MOV SS before.
pub(crate) fn advance_rip(vmcs: &mut impl Vmcs, length: u64, new_flags: Option<u64>) -> Completed {
    let mut rip = 0;
    let old_flags = vmcs.read(vmcs::GUEST_RFLAGS);
    let mut flags = new_flags.unwrap_or(old_flags);
    if length != 0 {
        rip = vmcs.read(vmcs::GUEST_RIP);
        let mut next = rip.wrapping_add(length);
        // The mode matters only where the upper half changes; elsewhere its fields need not be read.
        if (rip ^ next) >> 32 != 0 && !is_64_bit(vmcs) {
            next &= 0xffff_ffff;
        }
        vmcs.write(vmcs::GUEST_RIP, next);

        flags &= !Rflags::RF.bits();
    }
    let blocking =
        Interruptibility::from_bits_retain(vmcs.read(vmcs::GUEST_INTERRUPTIBILITY) as u32);
    let shadow = Interruptibility::STI | Interruptibility::MOV_SS;
    if blocking.intersects(shadow) {
        vmcs.write(
            vmcs::GUEST_INTERRUPTIBILITY,
            u64::from(blocking.difference(shadow).bits()),
        );
    }
    if flags != old_flags {
        vmcs.write(vmcs::GUEST_RFLAGS, flags);
    }
    let stepping = old_flags & Rflags::TF.bits() != 0 && vmcs.read(vmcs::GUEST_DEBUGCTL) & BTF == 0;
    if stepping {
        let pending = vmcs.read(vmcs::GUEST_PENDING_DEBUG);
        vmcs.write(vmcs::GUEST_PENDING_DEBUG, pending | DebugBits::BS.bits());
    }
    Completed { rip, stepping }
}

/// Whether the guest runs 64-bit code.
pub(crate) fn is_64_bit(vmcs: &impl Vmcs) -> bool {
    vmcs.read(vmcs::GUEST_EFER) & Efer::LMA.bits() != 0
        && vmcs.read(vmcs::GUEST_CS_RIGHTS) & u64::from(Segment::LONG) != 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fake::MapVmcs;
    use crate::fixture;
    use proptest::prelude::*;

    const SHADOW: u64 = 0b11;
    const NMI_BLOCKED: u64 = 1 << 3;

    fn at(mut vmcs: MapVmcs, rip: u64, rflags: u64) -> MapVmcs {
        vmcs.set(vmcs::GUEST_RIP, rip);
        vmcs.set(vmcs::GUEST_RFLAGS, rflags);
        vmcs
    }

    #[test]
    fn a_plain_instruction_costs_three_reads_and_one_write() {
        let mut vmcs = at(fixture::long().0, 0xffff_ffff_8100_0000, 0x202);
        assert!(!advance_rip(&mut vmcs, 2, None).stepping);
        assert_eq!(vmcs.take_counts(), (3, 1));
        assert_eq!(vmcs.get(vmcs::GUEST_RIP), 0xffff_ffff_8100_0002);
    }

    #[test]
    fn the_shadow_of_sti_and_mov_ss_ends_and_other_blocking_stays() {
        for shadow in [1, 2] {
            let mut vmcs = at(fixture::long().0, 0x1000, 0x202);
            vmcs.set(vmcs::GUEST_INTERRUPTIBILITY, shadow | NMI_BLOCKED);
            advance_rip(&mut vmcs, 1, None);
            assert_eq!(vmcs.get(vmcs::GUEST_INTERRUPTIBILITY), NMI_BLOCKED);
        }
    }

    #[test]
    fn a_single_step_trap_merges_with_what_is_pending() {
        let mut vmcs = at(fixture::long().0, 0x1000, 0x102);
        vmcs.set(vmcs::GUEST_PENDING_DEBUG, 0x1001);
        assert!(advance_rip(&mut vmcs, 3, None).stepping);
        assert_eq!(vmcs.get(vmcs::GUEST_PENDING_DEBUG), 0x5001);
    }

    #[test]
    fn stepping_on_branches_raises_no_trap() {
        let mut vmcs = at(fixture::long().0, 0x1000, 0x102);
        vmcs.set(vmcs::GUEST_DEBUGCTL, BTF);
        assert!(!advance_rip(&mut vmcs, 3, None).stepping);
        assert_eq!(vmcs.get(vmcs::GUEST_PENDING_DEBUG), 0);
    }

    #[test]
    fn the_trap_follows_the_flags_before_the_instruction() {
        let mut vmcs = at(fixture::long().0, 0x1000, 0x002);
        assert!(
            !advance_rip(&mut vmcs, 1, Some(0x102)).stepping,
            "POPF that sets TF"
        );
        let mut vmcs = at(fixture::long().0, 0x1000, 0x102);
        assert!(
            advance_rip(&mut vmcs, 1, Some(0x002)).stepping,
            "POPF that clears TF"
        );
        assert_eq!(vmcs.get(vmcs::GUEST_RFLAGS), 0x002);
    }

    #[test]
    fn an_iteration_of_rep_leaves_rip_and_ends_the_shadow() {
        let mut vmcs = at(fixture::long().0, 0x1000, 0x1_0302);
        vmcs.set(vmcs::GUEST_INTERRUPTIBILITY, 1);
        let done = advance_rip(&mut vmcs, 0, Some(0x1_0702));
        assert!(done.stepping);
        assert_eq!(done.rip, 0);
        assert_eq!(vmcs.get(vmcs::GUEST_RIP), 0x1000);
        assert_eq!(vmcs.get(vmcs::GUEST_RFLAGS), 0x1_0702);
        assert_eq!(vmcs.get(vmcs::GUEST_INTERRUPTIBILITY), 0);
        assert_eq!(vmcs.get(vmcs::GUEST_PENDING_DEBUG), 1 << 14);
    }

    #[test]
    fn rip_wraps_at_4_gib_outside_64_bit_mode_only() {
        let mut vmcs = at(fixture::real().0, 0xffff_ffff, 2);
        advance_rip(&mut vmcs, 2, None);
        assert_eq!(vmcs.get(vmcs::GUEST_RIP), 1);

        let mut vmcs = at(fixture::long().0, 0xffff_ffff, 2);
        advance_rip(&mut vmcs, 2, None);
        assert_eq!(vmcs.get(vmcs::GUEST_RIP), 0x1_0000_0001);

        // Compatibility mode: IA-32e mode, and code that is not 64-bit.
        let mut vmcs = at(fixture::long().0, 0xffff_ffff, 2);
        vmcs.set(vmcs::GUEST_CS_RIGHTS, 0xc09b);
        advance_rip(&mut vmcs, 2, None);
        assert_eq!(vmcs.get(vmcs::GUEST_RIP), 1);
    }

    proptest! {
        #[test]
        fn every_completed_instruction_leaves_a_state_that_may_be_entered(
            long in any::<bool>(),
            rip in any::<u64>(),
            length in 1_u64..=15,
            flags in any::<u64>(),
            blocking in 0_u64..16,
        ) {
            let (vmcs, _) = if long { fixture::long() } else { fixture::real() };
            let rip = if long { rip } else { rip & 0xffff_ffff };
            let mut vmcs = at(vmcs, rip, flags);
            vmcs.set(vmcs::GUEST_INTERRUPTIBILITY, blocking);
            let Completed { rip: from, stepping: trap } = advance_rip(&mut vmcs, length, None);
            prop_assert_eq!(from, rip);

            let expected = rip.wrapping_add(length);
            let expected = if long { expected } else { expected & 0xffff_ffff };
            prop_assert_eq!(vmcs.get(vmcs::GUEST_RIP), expected);
            prop_assert_eq!(vmcs.get(vmcs::GUEST_INTERRUPTIBILITY), blocking & !SHADOW);
            prop_assert_eq!(vmcs.get(vmcs::GUEST_RFLAGS), flags & !Rflags::RF.bits());
            prop_assert_eq!(trap, flags & Rflags::TF.bits() != 0);
            prop_assert_eq!(vmcs.get(vmcs::GUEST_PENDING_DEBUG), u64::from(trap) << 14);
        }
    }
}
