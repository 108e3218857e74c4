//! SDM vol. 3, "VM-Entry Control Fields" under "Checks on VMX Controls".

use super::{Checker, exit_controls::msr_area};
use crate::Vmcs;
use spec::cpu::Cr0;
use spec::vmcs;
use spec::vmx_controls::{EntryControls, PrimaryControls};
use spec::vmx_event::{EventKind, InterruptionInfo};

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "VM-Entry Control Fields";
    let entry = c.capabilities.entry.allows(c.entry.bits());
    c.require(
        entry,
        vmcs::ENTRY_CONTROLS,
        "reserved controls must be set as the capability MSR says",
    );
    if let Some(info) = c.event {
        event(c, info);
    }
    msr_area(c, vmcs::ENTRY_MSR_LOAD_COUNT, vmcs::ENTRY_MSR_LOAD_ADDRESS);
    c.require(
        !c.entry
            .intersects(EntryControls::ENTRY_TO_SMM | EntryControls::DEACTIVATE_DUAL_MONITOR),
        vmcs::ENTRY_CONTROLS,
        "outside SMM no entry goes to SMM or ends the dual-monitor treatment",
    );
}

fn event<V: Vmcs>(c: &mut Checker<'_, V>, info: InterruptionInfo) {
    const FIELD: vmcs::Field = vmcs::ENTRY_INTERRUPTION_INFO;
    let kind = info.kind();
    let vector = info.vector().0;
    c.require(
        kind != EventKind::Reserved
            && (kind != EventKind::Other
                || c.capabilities
                    .has_primary(PrimaryControls::MONITOR_TRAP_FLAG)),
        FIELD,
        "the event's type must be defined",
    );
    let vector_fits = match kind {
        EventKind::Nmi => vector == 2,
        EventKind::HardwareException => vector <= 31,
        EventKind::Other => vector == 0,
        _ => true,
    };
    c.require(vector_fits, FIELD, "the event's vector must fit its type");

    let protected = c.get(vmcs::GUEST_CR0) & Cr0::PE.bits() != 0;
    let pushes = matches!(vector, 8 | 10..=14 | 17);
    let may = kind == EventKind::HardwareException && (protected || !c.is_unrestricted());
    let error_code = if c.capabilities.basic.any_error_code() {
        may || !info.has_error_code()
    } else {
        info.has_error_code() == (may && pushes)
    };
    c.require(
        error_code,
        FIELD,
        "an error code goes with exceptions that push one, in protected mode",
    );
    c.require(
        info.0 & !InterruptionInfo::ENTRY_BITS == 0,
        FIELD,
        "bits 30:12 of the event must be 0",
    );
    if info.has_error_code() {
        let code = c.get(vmcs::ENTRY_ERROR_CODE) & !0xffff == 0;
        c.require(
            code,
            vmcs::ENTRY_ERROR_CODE,
            "bits 31:16 of the error code must be 0",
        );
    }
    if matches!(
        kind,
        EventKind::SoftwareInterrupt
            | EventKind::SoftwareException
            | EventKind::PrivilegedSoftwareException
    ) {
        let shortest = u64::from(!c.capabilities.misc.allows_zero_length());
        let length = (shortest..=15).contains(&c.get(vmcs::ENTRY_INSTRUCTION_LENGTH));
        c.require(
            length,
            vmcs::ENTRY_INSTRUCTION_LENGTH,
            "the instruction of a software event has 1 to 15 bytes",
        );
    }
}
