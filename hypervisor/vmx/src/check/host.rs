//! SDM vol. 3, "Checks on Host Control Registers, MSRs, and SSP", "Checks on Host Segment and Descriptor-Table
//! Registers" and "Checks Related to Address-Space Size".

use super::Checker;
use crate::Vmcs;
use spec::cpu::{Cr4, Efer};
use spec::vmcs;
use spec::vmx_controls::ExitControls;

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    registers(c);
    segments(c);
    address_space(c);
}

fn registers<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Host Control Registers, MSRs, and SSP";
    let cr0 = c.capabilities.cr0.allows(c.get(vmcs::HOST_CR0));
    c.require(
        cr0,
        vmcs::HOST_CR0,
        "bits that VMX operation fixes must have that value",
    );
    let cr4 = c.capabilities.cr4.allows(c.get(vmcs::HOST_CR4));
    c.require(
        cr4,
        vmcs::HOST_CR4,
        "bits that VMX operation fixes must have that value",
    );
    let cr3 = c.is_physical(c.get(vmcs::HOST_CR3));
    c.require(
        cr3,
        vmcs::HOST_CR3,
        "bits beyond the physical-address width must be 0",
    );
    c.require_canonical(vmcs::HOST_SYSENTER_ESP);
    c.require_canonical(vmcs::HOST_SYSENTER_EIP);
    if c.exit.contains(ExitControls::LOAD_PAT) {
        c.require_pat(vmcs::HOST_PAT);
    }
    if c.exit.contains(ExitControls::LOAD_EFER) {
        let efer = Efer::from_bits_retain(c.get(vmcs::HOST_EFER));
        c.require(
            Efer::all().contains(efer),
            vmcs::HOST_EFER,
            "reserved bits of IA32_EFER must be 0",
        );
        let long = c.exit.contains(ExitControls::HOST_64_BIT);
        c.require(
            efer.contains(Efer::LMA) == long && efer.contains(Efer::LME) == long,
            vmcs::HOST_EFER,
            "LMA and LME must equal the host address-space size",
        );
    }
}

fn segments<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks on Host Segment and Descriptor-Table Registers";
    for field in [
        vmcs::HOST_ES_SELECTOR,
        vmcs::HOST_CS_SELECTOR,
        vmcs::HOST_SS_SELECTOR,
        vmcs::HOST_DS_SELECTOR,
        vmcs::HOST_FS_SELECTOR,
        vmcs::HOST_GS_SELECTOR,
        vmcs::HOST_TR_SELECTOR,
    ] {
        let selector = c.get(field) & 7 == 0;
        c.require(selector, field, "RPL and TI of the selector must be 0");
    }
    for field in [vmcs::HOST_CS_SELECTOR, vmcs::HOST_TR_SELECTOR] {
        let selector = c.get(field) != 0;
        c.require(selector, field, "the selector must not be 0");
    }
    let stack = c.get(vmcs::HOST_SS_SELECTOR) != 0 || c.exit.contains(ExitControls::HOST_64_BIT);
    c.require(stack, vmcs::HOST_SS_SELECTOR, "the selector must not be 0");
    for field in [
        vmcs::HOST_FS_BASE,
        vmcs::HOST_GS_BASE,
        vmcs::HOST_TR_BASE,
        vmcs::HOST_GDTR_BASE,
        vmcs::HOST_IDTR_BASE,
    ] {
        c.require_canonical(field);
    }
}

fn address_space<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "Checks Related to Address-Space Size";
    // Whoever asks runs in IA-32e mode.
    c.require(
        c.exit.contains(ExitControls::HOST_64_BIT),
        vmcs::EXIT_CONTROLS,
        "a 64-bit host must have the host address-space size set",
    );
    if c.exit.contains(ExitControls::HOST_64_BIT) {
        let pae = c.get(vmcs::HOST_CR4) & Cr4::PAE.bits() != 0;
        c.require(pae, vmcs::HOST_CR4, "a 64-bit host has CR4.PAE set");
        c.require_canonical(vmcs::HOST_RIP);
    }
}
