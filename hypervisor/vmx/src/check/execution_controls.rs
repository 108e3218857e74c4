//! SDM vol. 3, "VM-Execution Control Fields" under "Checks on VMX Controls".

use super::Checker;
use crate::Vmcs;
use spec::vmcs;
use spec::vmx_controls::{
    ExitControls, PinControls as Pin, PrimaryControls as Primary, SecondaryControls as Secondary,
};
use spec::vmx_msr::{EptVpidCap, VmxBasic};

const PAGE: u64 = 0xfff;

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "VM-Execution Control Fields";
    reserved(c);
    bitmaps(c);
    interrupts(c);
    apic(c);
    memory(c);
}

fn reserved<V: Vmcs>(c: &mut Checker<'_, V>) {
    let rule = "reserved controls must be set as the capability MSR says";
    let pin = c.capabilities.pin.allows(c.pin.bits());
    c.require(pin, vmcs::PIN_CONTROLS, rule);
    let primary = c.capabilities.primary.allows(c.primary.bits());
    c.require(primary, vmcs::PRIMARY_CONTROLS, rule);
    if c.primary.contains(Primary::SECONDARY) {
        let secondary = c.capabilities.secondary.allows(c.secondary.bits());
        c.require(secondary, vmcs::SECONDARY_CONTROLS, rule);
    }
    if c.primary.contains(Primary::TERTIARY) && c.capabilities.has_primary(Primary::TERTIARY) {
        let tertiary = c.get(vmcs::TERTIARY_CONTROLS) & !c.capabilities.tertiary == 0;
        c.require(tertiary, vmcs::TERTIARY_CONTROLS, rule);
    }
    let targets = c.get(vmcs::CR3_TARGET_COUNT) <= u64::from(c.capabilities.misc.cr3_targets());
    c.require(
        targets,
        vmcs::CR3_TARGET_COUNT,
        "there must be no more CR3 targets than IA32_VMX_MISC says",
    );
    if c.secondary.contains(Secondary::TSC_SCALING) {
        let multiplier = c.get(vmcs::TSC_MULTIPLIER) != 0;
        c.require(
            multiplier,
            vmcs::TSC_MULTIPLIER,
            "the TSC multiplier must not be 0",
        );
    }
}

fn bitmaps<V: Vmcs>(c: &mut Checker<'_, V>) {
    if c.primary.contains(Primary::IO_BITMAPS) {
        c.require_physical(vmcs::IO_BITMAP_A, PAGE);
        c.require_physical(vmcs::IO_BITMAP_B, PAGE);
    }
    if c.primary.contains(Primary::MSR_BITMAPS) {
        c.require_physical(vmcs::MSR_BITMAPS, PAGE);
    }
    if c.secondary.contains(Secondary::VMCS_SHADOWING) {
        c.require_physical(vmcs::VMREAD_BITMAP, PAGE);
        c.require_physical(vmcs::VMWRITE_BITMAP, PAGE);
    }
}

fn interrupts<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.require(
        c.pin.contains(Pin::NMI_EXITING) || !c.pin.contains(Pin::VIRTUAL_NMIS),
        vmcs::PIN_CONTROLS,
        "virtual NMIs need NMI exiting",
    );
    c.require(
        c.pin.contains(Pin::VIRTUAL_NMIS) || !c.primary.contains(Primary::NMI_WINDOW_EXITING),
        vmcs::PRIMARY_CONTROLS,
        "NMI-window exiting needs virtual NMIs",
    );
    let delivery = c.secondary.contains(Secondary::VIRTUAL_INTERRUPT_DELIVERY);
    c.require(
        !delivery || c.pin.contains(Pin::EXTERNAL_INTERRUPT_EXITING),
        vmcs::PIN_CONTROLS,
        "virtual-interrupt delivery needs external-interrupt exiting",
    );
    if c.pin.contains(Pin::POSTED_INTERRUPTS) {
        c.require(
            delivery,
            vmcs::SECONDARY_CONTROLS,
            "posted interrupts need virtual-interrupt delivery",
        );
        c.require(
            c.exit.contains(ExitControls::ACKNOWLEDGE_INTERRUPT),
            vmcs::EXIT_CONTROLS,
            "posted interrupts need acknowledge interrupt on exit",
        );
        let vector = c.get(vmcs::POSTED_INTERRUPT_VECTOR) <= 0xff;
        c.require(
            vector,
            vmcs::POSTED_INTERRUPT_VECTOR,
            "the notification vector must be at most 255",
        );
        c.require_physical(vmcs::POSTED_INTERRUPT_DESCRIPTOR, 0x3f);
    }
}

