//! What this processor lacks: what stands in the way of running at all, and what we do without.

use crate::Capabilities;
use spec::vmx_controls::{
    EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls,
};
use spec::vmx_msr::{EptVpidCap, VmxBasic};

/// One missing feature.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Missing {
    /// The manual's name of the feature
    pub feature: &'static str,
    /// For a required feature what needs it; for an optional one what we do without it
    pub consequence: &'static str,
}

impl core::fmt::Display for Missing {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}: {}", self.feature, self.consequence)
    }
}

struct Feature {
    present: fn(&Capabilities) -> bool,
    missing: Missing,
}

const fn feature(
    feature: &'static str,
    consequence: &'static str,
    present: fn(&Capabilities) -> bool,
) -> Feature {
    Feature {
        present,
        missing: Missing {
            feature,
            consequence,
        },
    }
}

/// The required features, the ones that a user knows first.
const REQUIRED: &[Feature] = &[
    feature("EPT", "guest memory is isolated by it", |c| {
        c.has_secondary(SecondaryControls::EPT)
    }),
    feature(
        "unrestricted guest",
        "guests run in real mode and without paging by it",
        |c| c.has_secondary(SecondaryControls::UNRESTRICTED_GUEST),
    ),
    feature(
        "VMX-preemption timer",
        "a guest that never exits is stopped by it",
        |c| c.has_pin(PinControls::PREEMPTION_TIMER),
    ),
    feature(
        "EPT with four levels in write-back memory",
        "the nested tables have this form",
        |c| {
            c.ept_vpid
                .contains(EptVpidCap::WALK_4.union(EptVpidCap::WRITE_BACK))
        },
    ),
    feature(
        "INVEPT, single and all contexts",
        "changed nested tables take effect by it",
        |c| {
            c.ept_vpid.contains(
                EptVpidCap::INVEPT
                    .union(EptVpidCap::INVEPT_SINGLE)
                    .union(EptVpidCap::INVEPT_ALL),
            )
        },
    ),
    feature(
        "external-interrupt and NMI exiting with virtual NMIs",
        "the host's interrupts are its own by them",
        |c| {
            c.has_pin(
                PinControls::EXTERNAL_INTERRUPT_EXITING
                    .union(PinControls::NMI_EXITING)
                    .union(PinControls::VIRTUAL_NMIS),
            )
        },
    ),
    feature(
        "I/O bitmaps and MSR bitmaps",
        "ports and MSRs are denied to guests by them",
        |c| c.has_primary(PrimaryControls::IO_BITMAPS.union(PrimaryControls::MSR_BITMAPS)),
    ),
    feature(
        "exiting on HLT, MWAIT, MONITOR, RDPMC and open windows, TSC offsetting",
        "idle guests give up the core, and keep their own time, by them",
        |c| {
            c.has_primary(
                PrimaryControls::HLT_EXITING
                    .union(PrimaryControls::MWAIT_EXITING)
                    .union(PrimaryControls::MONITOR_EXITING)
                    .union(PrimaryControls::RDPMC_EXITING)
                    .union(PrimaryControls::INTERRUPT_WINDOW_EXITING)
                    .union(PrimaryControls::NMI_WINDOW_EXITING)
                    .union(PrimaryControls::TSC_OFFSETTING),
            )
        },
    ),
    feature(
        "WBINVD exiting",
        "a guest that flushes the caches would stall its neighbours",
        |c| c.has_secondary(SecondaryControls::WBINVD_EXITING),
    ),
    feature(
        "CR3 and INVLPG accesses without an exit",
        "guests switch address spaces at full speed",
        |c| {
            c.primary.must_be_one()
                & PrimaryControls::CR3_LOAD_EXITING
                    .union(PrimaryControls::CR3_STORE_EXITING)
                    .union(PrimaryControls::INVLPG_EXITING)
                    .bits()
                == 0
        },
    ),
    feature(
        "a 64-bit host, acknowledge interrupt on exit, saving and loading IA32_EFER and IA32_PAT",
        "host and guest keep their own registers by them",
        |c| {
            c.has_exit(
                ExitControls::HOST_64_BIT
                    .union(ExitControls::ACKNOWLEDGE_INTERRUPT)
                    .union(ExitControls::SAVE_EFER)
                    .union(ExitControls::LOAD_EFER)
                    .union(ExitControls::SAVE_PAT)
                    .union(ExitControls::LOAD_PAT)
                    .union(ExitControls::SAVE_DEBUG_CONTROLS),
            ) && c.has_entry(
                EntryControls::IA32E_GUEST
                    .union(EntryControls::LOAD_EFER)
                    .union(EntryControls::LOAD_PAT)
                    .union(EntryControls::LOAD_DEBUG_CONTROLS),
            )
        },
    ),
    feature(
        "VM-exit instruction information for INS and OUTS (IA32_VMX_BASIC bit 54)",
        "string I/O is carried out from it",
        |c| c.basic.reports_string_io(),
    ),
    feature(
        "VMCS regions in write-back memory",
        "our regions lie in it",
        |c| c.basic.memory_type() == VmxBasic::WRITE_BACK && !c.basic.addresses_are_32_bit(),
    ),
];

