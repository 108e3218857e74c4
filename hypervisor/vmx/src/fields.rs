//! Which VMCS fields a processor has (SDM vol. 3, appendix "Field Encoding in VMCS", notes of the tables).

use crate::Capabilities;
use spec::vmcs::{self, Field};
use spec::vmx_controls::{
    EntryControls as Entry, ExitControls as Exit, PinControls as Pin, PrimaryControls as Primary,
    SecondaryControls as Secondary, TertiaryControls as Tertiary,
};

/// Whether VMREAD and VMWRITE know `field`. Says no to what no capability MSR that we read announces.
#[must_use]
pub fn exists(field: Field, c: &Capabilities) -> bool {
    match field {
        vmcs::VPID => c.has_secondary(Secondary::VPID),
        vmcs::POSTED_INTERRUPT_VECTOR | vmcs::POSTED_INTERRUPT_DESCRIPTOR => {
            c.has_pin(Pin::POSTED_INTERRUPTS)
        }
        vmcs::EPTP_INDEX | vmcs::VE_INFORMATION_ADDRESS => {
            c.has_secondary(Secondary::EPT_VIOLATION_VE)
        }
        vmcs::HLAT_PREFIX_SIZE | vmcs::HLAT_POINTER => c.has_tertiary(Tertiary::HLAT),
        vmcs::LAST_PID_POINTER_INDEX | vmcs::PID_POINTER_TABLE => {
            c.has_tertiary(Tertiary::IPI_VIRTUALIZATION)
        }
        vmcs::GUEST_INTERRUPT_STATUS
        | vmcs::EOI_EXIT_BITMAP_0
        | vmcs::EOI_EXIT_BITMAP_1
        | vmcs::EOI_EXIT_BITMAP_2
        | vmcs::EOI_EXIT_BITMAP_3 => c.has_secondary(Secondary::VIRTUAL_INTERRUPT_DELIVERY),
        vmcs::PML_INDEX | vmcs::PML_ADDRESS => c.has_secondary(Secondary::PML),
        vmcs::GUEST_UINV => c.has_entry(Entry::LOAD_UINV) || c.has_exit(Exit::CLEAR_UINV),
        vmcs::MSR_BITMAPS => c.has_primary(Primary::MSR_BITMAPS),
        vmcs::VIRTUAL_APIC_ADDRESS | vmcs::TPR_THRESHOLD => c.has_primary(Primary::TPR_SHADOW),
        vmcs::APIC_ACCESS_ADDRESS => c.has_secondary(Secondary::VIRTUALIZE_APIC_ACCESSES),
        vmcs::VM_FUNCTION_CONTROLS => c.has_secondary(Secondary::VM_FUNCTIONS),
        vmcs::EPT_POINTER
        | vmcs::GUEST_PHYSICAL_ADDRESS
        | vmcs::GUEST_PDPTE0
        | vmcs::GUEST_PDPTE1
        | vmcs::GUEST_PDPTE2
        | vmcs::GUEST_PDPTE3 => c.has_secondary(Secondary::EPT),
        vmcs::VMREAD_BITMAP | vmcs::VMWRITE_BITMAP => c.has_secondary(Secondary::VMCS_SHADOWING),
        vmcs::XSS_EXITING_BITMAP => c.has_secondary(Secondary::XSAVES),
        vmcs::ENCLS_EXITING_BITMAP => c.has_secondary(Secondary::ENCLS_EXITING),
        vmcs::ENCLV_EXITING_BITMAP => c.has_secondary(Secondary::ENCLV_EXITING),
        vmcs::SPP_TABLE_POINTER => c.has_secondary(Secondary::SUB_PAGE_PERMISSIONS),
        vmcs::TSC_MULTIPLIER => c.has_secondary(Secondary::TSC_SCALING),
        vmcs::TERTIARY_CONTROLS => c.has_primary(Primary::TERTIARY),
        vmcs::LOW_PASID_DIRECTORY | vmcs::HIGH_PASID_DIRECTORY => {
            c.has_secondary(Secondary::PASID_TRANSLATION)
        }
        vmcs::PCONFIG_EXITING_BITMAP => c.has_secondary(Secondary::PCONFIG),
        vmcs::SECONDARY_EXIT_CONTROLS => c.has_exit(Exit::SECONDARY),
        vmcs::SPEC_CTRL_MASK | vmcs::SPEC_CTRL_SHADOW => {
            c.has_tertiary(Tertiary::VIRTUALIZE_SPEC_CTRL)
        }
        vmcs::GUEST_PAT => c.has_entry(Entry::LOAD_PAT) || c.has_exit(Exit::SAVE_PAT),
        vmcs::GUEST_EFER => c.has_entry(Entry::LOAD_EFER) || c.has_exit(Exit::SAVE_EFER),
        vmcs::GUEST_PERF_GLOBAL_CTRL => c.has_entry(Entry::LOAD_PERF_GLOBAL_CTRL),
        vmcs::GUEST_BNDCFGS => c.has_entry(Entry::LOAD_BNDCFGS) || c.has_exit(Exit::CLEAR_BNDCFGS),
        vmcs::GUEST_RTIT_CTL => {
            c.has_entry(Entry::LOAD_RTIT_CTL) || c.has_exit(Exit::CLEAR_RTIT_CTL)
        }
        vmcs::GUEST_LBR_CTL => c.has_entry(Entry::LOAD_LBR_CTL) || c.has_exit(Exit::CLEAR_LBR_CTL),
        vmcs::GUEST_PKRS => c.has_entry(Entry::LOAD_PKRS),
        vmcs::HOST_PAT => c.has_exit(Exit::LOAD_PAT),
        vmcs::HOST_EFER => c.has_exit(Exit::LOAD_EFER),
        vmcs::HOST_PERF_GLOBAL_CTRL => c.has_exit(Exit::LOAD_PERF_GLOBAL_CTRL),
        vmcs::HOST_PKRS => c.has_exit(Exit::LOAD_PKRS),
        vmcs::SECONDARY_CONTROLS => c.has_primary(Primary::SECONDARY),
        vmcs::PLE_GAP | vmcs::PLE_WINDOW => c.has_secondary(Secondary::PAUSE_LOOP_EXITING),
        vmcs::INSTRUCTION_TIMEOUT => c.has_secondary(Secondary::INSTRUCTION_TIMEOUT),
        vmcs::PREEMPTION_TIMER => c.has_pin(Pin::PREEMPTION_TIMER),
        vmcs::CR3_TARGET_0 => c.misc.cr3_targets() > 0,
        vmcs::CR3_TARGET_1 => c.misc.cr3_targets() > 1,
        vmcs::CR3_TARGET_2 => c.misc.cr3_targets() > 2,
        vmcs::CR3_TARGET_3 => c.misc.cr3_targets() > 3,
        vmcs::GUEST_S_CET | vmcs::GUEST_SSP | vmcs::GUEST_INTERRUPT_SSP_TABLE => {
            c.has_entry(Entry::LOAD_CET)
        }
        vmcs::HOST_S_CET | vmcs::HOST_SSP | vmcs::HOST_INTERRUPT_SSP_TABLE => {
            c.has_exit(Exit::LOAD_CET)
        }
        // EPTP switching and secure arbitration are announced elsewhere, and not for us.
        vmcs::EPTP_LIST_ADDRESS | vmcs::SHARED_EPT_POINTER => false,
        other => other.name().is_some(),
    }
}
