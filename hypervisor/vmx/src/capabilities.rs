//! What the processor's VT-x can do.

use crate::carry;
use spec::Msr;
use spec::msr;
use spec::vmx_controls::{
    EntryControls, ExitControls, PinControls, PrimaryControls, SecondaryControls, TertiaryControls,
};
use spec::vmx_event::activity;
use spec::vmx_msr::{AllowedSettings, EptVpidCap, VmxBasic, VmxMisc};

/// Bits of CR0 or CR4 that VMX operation fixes.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct FixedBits {
    /// Bits that must be 1 (IA32_VMX_CRn_FIXED0)
    pub must_be_one: u64,
    /// Bits that may be 1 (IA32_VMX_CRn_FIXED1)
    pub may_be_one: u64,
}

impl FixedBits {
    /// Whether VMX operation takes this value.
    #[must_use]
    pub const fn allows(self, value: u64) -> bool {
        value & self.must_be_one == self.must_be_one && value & !self.may_be_one == 0
    }
}

/// The capability MSRs of one processor, read once.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Capabilities {
    /// IA32_VMX_BASIC
    pub basic: VmxBasic,
    /// IA32_VMX_MISC
    pub misc: VmxMisc,
    /// Pin-based controls
    pub pin: AllowedSettings,
    /// Primary processor-based controls
    pub primary: AllowedSettings,
    /// Secondary processor-based controls; none if the processor has no such controls
    pub secondary: AllowedSettings,
    /// Tertiary processor-based controls that may be 1
    pub tertiary: u64,
    /// Primary VM-exit controls
    pub exit: AllowedSettings,
    /// Secondary VM-exit controls that may be 1
    pub secondary_exit: u64,
    /// VM-entry controls
    pub entry: AllowedSettings,
    /// CR0
    pub cr0: FixedBits,
    /// CR4
    pub cr4: FixedBits,
    /// IA32_VMX_EPT_VPID_CAP; empty if the processor has neither
    pub ept_vpid: EptVpidCap,
}

impl Capabilities {
    /// Reads the MSRs through `read_msr`, each only if those before it say that it exists.
    ///
    /// The processor must have VMX (CPUID.1:ECX bit 5).
    pub fn new(read_msr: impl Fn(Msr) -> u64) -> Self {
        let basic = VmxBasic(read_msr(msr::VMX_BASIC));
        let allowed = |plain, with_true| {
            AllowedSettings(read_msr(if basic.has_true_controls() {
                with_true
            } else {
                plain
            }))
        };
        let pin = allowed(msr::VMX_PINBASED_CTLS, msr::VMX_TRUE_PINBASED_CTLS);
        let primary = allowed(msr::VMX_PROCBASED_CTLS, msr::VMX_TRUE_PROCBASED_CTLS);
        let exit = allowed(msr::VMX_EXIT_CTLS, msr::VMX_TRUE_EXIT_CTLS);
        let entry = allowed(msr::VMX_ENTRY_CTLS, msr::VMX_TRUE_ENTRY_CTLS);

        let primary_may = PrimaryControls::from_bits_retain(primary.may_be_one());
        let secondary = if primary_may.contains(PrimaryControls::SECONDARY) {
            AllowedSettings(read_msr(msr::VMX_PROCBASED_CTLS2))
        } else {
            AllowedSettings::default()
        };
        let tertiary = if primary_may.contains(PrimaryControls::TERTIARY) {
            read_msr(msr::VMX_PROCBASED_CTLS3)
        } else {
            0
        };
        let secondary_exit = if ExitControls::from_bits_retain(exit.may_be_one())
            .contains(ExitControls::SECONDARY)
        {
            read_msr(msr::VMX_EXIT_CTLS2)
        } else {
            0
        };
        let ept_vpid = if SecondaryControls::from_bits_retain(secondary.may_be_one())
            .intersects(SecondaryControls::EPT | SecondaryControls::VPID)
        {
            EptVpidCap::from_bits_retain(read_msr(msr::VMX_EPT_VPID_CAP))
        } else {
            EptVpidCap::empty()
        };
        Self {
            basic,
            misc: VmxMisc(read_msr(msr::VMX_MISC)),
            pin,
            primary,
            secondary,
            tertiary,
            exit,
            secondary_exit,
            entry,
            cr0: FixedBits {
                must_be_one: read_msr(msr::VMX_CR0_FIXED0),
                may_be_one: read_msr(msr::VMX_CR0_FIXED1),
            },
            cr4: FixedBits {
                must_be_one: read_msr(msr::VMX_CR4_FIXED0),
                may_be_one: read_msr(msr::VMX_CR4_FIXED1),
            },
            ept_vpid,
        }
    }

