//! MSR policy: which registers a guest has, and who serves them. What is not in [`TABLE`] raises #GP.

use crate::cpuid::CpuidPolicy;
use bitflags::bitflags;
use spec::Msr;
use spec::cpuid::{Extended1Edx, Leaf7Edx, LeafDSub1Eax};
use spec::memory_type::MemoryType;
use spec::msr::{self, MiscEnable};

bitflags! {
    /// What a guest may do with a register without an exit.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub struct Rights: u8 {
        /// RDMSR
        const READ = 1;
        /// WRMSR
        const WRITE = 2;
    }
}

/// Who serves a register.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Served {
    /// The processor: the value belongs to the guest while it runs. What a right is missing for goes to the vCPU.
    Direct(Rights),
    /// The vCPU's software state or its local APIC.
    Vcpu,
    /// Nobody: it reads as `value`, and a write is dropped if it changes no bit but those in `ignored`.
    Fixed {
        /// What it reads as
        value: u64,
        /// Bits that may be written as anything
        ignored: u64,
    },
}

/// One line of the policy.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Row {
    /// The register
    pub msr: Msr,
    /// Who serves it
    pub served: Served,
    /// Why the guest has it, and why so
    pub why: &'static str,
}

const RW: Served = Served::Direct(Rights::all());

const fn row(msr: Msr, served: Served, why: &'static str) -> Row {
    Row { msr, served, why }
}

const fn fixed(value: u64) -> Served {
    Served::Fixed { value, ignored: 0 }
}

const BASE: &str =
    "kept for the guest while it runs; hardware checks that a written base is canonical";
const SYSCALL: &str = "only the guest executes SYSCALL while it runs; exchanged when a vCPU is";
const SYSENTER: &str = "in the VMCS";

/// The whole policy.
pub const TABLE: &[Row] = &[
    row(msr::FS_BASE, RW, BASE),
    row(msr::GS_BASE, RW, BASE),
    row(msr::KERNEL_GS_BASE, RW, BASE),
    row(msr::STAR, RW, SYSCALL),
    row(msr::LSTAR, RW, SYSCALL),
    row(msr::CSTAR, RW, SYSCALL),
    row(msr::FMASK, RW, SYSCALL),
    row(
        msr::TSC_AUX,
        RW,
        "read by RDTSCP without exit; there only where RDTSCP is",
    ),
    row(msr::SYSENTER_CS, RW, SYSENTER),
    row(msr::SYSENTER_ESP, RW, SYSENTER),
    row(msr::SYSENTER_EIP, RW, SYSENTER),
    row(
        msr::SPEC_CTRL,
        RW,
        "the guest's own protection, set at each of its kernel entries on old processors; there only where IBRS, STIBP \
         or SSBD is",
    ),
    row(
        msr::PRED_CMD,
        Served::Direct(Rights::WRITE),
        "a barrier for the branches of this core, which keeps nothing; there only where IBRS is",
    ),
    row(
        msr::TSC,
        Served::Direct(Rights::READ),
        "RDMSR adds the TSC offset as RDTSC does (SDM vol. 3, \"Changes to Instruction Behavior in VMX \
         Non-Root Operation\"); a write moves the guest's offset",
    ),
    row(
        msr::TSC_ADJUST,
        Served::Vcpu,
        "shown, so that Linux need not watch the TSC; moves the offset",
    ),
    row(msr::TSC_DEADLINE, Served::Vcpu, "local APIC timer"),
    row(msr::APIC_BASE, Served::Vcpu, "local APIC mode and address"),
    row(
        msr::EFER,
        Served::Direct(Rights::READ),
        "loaded from the VMCS, so a read finds the guest's; the rules for a write hang on CR0 and on what CPUID shows",
    ),
    row(
        msr::PAT,
        Served::Direct(Rights::READ),
        "loaded from the VMCS; written once at boot, and a wrong value there would fail VM entry",
    ),
    row(
        msr::MISC_ENABLE,
        fixed(
            MiscEnable::FAST_STRINGS.bits()
                | MiscEnable::BTS_UNAVAILABLE.bits()
                | MiscEnable::PEBS_UNAVAILABLE.bits(),
        ),
        "fast strings are on, as FSRM and ERMS in CPUID promise, and Linux drops both if they are not; no \
         performance monitoring",
    ),
    row(
        msr::MCG_CAP,
        fixed(0),
        "no bank, so that no error is ever told here; machine checks are the host's to handle",
    ),
    row(
        msr::MCG_STATUS,
        fixed(0),
        "no machine check is under way; without MCG_CTL_P in MCG_CAP there is no MCG_CTL",
    ),
    row(
        msr::BIOS_SIGN_ID,
        fixed(0),
        "Linux writes 0 before it reads the microcode revision, and warns if it may not; 0 says no update",
    ),
    row(
        msr::PLATFORM_ID,
        fixed(0),
        "read together with the microcode revision",
    ),
    row(
        msr::DEBUGCTL,
        Served::Fixed {
            value: 0,
            ignored: 0b11,
        },
        "Linux writes LBR and BTF without care when a debugger asks for branch steps; they then step singly",
    ),
    row(
        msr::XSS,
        fixed(0),
        "no supervisor state is shown; there only where XSAVES is",
    ),
];