const OPTIONAL: &[Feature] = &[
    feature("VPID", "each VM entry and exit flushes the TLB", |c| {
        c.has_secondary(SecondaryControls::VPID) && c.can_flush_vpid()
    }),
    feature(
        "EPT 2 MiB pages",
        "guest memory is mapped in 4 KiB pages",
        |c| c.ept_vpid.contains(EptVpidCap::PAGE_2M),
    ),
    feature(
        "EPT 1 GiB pages",
        "guest memory is mapped in smaller pages",
        |c| c.ept_vpid.contains(EptVpidCap::PAGE_1G),
    ),
    feature(
        "EPT accessed and dirty flags",
        "nested tables do not record accesses",
        |c| c.ept_vpid.contains(EptVpidCap::ACCESSED_DIRTY),
    ),
    feature(
        "TPR shadow",
        "a guest's accesses to its task priority exit",
        |c| c.has_primary(PrimaryControls::TPR_SHADOW),
    ),
    feature(
        "APIC-register virtualization and virtual-interrupt delivery",
        "guests that share cores have their local APICs in software",
        Capabilities::has_accelerated_apic,
    ),
    feature(
        "posted interrupts",
        "an interrupt for a running guest makes it exit",
        Capabilities::has_posted_interrupts,
    ),
    feature("RDTSCP", "guests do not see RDTSCP and RDPID", |c| {
        c.has_secondary(SecondaryControls::RDTSCP)
    }),
    feature("INVPCID", "guests do not see INVPCID", |c| {
        c.has_secondary(SecondaryControls::INVPCID)
    }),
    feature("XSAVES", "guests do not see XSAVES", |c| {
        c.has_secondary(SecondaryControls::XSAVES)
    }),
    feature(
        "TSC scaling",
        "guests see the TSC at the processor's frequency",
        |c| c.has_secondary(SecondaryControls::TSC_SCALING),
    ),
    feature(
        "saving the VMX-preemption timer",
        "the timer is set again at each entry",
        |c| c.has_exit(ExitControls::SAVE_PREEMPTION_TIMER),
    ),
];

fn absent<'a>(
    of: &'static [Feature],
    capabilities: &'a Capabilities,
) -> impl Iterator<Item = Missing> + 'a {
    of.iter()
        .filter(|f| !(f.present)(capabilities))
        .map(|f| f.missing)
}

impl Capabilities {
    /// What is required and missing; nothing runs unless this is empty.
    pub fn missing(&self) -> impl Iterator<Item = Missing> + '_ {
        absent(REQUIRED, self)
    }

    /// What would be used and is missing, to be named at boot.
    pub fn without(&self) -> impl Iterator<Item = Missing> + '_ {
        absent(OPTIONAL, self)
    }
}
