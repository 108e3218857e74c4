//! The rules that a VM entry checks, one by one (SDM vol. 3, "Checks on VMX Controls and Host-State Area" and
//! "Checking and Loading Guest State").
//!
//! The processor says only that an entry failed, in its controls, its host state or its guest state; this names the
//! rule. Left out is what fields alone do not tell: contents of memory (the virtual-APIC page's TPR, a linked VMCS),
//! IA32_PERF_GLOBAL_CTRL, whose layout CPUID gives, and rules of controls that [`crate::controls::select`] never sets
//! (VM functions, tertiary controls, trace, CET).

mod entry_controls;
mod execution_controls;
mod exit_controls;
mod guest_registers;
mod guest_segments;
mod guest_state;
mod host;
#[cfg(test)]
mod tests;

use crate::{Capabilities, Vmcs};
use core::fmt;
use spec::vmcs::{self, Field};
use spec::vmx_controls::{
    EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};
use spec::vmx_event::InterruptionInfo;

/// A rule that a VMCS breaks.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Failure {
    /// Title of the manual's section
    pub section: &'static str,
    /// What must hold
    pub rule: &'static str,
    /// The field that breaks it
    pub field: Field,
    /// Its value
    pub value: u64,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.field.name().unwrap_or("undefined field");
        write!(
            f,
            "{name} is {:#x}: {} (SDM vol. 3, \"{}\")",
            self.value, self.rule, self.section
        )
    }
}

/// The processor's address widths (CPUID leaf 0x8000_0008, EAX), in bits.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct AddressWidths {
    /// Physical addresses, 36 to 52
    pub physical: u8,
    /// Linear addresses, 48 or 57
    pub linear: u8,
}

/// Calls `report` for each rule that the VMCS breaks, in the order in which the manual lists them.
pub fn check(
    vmcs: &impl Vmcs,
    capabilities: &Capabilities,
    widths: AddressWidths,
    report: &mut dyn FnMut(Failure),
) {
    let mut c = Checker::new(vmcs, capabilities, widths, report);
    execution_controls::check(&mut c);
    exit_controls::check(&mut c);
    entry_controls::check(&mut c);
    host::check(&mut c);
    guest_registers::check(&mut c);
    guest_segments::check(&mut c);
    guest_state::check(&mut c);
}

struct Checker<'a, V> {
    vmcs: &'a V,
    capabilities: &'a Capabilities,
    widths: AddressWidths,
    report: &'a mut dyn FnMut(Failure),
    section: &'static str,
    pin: PinControls,
    primary: PrimaryControls,
    secondary: SecondaryControls,
    exit: ExitControls,
    entry: EntryControls,
    /// The event to be injected, if there is one
    event: Option<InterruptionInfo>,
}

impl<'a, V: Vmcs> Checker<'a, V> {
    fn new(
        vmcs: &'a V,
        capabilities: &'a Capabilities,
        widths: AddressWidths,
        report: &'a mut dyn FnMut(Failure),
    ) -> Self {
        let read = |field| vmcs.read(field) as u32;
        let primary = PrimaryControls::from_bits_retain(read(vmcs::PRIMARY_CONTROLS));
        let secondary = if primary.contains(PrimaryControls::SECONDARY) {
            SecondaryControls::from_bits_retain(read(vmcs::SECONDARY_CONTROLS))
        } else {
            SecondaryControls::empty()
        };
        let event = InterruptionInfo(read(vmcs::ENTRY_INTERRUPTION_INFO));
        Self {
            pin: PinControls::from_bits_retain(read(vmcs::PIN_CONTROLS)),
            primary,
            secondary,
            exit: ExitControls::from_bits_retain(read(vmcs::EXIT_CONTROLS)),
            entry: EntryControls::from_bits_retain(read(vmcs::ENTRY_CONTROLS)),
            event: event.is_valid().then_some(event),
            vmcs,
            capabilities,
            widths,
            report,
            section: "",
        }
    }

    fn get(&self, field: Field) -> u64 {
        self.vmcs.read(field)
    }

    /// Reports `field` unless the rule `holds`.
    fn require(&mut self, holds: bool, field: Field, rule: &'static str) {
        if !holds {
            let value = self.get(field);
            (self.report)(Failure {
                section: self.section,
                rule,
                field,
                value,
            });
        }
    }

    /// Requires a physical address with zeros in the `low` bits and beyond the physical-address width.
    fn require_physical(&mut self, field: Field, low: u64) {
        let value = self.get(field);
        self.require(value & low == 0, field, "the address must be aligned");
        self.require(
            self.is_physical(value),
            field,
            "the address must not exceed the physical-address width",
        );
    }

    fn require_canonical(&mut self, field: Field) {
        let value = self.get(field);
        self.require(
            self.is_canonical(value),
            field,
            "the address must be canonical",
        );
    }

    /// Requires eight memory types.
    fn require_pat(&mut self, field: Field) {
        let value = self.get(field);
        self.require(
            value
                .to_le_bytes()
                .iter()
                .all(|t| matches!(t, 0 | 1 | 4..=7)),
            field,
            "each byte must be 0, 1, 4, 5, 6 or 7",
        );
    }

    fn is_physical(&self, address: u64) -> bool {
        self.widths.physical >= 64 || address >> self.widths.physical == 0
    }

    fn is_canonical(&self, address: u64) -> bool {
        let unused = 64_u32.saturating_sub(self.widths.linear.clamp(1, 64).into());
        ((address << unused) as i64 >> unused) as u64 == address
    }

    fn is_ia32e(&self) -> bool {
        self.entry.contains(EntryControls::IA32E_GUEST)
    }

    fn is_unrestricted(&self) -> bool {
        self.secondary
            .contains(SecondaryControls::UNRESTRICTED_GUEST)
    }
}