/// What of [`TABLE`] one guest has.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct MsrPolicy {
    rdtscp: bool,
    xsaves: bool,
    /// IA32_SPEC_CTRL
    spec_ctrl: bool,
    /// IA32_PRED_CMD
    pred_cmd: bool,
}

impl MsrPolicy {
    /// The policy that goes with a guest's CPUID.
    #[must_use]
    pub fn new(cpuid: &CpuidPolicy) -> Self {
        Self {
            rdtscp: cpuid.extended_1_edx().contains(Extended1Edx::RDTSCP),
            xsaves: cpuid.xstate_features().contains(LeafDSub1Eax::XSAVES),
            // Each of the three enumerates the register (SDM vol. 4, table of architectural MSRs).
            spec_ctrl: cpuid
                .leaf_7_edx()
                .intersects(Leaf7Edx::IBRS | Leaf7Edx::STIBP | Leaf7Edx::SSBD),
            pred_cmd: cpuid.leaf_7_edx().contains(Leaf7Edx::IBRS),
        }
    }

    fn has(&self, row: &Row) -> bool {
        match row.msr {
            msr::TSC_AUX => self.rdtscp,
            msr::XSS => self.xsaves,
            msr::SPEC_CTRL => self.spec_ctrl,
            msr::PRED_CMD => self.pred_cmd,
            _ => true,
        }
    }

    fn find(&self, msr: Msr) -> Option<Served> {
        let row = TABLE.iter().find(|r| r.msr == msr)?;
        self.has(row).then_some(row.served)
    }

    /// The registers that the guest uses without an exit: what the MSR bitmap lets through.
    pub fn direct(&self) -> impl Iterator<Item = (Msr, Rights)> {
        TABLE
            .iter()
            .filter(|r| self.has(r))
            .filter_map(|r| match r.served {
                Served::Direct(rights) => Some((r.msr, rights)),
                _ => None,
            })
    }

    /// The value of a register that is always the same; `None` if `msr` is none of these.
    #[must_use]
    pub fn fixed_read(&self, msr: Msr) -> Option<u64> {
        match self.find(msr)? {
            Served::Fixed { value, .. } => Some(value),
            _ => None,
        }
    }

    /// Whether a write of `value` to `msr` is dropped without a fault.
    #[must_use]
    pub fn write_ignored(&self, msr: Msr, value: u64) -> bool {
        match self.find(msr) {
            Some(Served::Fixed { value: v, ignored }) => (value ^ v) & !ignored == 0,
            _ => false,
        }
    }
}

/// Whether IA32_PAT may be set to `value`: each byte a memory type, or 7 for UC- (SDM vol. 3, "IA32_PAT MSR").
#[must_use]
pub fn valid_pat(value: u64) -> bool {
    const UC_MINUS: u8 = 7;
    value
        .to_le_bytes()
        .iter()
        .all(|&b| b == UC_MINUS || MemoryType::from_number(b.into()).is_some())
}

/// Whether `address` is canonical with 48-bit linear addresses, which is all that guests have (SDM vol. 1,
/// "Canonical Addressing").
#[must_use]
pub const fn canonical(address: u64) -> bool {
    ((address << 16) as i64 >> 16) as u64 == address
}

#[cfg(test)]
mod tests;