    /// Whether the mappings of one VPID can be invalidated.
    #[must_use]
    pub const fn can_flush_vpid(&self) -> bool {
        self.ept_vpid.contains(
            EptVpidCap::INVVPID
                .union(EptVpidCap::INVVPID_SINGLE)
                .union(EptVpidCap::INVVPID_ALL),
        )
    }

    /// Whether the processor can carry the local APIC of a guest in x2APIC mode on a virtual-APIC page.
    #[must_use]
    pub const fn has_accelerated_apic(&self) -> bool {
        self.has_primary(PrimaryControls::TPR_SHADOW)
            && self.has_secondary(carry::VIRTUALIZE)
            && self.primary.must_be_one() & carry::TASK_PRIORITY.bits() == 0
    }

    /// Whether the processor takes posted interrupts for a guest whose local APIC it carries so.
    #[must_use]
    pub const fn has_posted_interrupts(&self) -> bool {
        self.has_accelerated_apic()
            && self.has_pin(PinControls::POSTED_INTERRUPTS)
            && self.has_exit(ExitControls::ACKNOWLEDGE_INTERRUPT)
    }

    /// Whether a guest can have the processor's own local APIC, and sleep in a HLT of its own. x2APIC mode and the TSC-deadline timer
    /// are not asked about here.
    #[must_use]
    pub const fn has_direct_apic(&self) -> bool {
        let primary = carry::TASK_PRIORITY.union(PrimaryControls::HLT_EXITING);
        self.pin.must_be_one() & carry::PIN_OF_HOST.bits() == 0
            && self.primary.must_be_one() & primary.bits() == 0
            && self.exit.must_be_one() & ExitControls::SAVE_PREEMPTION_TIMER.bits() == 0
            && self.misc.supports_activity(activity::HLT)
    }

    /// Whether these pin-based controls may all be 1.
    #[must_use]
    pub const fn has_pin(&self, controls: PinControls) -> bool {
        self.pin.may_be_one() & controls.bits() == controls.bits()
    }

    /// Whether these primary controls may all be 1.
    #[must_use]
    pub const fn has_primary(&self, controls: PrimaryControls) -> bool {
        self.primary.may_be_one() & controls.bits() == controls.bits()
    }

    /// Whether these secondary controls may all be 1.
    #[must_use]
    pub const fn has_secondary(&self, controls: SecondaryControls) -> bool {
        self.secondary.may_be_one() & controls.bits() == controls.bits()
    }

    /// Whether these tertiary controls may all be 1.
    #[must_use]
    pub const fn has_tertiary(&self, controls: TertiaryControls) -> bool {
        self.tertiary & controls.bits() == controls.bits()
    }

    /// Whether these VM-exit controls may all be 1.
    #[must_use]
    pub const fn has_exit(&self, controls: ExitControls) -> bool {
        self.exit.may_be_one() & controls.bits() == controls.bits()
    }

    /// Whether these VM-entry controls may all be 1.
    #[must_use]
    pub const fn has_entry(&self, controls: EntryControls) -> bool {
        self.entry.may_be_one() & controls.bits() == controls.bits()
    }
}
