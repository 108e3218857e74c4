//! Model-specific register numbers and the layouts of those with more than one field.
//!
//! SDM vol. 4, "Model-Specific Registers (MSRs)", table of architectural MSRs, unless an item says otherwise.

use crate::Msr;
use bitflags::bitflags;

macro_rules! numbers {
    ($($(#[doc = $doc:literal])* $name:ident = $number:literal;)*) => {
        $($(#[doc = $doc])* pub const $name: Msr = Msr($number);)*
    };
}

numbers! {
    /// IA32_TIME_STAMP_COUNTER
    TSC = 0x10;
    /// IA32_PLATFORM_ID
    PLATFORM_ID = 0x17;
    /// IA32_APIC_BASE; layout in [`ApicBase`]
    APIC_BASE = 0x1b;
    /// IA32_FEATURE_CONTROL; layout in [`FeatureControl`]
    FEATURE_CONTROL = 0x3a;
    /// IA32_TSC_ADJUST
    TSC_ADJUST = 0x3b;
    /// IA32_SPEC_CTRL; layout in [`SpecCtrl`]
    SPEC_CTRL = 0x48;
    /// IA32_PRED_CMD
    PRED_CMD = 0x49;
    /// IA32_BIOS_UPDT_TRIG
    BIOS_UPDT_TRIG = 0x79;
    /// IA32_BIOS_SIGN_ID
    BIOS_SIGN_ID = 0x8b;
    /// IA32_MTRRCAP
    MTRRCAP = 0xfe;
    /// IA32_ARCH_CAPABILITIES; layout in [`ArchCapabilities`]
    ARCH_CAPABILITIES = 0x10a;
    /// IA32_FLUSH_CMD
    FLUSH_CMD = 0x10b;
    /// IA32_SYSENTER_CS
    SYSENTER_CS = 0x174;
    /// IA32_SYSENTER_ESP
    SYSENTER_ESP = 0x175;
    /// IA32_SYSENTER_EIP
    SYSENTER_EIP = 0x176;
    /// IA32_MCG_CAP
    MCG_CAP = 0x179;
    /// IA32_MCG_STATUS; layout in [`McgStatus`]
    MCG_STATUS = 0x17a;
    /// IA32_MISC_ENABLE; layout in [`MiscEnable`]
    MISC_ENABLE = 0x1a0;
    /// IA32_DEBUGCTL
    DEBUGCTL = 0x1d9;
    /// IA32_PAT: eight memory types, a byte each
    PAT = 0x277;
    /// IA32_MTRR_DEF_TYPE
    MTRR_DEF_TYPE = 0x2ff;
    /// IA32_PERF_GLOBAL_CTRL
    PERF_GLOBAL_CTRL = 0x38f;
    /// IA32_TSC_DEADLINE
    TSC_DEADLINE = 0x6e0;
    /// First register of the x2APIC: register `r` of the MMIO page is MSR 0x800 + r / 16 (SDM vol. 3, "x2APIC Register Address Space")
    X2APIC_FIRST = 0x800;
    /// Last register number that belongs to the x2APIC
    X2APIC_LAST = 0x8ff;
    /// IA32_XSS
    XSS = 0xda0;
    /// IA32_EFER; layout in [`crate::cpu::Efer`]
    EFER = 0xc000_0080;
    /// IA32_STAR
    STAR = 0xc000_0081;
    /// IA32_LSTAR
    LSTAR = 0xc000_0082;
    /// IA32_CSTAR
    CSTAR = 0xc000_0083;
    /// IA32_FMASK
    FMASK = 0xc000_0084;
    /// IA32_FS_BASE
    FS_BASE = 0xc000_0100;
    /// IA32_GS_BASE
    GS_BASE = 0xc000_0101;
    /// IA32_KERNEL_GS_BASE
    KERNEL_GS_BASE = 0xc000_0102;
    /// IA32_TSC_AUX
    TSC_AUX = 0xc000_0103;

    // SDM vol. 3, appendix "VMX Capability Reporting Facility".
    /// IA32_VMX_BASIC
    VMX_BASIC = 0x480;
    /// IA32_VMX_PINBASED_CTLS
    VMX_PINBASED_CTLS = 0x481;
    /// IA32_VMX_PROCBASED_CTLS
    VMX_PROCBASED_CTLS = 0x482;
    /// IA32_VMX_EXIT_CTLS
    VMX_EXIT_CTLS = 0x483;
    /// IA32_VMX_ENTRY_CTLS
    VMX_ENTRY_CTLS = 0x484;
    /// IA32_VMX_MISC
    VMX_MISC = 0x485;
    /// IA32_VMX_CR0_FIXED0
    VMX_CR0_FIXED0 = 0x486;
    /// IA32_VMX_CR0_FIXED1
    VMX_CR0_FIXED1 = 0x487;
    /// IA32_VMX_CR4_FIXED0
    VMX_CR4_FIXED0 = 0x488;
    /// IA32_VMX_CR4_FIXED1
    VMX_CR4_FIXED1 = 0x489;
    /// IA32_VMX_VMCS_ENUM
    VMX_VMCS_ENUM = 0x48a;
    /// IA32_VMX_PROCBASED_CTLS2
    VMX_PROCBASED_CTLS2 = 0x48b;
    /// IA32_VMX_EPT_VPID_CAP
    VMX_EPT_VPID_CAP = 0x48c;
    /// IA32_VMX_TRUE_PINBASED_CTLS
    VMX_TRUE_PINBASED_CTLS = 0x48d;
    /// IA32_VMX_TRUE_PROCBASED_CTLS
    VMX_TRUE_PROCBASED_CTLS = 0x48e;
    /// IA32_VMX_TRUE_EXIT_CTLS
    VMX_TRUE_EXIT_CTLS = 0x48f;
    /// IA32_VMX_TRUE_ENTRY_CTLS
    VMX_TRUE_ENTRY_CTLS = 0x490;
    /// IA32_VMX_VMFUNC
    VMX_VMFUNC = 0x491;
    /// IA32_VMX_PROCBASED_CTLS3
    VMX_PROCBASED_CTLS3 = 0x492;
    /// IA32_VMX_EXIT_CTLS2
    VMX_EXIT_CTLS2 = 0x493;
}

bitflags! {
    /// IA32_APIC_BASE (SDM vol. 3, "Local APIC Status and Location" and "x2APIC States").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct ApicBase: u64 {
        /// This is the bootstrap processor
        const BSP = 1 << 8;
        /// x2APIC mode
        const EXTD = 1 << 10;
        /// Global enable
        const EN = 1 << 11;
    }

    /// IA32_MCG_STATUS (SDM vol. 3, "IA32_MCG_STATUS MSR").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct McgStatus: u64 {
        /// The program can be restarted where it was interrupted
        const RIPV = 1 << 0;
        /// The error belongs to the instruction that was interrupted
        const EIPV = 1 << 1;
        /// A machine check is in progress
        const MCIP = 1 << 2;
    }

    /// IA32_FEATURE_CONTROL (SDM vol. 3, "Enabling and Entering VMX Operation").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct FeatureControl: u64 {
        /// Writes raise #GP until the next reset
        const LOCK = 1 << 0;
        /// VMXON may be used inside SMX operation
        const VMX_IN_SMX = 1 << 1;
        /// VMXON may be used outside SMX operation
        const VMX_OUTSIDE_SMX = 1 << 2;
    }

    /// IA32_MISC_ENABLE (SDM vol. 4).
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct MiscEnable: u64 {
        /// Fast strings
        const FAST_STRINGS = 1 << 0;
        /// Performance monitoring is there (read-only)
        const PERF_MON = 1 << 7;
        /// Branch trace storage is not there (read-only)
        const BTS_UNAVAILABLE = 1 << 11;
        /// Processor event-based sampling is not there (read-only)
        const PEBS_UNAVAILABLE = 1 << 12;
        /// MONITOR and MWAIT are shown in CPUID
        const MONITOR = 1 << 18;
        /// CPUID shows no leaf above 2
        const LIMIT_CPUID = 1 << 22;
        /// Execute-disable is hidden
        const XD_DISABLE = 1 << 34;
    }

    /// IA32_SPEC_CTRL (SDM vol. 4; the later bits in Intel's "Branch History Injection and Intra-mode Branch Target
    /// Injection").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct SpecCtrl: u64 {
        /// Indirect branches are not steered by what less privileged code did
        const IBRS = 1 << 0;
        /// Nor by what the sibling thread did
        const STIBP = 1 << 1;
        /// Loads wait for older stores
        const SSBD = 1 << 2;
        /// Indirect branches of the supervisor are not steered by branch history of user mode or the guest
        const BHI_DIS_S = 1 << 10;
    }

    /// IA32_ARCH_CAPABILITIES (SDM vol. 4), by the manual's names.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct ArchCapabilities: u64 {
        /// Not open to rogue data cache load, nor to L1 terminal fault
        const RDCL_NO = 1 << 0;
        /// IBRS once set holds for ever (enhanced IBRS)
        const IBRS_ALL = 1 << 1;
        /// An empty return stack falls back to other predictors
        const RSBA = 1 << 2;
        /// A hypervisor need not flush L1D at VM entry
        const SKIP_L1DFL_VMENTRY = 1 << 3;
        /// Not open to speculative store bypass
        const SSB_NO = 1 << 4;
        /// Not open to microarchitectural data sampling
        const MDS_NO = 1 << 5;
        /// Not open to machine-check errors on a change of page size
        const IF_PSCHANGE_MC_NO = 1 << 6;
        /// IA32_TSX_CTRL is there
        const TSX_CTRL = 1 << 7;
        /// Not open to TSX asynchronous abort
        const TAA_NO = 1 << 8;
        /// Not open to shared-buffers data read, nor sideband stale data propagation
        const SBDR_SSDP_NO = 1 << 13;
        /// Not open to fill-buffer stale data propagation
        const FBSDP_NO = 1 << 14;
        /// Not open to primary stale data propagation
        const PSDP_NO = 1 << 15;
        /// VERW overwrites fill buffers
        const FB_CLEAR = 1 << 17;
        /// An empty return stack falls back to other predictors, restricted by IBRS
        const RRSBA = 1 << 19;
        /// Not open to branch history injection
        const BHI_NO = 1 << 20;
        /// Not open to post-barrier return-stack predictions
        const PBRSB_NO = 1 << 24;
        /// IA32_MCU_OPT_CTRL can switch the mending of gather data sampling
        const GDS_CTRL = 1 << 25;
        /// Not open to gather data sampling
        const GDS_NO = 1 << 26;
        /// Not open to register file data sampling
        const RFDS_NO = 1 << 27;
        /// VERW clears register files
        const RFDS_CLEAR = 1 << 28;
        /// Not open to indirect target selection
        const ITS_NO = 1 << 62;
    }
}
