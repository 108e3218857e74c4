//! SDM vol. 3, "Checks on Guest Control Registers, Debug Registers, and MSRs" and "Checks on Guest RIP, RFLAGS,
//! and SSP".

use super::Checker;
use crate::Vmcs;
use spec::cpu::{Cr0, Cr4, Efer, Rflags, Segment};
use spec::vmcs;
use spec::vmx_controls::EntryControls;
use spec::vmx_event::EventKind;

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    control_registers(c);
    debug_registers(c);
    msrs(c);
    rip_and_rflags(c);
}

fn control_registers<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Guest Control Registers, Debug Registers, and MSRs";
    let cr0 = Cr0::from_bits_retain(c.get(vmcs::GUEST_CR0));
    let cr4 = Cr4::from_bits_retain(c.get(vmcs::GUEST_CR4));
    let mut fixed = c.capabilities.cr0;
    fixed.may_be_one |= (Cr0::NW | Cr0::CD).bits();
    if c.is_unrestricted() {
        fixed.must_be_one &= !(Cr0::PE | Cr0::PG).bits();
    }
    let rule = "bits that VMX operation fixes must have that value";
    c.require(fixed.allows(cr0.bits()), vmcs::GUEST_CR0, rule);
    c.require(
        !cr0.contains(Cr0::PG) || cr0.contains(Cr0::PE),
        vmcs::GUEST_CR0,
        "CR0.PG needs CR0.PE",
    );
    let cr4_fixed = c.capabilities.cr4.allows(cr4.bits());
    c.require(cr4_fixed, vmcs::GUEST_CR4, rule);
    c.require(
        !cr4.contains(Cr4::CET) || cr0.contains(Cr0::WP),
        vmcs::GUEST_CR4,
        "CR4.CET needs CR0.WP",
    );
    if c.is_ia32e() {
        c.require(
            cr0.contains(Cr0::PG),
            vmcs::GUEST_CR0,
            "an IA-32e mode guest has CR0.PG set",
        );
        c.require(
            cr4.contains(Cr4::PAE),
            vmcs::GUEST_CR4,
            "an IA-32e mode guest has CR4.PAE set",
        );
    } else {
        c.require(
            !cr4.contains(Cr4::PCIDE),
            vmcs::GUEST_CR4,
            "CR4.PCIDE needs an IA-32e mode guest",
        );
    }
    let cr3 = c.is_physical(c.get(vmcs::GUEST_CR3));
    c.require(
        cr3,
        vmcs::GUEST_CR3,
        "bits beyond the physical-address width must be 0",
    );
}

fn debug_registers<V: Vmcs>(c: &mut Checker<'_, V>) {
    if !c.entry.contains(EntryControls::LOAD_DEBUG_CONTROLS) {
        return;
    }
    // Bits 5:3 and 63:16 are reserved on every processor.
    let debugctl = c.get(vmcs::GUEST_DEBUGCTL) & !0xffc7 == 0;
    c.require(
        debugctl,
        vmcs::GUEST_DEBUGCTL,
        "reserved bits of IA32_DEBUGCTL must be 0",
    );
    let dr7 = c.get(vmcs::GUEST_DR7) >> 32 == 0;
    c.require(dr7, vmcs::GUEST_DR7, "bits 63:32 of DR7 must be 0");
}

fn msrs<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.require_canonical(vmcs::GUEST_SYSENTER_ESP);
    c.require_canonical(vmcs::GUEST_SYSENTER_EIP);
    if c.entry.contains(EntryControls::LOAD_PAT) {
        c.require_pat(vmcs::GUEST_PAT);
    }
    if c.entry.contains(EntryControls::LOAD_EFER) {
        let efer = Efer::from_bits_retain(c.get(vmcs::GUEST_EFER));
        c.require(
            Efer::all().contains(efer),
            vmcs::GUEST_EFER,
            "reserved bits of IA32_EFER must be 0",
        );
        let active = efer.contains(Efer::LMA);
        c.require(
            active == c.is_ia32e(),
            vmcs::GUEST_EFER,
            "LMA must equal the IA-32e mode guest control",
        );
        let paging = c.get(vmcs::GUEST_CR0) & Cr0::PG.bits() != 0;
        c.require(
            !paging || efer.contains(Efer::LME) == active,
            vmcs::GUEST_EFER,
            "with CR0.PG set LMA must equal LME",
        );
    }
}

fn rip_and_rflags<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Guest RIP, RFLAGS, and SSP";
    let rip = c.get(vmcs::GUEST_RIP);
    let long = c.get(vmcs::GUEST_CS_RIGHTS) & u64::from(Segment::LONG) != 0;
    if c.is_ia32e() && long {
        // Bits from the linear-address width on must be alike: the address just past the lower half is allowed.
        let upper = (rip as i64) >> c.widths.linear.clamp(1, 63);
        c.require(
            upper == 0 || upper == -1,
            vmcs::GUEST_RIP,
            "bits beyond the linear-address width must be alike",
        );
    } else {
        c.require(
            rip >> 32 == 0,
            vmcs::GUEST_RIP,
            "bits 63:32 must be 0 outside 64-bit mode",
        );
    }

    let rflags = c.get(vmcs::GUEST_RFLAGS);
    let flags = Rflags::from_bits_retain(rflags);
    // Bits 63:22, 15, 5 and 3 are reserved.
    c.require(
        rflags & !0x3f_7fd7 == 0 && flags.contains(Rflags::FIXED),
        vmcs::GUEST_RFLAGS,
        "reserved bits must be 0, and bit 1 set",
    );
    let protected = c.get(vmcs::GUEST_CR0) & Cr0::PE.bits() != 0;
    c.require(
        !flags.contains(Rflags::VM) || protected && !c.is_ia32e(),
        vmcs::GUEST_RFLAGS,
        "virtual-8086 mode needs protected mode outside IA-32e mode",
    );
    let interrupt = c
        .event
        .is_some_and(|e| e.kind() == EventKind::ExternalInterrupt);
    c.require(
        !interrupt || flags.contains(Rflags::IF),
        vmcs::GUEST_RFLAGS,
        "injecting an external interrupt needs RFLAGS.IF",
    );
}
