//! SDM vol. 3, "VM-Exit Control Fields" under "Checks on VMX Controls".

use super::Checker;
use crate::Vmcs;
use spec::vmcs::{self, Field};
use spec::vmx_controls::{ExitControls, PinControls};

pub(super) fn check<V: Vmcs>(c: &mut Checker<'_, V>) {
    c.section = "VM-Exit Control Fields";
    let rule = "reserved controls must be set as the capability MSR says";
    let exit = c.capabilities.exit.allows(c.exit.bits());
    c.require(exit, vmcs::EXIT_CONTROLS, rule);
    if c.exit.contains(ExitControls::SECONDARY) && c.capabilities.has_exit(ExitControls::SECONDARY)
    {
        let secondary = c.get(vmcs::SECONDARY_EXIT_CONTROLS) & !c.capabilities.secondary_exit == 0;
        c.require(secondary, vmcs::SECONDARY_EXIT_CONTROLS, rule);
    }
    c.require(
        c.pin.contains(PinControls::PREEMPTION_TIMER)
            || !c.exit.contains(ExitControls::SAVE_PREEMPTION_TIMER),
        vmcs::EXIT_CONTROLS,
        "saving the preemption timer needs the timer",
    );
    msr_area(c, vmcs::EXIT_MSR_STORE_COUNT, vmcs::EXIT_MSR_STORE_ADDRESS);
    msr_area(c, vmcs::EXIT_MSR_LOAD_COUNT, vmcs::EXIT_MSR_LOAD_ADDRESS);
}

/// An area of 16-byte entries.
pub(super) fn msr_area<V: Vmcs>(c: &mut Checker<'_, V>, count: Field, address: Field) {
    let entries = c.get(count);
    if entries == 0 {
        return;
    }
    c.require_physical(address, 0xf);
    // A first byte out of bounds is reported already.
    let start = c.get(address);
    let end = start.checked_add(entries.saturating_mul(16).saturating_sub(1));
    let fits = !c.is_physical(start) || end.is_some_and(|end| c.is_physical(end));
    c.require(
        fits,
        count,
        "the last byte of the MSR area must not exceed the physical-address width",
    );
}
