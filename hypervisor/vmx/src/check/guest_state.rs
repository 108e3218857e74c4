//! SDM vol. 3, "Checks on Guest Non-Register State" and "Checks on Guest Page-Directory-Pointer-Table Entries".

use super::Checker;
use crate::Vmcs;
use spec::cpu::{Cr0, Cr4, Rflags, vector};
use spec::qualification::DebugBits;
use spec::vmcs;
use spec::vmx_controls::{PinControls, SecondaryControls};
use spec::vmx_event::{EventKind, Interruptibility, activity};

/// IA32_DEBUGCTL.BTF
const BTF: u64 = 1 << 1;

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Guest Non-Register State";
    let blocking = Interruptibility::from_bits_retain(c.get(vmcs::GUEST_INTERRUPTIBILITY) as u32);
    let shadow = blocking.intersects(Interruptibility::STI | Interruptibility::MOV_SS);
    check_activity(c, shadow);
    check_interruptibility(c, blocking);
    check_pending_debug(c, blocking, shadow);
    if c.get(vmcs::VMCS_LINK_POINTER) != u64::MAX {
        c.require_physical(vmcs::VMCS_LINK_POINTER, 0xfff);
    }
    check_pdptes(c);
}

fn check_activity<V: Vmcs>(c: &mut Checker<'_, V>, shadow: bool) {
    let state = c.get(vmcs::GUEST_ACTIVITY) as u32;
    let supported = c.capabilities.misc.supports_activity(state);
    c.require(
        supported,
        vmcs::GUEST_ACTIVITY,
        "the activity state must be supported",
    );
    let privileged = (c.get(vmcs::GUEST_SS_RIGHTS) >> 5) & 3 == 0;
    c.require(
        state != activity::HLT || privileged,
        vmcs::GUEST_ACTIVITY,
        "a halted guest has DPL of SS 0",
    );
    c.require(
        state == activity::ACTIVE || !shadow,
        vmcs::GUEST_ACTIVITY,
        "with blocking by STI or MOV SS the guest must be active",
    );
    if let Some(event) = c.event {
        let (kind, v) = (event.kind(), event.vector());
        let machine_check = kind == EventKind::HardwareException && v == vector::MC;
        let fits = match state {
            activity::ACTIVE => true,
            activity::HLT => {
                matches!(
                    kind,
                    EventKind::ExternalInterrupt | EventKind::Nmi | EventKind::Other
                ) || kind == EventKind::HardwareException && v == vector::DB
                    || machine_check
            }
            activity::SHUTDOWN => kind == EventKind::Nmi || machine_check,
            _ => false,
        };
        c.require(
            fits,
            vmcs::GUEST_ACTIVITY,
            "the event must be one that ends the activity state",
        );
    }
}

fn check_interruptibility<V: Vmcs>(c: &mut Checker<'_, V>, blocking: Interruptibility) {
    const FIELD: vmcs::Field = vmcs::GUEST_INTERRUPTIBILITY;
    c.require(blocking.bits() & !0x1f == 0, FIELD, "bits 31:5 must be 0");
    let sti = blocking.contains(Interruptibility::STI);
    let mov_ss = blocking.contains(Interruptibility::MOV_SS);
    c.require(
        !(sti && mov_ss),
        FIELD,
        "blocking by STI and by MOV SS exclude each other",
    );
    let interrupts = c.get(vmcs::GUEST_RFLAGS) & Rflags::IF.bits() != 0;
    c.require(!sti || interrupts, FIELD, "blocking by STI needs RFLAGS.IF");
    let kind = c.event.map(|e| e.kind());
    c.require(
        kind != Some(EventKind::ExternalInterrupt) || !sti && !mov_ss,
        FIELD,
        "an external interrupt is not injected while STI or MOV SS blocks it",
    );
    // Blocking by STI is one that only some processors refuse; none must meet it.
    c.require(
        kind != Some(EventKind::Nmi) || !sti && !mov_ss,
        FIELD,
        "an NMI is not injected while MOV SS (on some processors STI) blocks it",
    );
    c.require(
        !blocking.contains(Interruptibility::SMI),
        FIELD,
        "outside SMM there is no blocking by SMI",
    );
    c.require(
        !(kind == Some(EventKind::Nmi)
            && c.pin.contains(PinControls::VIRTUAL_NMIS)
            && blocking.contains(Interruptibility::NMI)),
        FIELD,
        "a virtual NMI is not injected while NMIs are blocked",
    );
    c.require(
        !blocking.contains(Interruptibility::ENCLAVE) || !mov_ss,
        FIELD,
        "an enclave interruption and blocking by MOV SS exclude each other",
    );
}

fn check_pending_debug<V: Vmcs>(c: &mut Checker<'_, V>, blocking: Interruptibility, shadow: bool) {
    const FIELD: vmcs::Field = vmcs::GUEST_PENDING_DEBUG;
    let pending = DebugBits::from_bits_retain(c.get(FIELD));
    let defined = DebugBits::all().difference(DebugBits::BD);
    c.require(defined.contains(pending), FIELD, "reserved bits must be 0");
    if shadow || c.get(vmcs::GUEST_ACTIVITY) as u32 == activity::HLT {
        let stepping = c.get(vmcs::GUEST_RFLAGS) & Rflags::TF.bits() != 0
            && c.get(vmcs::GUEST_DEBUGCTL) & BTF == 0;
        c.require(
            pending.contains(DebugBits::BS) == stepping,
            FIELD,
            "while blocked or halted, BS must be set exactly if the guest single-steps",
        );
    }
    if pending.contains(DebugBits::RTM) {
        c.require(
            pending == DebugBits::RTM | DebugBits::ENABLED_BREAKPOINT
                && !blocking.contains(Interruptibility::MOV_SS),
            FIELD,
            "RTM goes with the enabled breakpoint alone, and not with blocking by MOV SS",
        );
    }
}

fn check_pdptes<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Guest Page-Directory-Pointer-Table Entries";
    let used = c.get(vmcs::GUEST_CR0) & Cr0::PG.bits() != 0
        && c.get(vmcs::GUEST_CR4) & Cr4::PAE.bits() != 0
        && !c.is_ia32e()
        && c.secondary.contains(SecondaryControls::EPT);
    if !used {
        return;
    }
    for field in [
        vmcs::GUEST_PDPTE0,
        vmcs::GUEST_PDPTE1,
        vmcs::GUEST_PDPTE2,
        vmcs::GUEST_PDPTE3,
    ] {
        let entry = c.get(field);
        // Bits 2:1 and 8:5, and those beyond the physical-address width, are reserved in a present entry.
        let valid = entry & 1 == 0 || entry & 0x1e6 == 0 && c.is_physical(entry);
        c.require(valid, field, "reserved bits of a present entry must be 0");
    }
}