fn apic<V: Vmcs>(c: &mut Checker<'_, V>) {
    let delivery = c.secondary.contains(Secondary::VIRTUAL_INTERRUPT_DELIVERY);
    if c.primary.contains(Primary::TPR_SHADOW) {
        c.require_physical(vmcs::VIRTUAL_APIC_ADDRESS, PAGE);
        let threshold = delivery || c.get(vmcs::TPR_THRESHOLD) & !0xf == 0;
        c.require(
            threshold,
            vmcs::TPR_THRESHOLD,
            "bits 31:4 of the TPR threshold must be 0",
        );
    } else {
        c.require(
            !c.secondary.intersects(
                Secondary::VIRTUALIZE_X2APIC
                    | Secondary::APIC_REGISTER_VIRTUALIZATION
                    | Secondary::VIRTUAL_INTERRUPT_DELIVERY,
            ),
            vmcs::SECONDARY_CONTROLS,
            "APIC virtualization needs the TPR shadow",
        );
    }
    if c.secondary.contains(Secondary::VIRTUALIZE_APIC_ACCESSES) {
        c.require_physical(vmcs::APIC_ACCESS_ADDRESS, PAGE);
        c.require(
            !c.secondary.contains(Secondary::VIRTUALIZE_X2APIC),
            vmcs::SECONDARY_CONTROLS,
            "virtualize x2APIC mode and virtualize APIC accesses exclude each other",
        );
    }
}

fn memory<V: Vmcs>(c: &mut Checker<'_, V>) {
    if c.secondary.contains(Secondary::VPID) {
        let vpid = c.get(vmcs::VPID) != 0;
        c.require(vpid, vmcs::VPID, "the VPID must not be 0");
    }
    if c.secondary.contains(Secondary::EPT) {
        eptp(c);
    } else {
        c.require(
            !c.secondary.intersects(
                Secondary::UNRESTRICTED_GUEST
                    | Secondary::PML
                    | Secondary::MODE_BASED_EXECUTE
                    | Secondary::SUB_PAGE_PERMISSIONS
                    | Secondary::PT_GUEST_PHYSICAL,
            ),
            vmcs::SECONDARY_CONTROLS,
            "unrestricted guest and additions to EPT need EPT",
        );
    }
    for (control, field) in [
        (Secondary::PML, vmcs::PML_ADDRESS),
        (Secondary::EPT_VIOLATION_VE, vmcs::VE_INFORMATION_ADDRESS),
        (Secondary::SUB_PAGE_PERMISSIONS, vmcs::SPP_TABLE_POINTER),
    ] {
        if c.secondary.contains(control) {
            c.require_physical(field, PAGE);
        }
    }
}

fn eptp<V: Vmcs>(c: &mut Checker<'_, V>) {
    let eptp = c.get(vmcs::EPT_POINTER);
    let cap = c.capabilities.ept_vpid;
    let memory_type = match eptp & 7 {
        0 => cap.contains(EptVpidCap::UNCACHEABLE),
        t => t == u64::from(VmxBasic::WRITE_BACK) && cap.contains(EptVpidCap::WRITE_BACK),
    };
    c.require(
        memory_type,
        vmcs::EPT_POINTER,
        "the EPT memory type must be supported",
    );
    let walk = match (eptp >> 3) & 7 {
        3 => cap.contains(EptVpidCap::WALK_4),
        4 => cap.contains(EptVpidCap::WALK_5),
        _ => false,
    };
    c.require(
        walk,
        vmcs::EPT_POINTER,
        "the EPT page-walk length must be supported",
    );
    let accessed = eptp & (1 << 6) == 0 || cap.contains(EptVpidCap::ACCESSED_DIRTY);
    c.require(
        accessed,
        vmcs::EPT_POINTER,
        "EPT accessed and dirty flags must be supported",
    );
    let mut reserved = 0xf80;
    if cap.contains(EptVpidCap::SHADOW_STACK) {
        reserved &= !(1 << 7);
    }
    c.require(
        eptp & reserved == 0 && c.is_physical(eptp),
        vmcs::EPT_POINTER,
        "reserved bits of the EPT pointer must be 0",
    );
}
