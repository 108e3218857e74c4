//! Layouts of the VMX capability MSRs, whose numbers are in [`crate::msr`] (SDM vol. 3, appendix "VMX Capability
//! Reporting Facility").

use bitflags::bitflags;

/// IA32_VMX_BASIC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct VmxBasic(pub u64);

impl VmxBasic {
    /// The VMCS revision identifier, to be put into VMXON and VMCS regions.
    #[must_use]
    pub const fn revision(self) -> u32 {
        self.0 as u32 & 0x7fff_ffff
    }

    /// Bytes of a VMXON or VMCS region, at most 4096.
    #[must_use]
    pub const fn region_size(self) -> u32 {
        (self.0 >> 32) as u32 & 0x1fff
    }

    /// VMX structures must lie below 4 GiB.
    #[must_use]
    pub const fn addresses_are_32_bit(self) -> bool {
        self.0 & (1 << 48) != 0
    }

    /// The memory type to be used for VMX structures; [`VmxBasic::WRITE_BACK`] on every processor with EPT.
    #[must_use]
    pub const fn memory_type(self) -> u8 {
        (self.0 >> 50) as u8 & 0xf
    }

    /// INS and OUTS exits fill in the VM-exit instruction-information field.
    #[must_use]
    pub const fn reports_string_io(self) -> bool {
        self.0 & (1 << 54) != 0
    }

    /// The IA32_VMX_TRUE_* MSRs exist; controls of the default1 class may be clear.
    #[must_use]
    pub const fn has_true_controls(self) -> bool {
        self.0 & (1 << 55) != 0
    }

    /// A hardware exception may be injected with or without an error code, whatever its vector.
    #[must_use]
    pub const fn any_error_code(self) -> bool {
        self.0 & (1 << 56) != 0
    }

    /// Memory type write-back
    pub const WRITE_BACK: u8 = 6;
}

/// A control MSR: bits that must be one in the low half, bits that may be one in the high half.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
#[repr(transparent)]
pub struct AllowedSettings(pub u64);

impl AllowedSettings {
    /// Controls that must be 1
    #[must_use]
    pub const fn must_be_one(self) -> u32 {
        self.0 as u32
    }

    /// Controls that may be 1
    #[must_use]
    pub const fn may_be_one(self) -> u32 {
        (self.0 >> 32) as u32
    }

    /// `wanted` with what must be set and without what may not be.
    #[must_use]
    pub const fn adjust(self, wanted: u32) -> u32 {
        (wanted | self.must_be_one()) & self.may_be_one()
    }

    /// Whether `controls` is a value that the processor takes.
    #[must_use]
    pub const fn allows(self, controls: u32) -> bool {
        self.adjust(controls) == controls
    }
}

/// IA32_VMX_MISC.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(transparent)]
pub struct VmxMisc(pub u64);

impl VmxMisc {
    /// The preemption timer counts down by one whenever bit `X` of the TSC changes: this is `X`.
    #[must_use]
    pub const fn timer_shift(self) -> u8 {
        self.0 as u8 & 0x1f
    }

    /// Whether an activity state other than active is supported: 1 HLT, 2 shutdown, 3 wait-for-SIPI.
    #[must_use]
    pub const fn supports_activity(self, state: u32) -> bool {
        match state {
            0 => true,
            1..=3 => (self.0 >> state) & (1 << 5) != 0,
            _ => false,
        }
    }

    /// Number of CR3-target values
    #[must_use]
    pub const fn cr3_targets(self) -> u32 {
        (self.0 >> 16) as u32 & 0x1ff
    }

    /// Software interrupts and exceptions may be injected with an instruction length of 0.
    #[must_use]
    pub const fn allows_zero_length(self) -> bool {
        self.0 & (1 << 30) != 0
    }
}

bitflags! {
    /// IA32_VMX_EPT_VPID_CAP.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct EptVpidCap: u64 {
        /// Execute-only translations
        const EXECUTE_ONLY = 1 << 0;
        /// Page-walk length of 4
        const WALK_4 = 1 << 6;
        /// Page-walk length of 5
        const WALK_5 = 1 << 7;
        /// EPT paging structures may be uncacheable
        const UNCACHEABLE = 1 << 8;
        /// EPT paging structures may be write-back
        const WRITE_BACK = 1 << 14;
        /// 2 MiB pages
        const PAGE_2M = 1 << 16;
        /// 1 GiB pages
        const PAGE_1G = 1 << 17;
        /// INVEPT
        const INVEPT = 1 << 20;
        /// Accessed and dirty flags for EPT
        const ACCESSED_DIRTY = 1 << 21;
        /// Advanced exit information for EPT violations
        const ADVANCED_INFORMATION = 1 << 22;
        /// Supervisor shadow-stack control
        const SHADOW_STACK = 1 << 23;
        /// Single-context INVEPT
        const INVEPT_SINGLE = 1 << 25;
        /// All-context INVEPT
        const INVEPT_ALL = 1 << 26;
        /// INVVPID
        const INVVPID = 1 << 32;
        /// Individual-address INVVPID
        const INVVPID_ADDRESS = 1 << 40;
        /// Single-context INVVPID
        const INVVPID_SINGLE = 1 << 41;
        /// All-context INVVPID
        const INVVPID_ALL = 1 << 42;
        /// Single-context-retaining-globals INVVPID
        const INVVPID_SINGLE_KEEP_GLOBALS = 1 << 43;
        const _ = !0;
    }
}
