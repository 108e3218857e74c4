//! MSR policy: which registers a guest has, and who serves them. What is not in [`TABLE`] raises #GP.

use crate::cpuid::CpuidPolicy;
use bitflags::bitflags;
use spec::Msr;
use spec::cpuid::{Extended1Edx, LeafDSub1Eax};
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
        Served::Vcpu,
        "its rules hang on CR0 and on what CPUID shows",
    ),
    row(
        msr::PAT,
        Served::Vcpu,
        "in the VMCS; written once at boot, and a wrong value there would fail VM entry",
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
}

impl MsrPolicy {
    /// The policy that goes with a guest's CPUID.
    #[must_use]
    pub fn new(cpuid: &CpuidPolicy) -> Self {
        Self {
            rdtscp: cpuid.extended_1_edx().contains(Extended1Edx::RDTSCP),
            xsaves: cpuid.xstate_features().contains(LeafDSub1Eax::XSAVES),
        }
    }

    fn has(&self, row: &Row) -> bool {
        match row.msr {
            msr::TSC_AUX => self.rdtscp,
            msr::XSS => self.xsaves,
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
mod tests {
    use super::*;

    const FULL: MsrPolicy = MsrPolicy {
        rdtscp: true,
        xsaves: true,
    };
    const BARE: MsrPolicy = MsrPolicy {
        rdtscp: false,
        xsaves: false,
    };

    #[test]
    fn each_register_stands_in_the_table_once_and_with_a_reason() {
        for (i, row) in TABLE.iter().enumerate() {
            assert!(!row.why.is_empty());
            assert!(TABLE[..i].iter().all(|r| r.msr != row.msr), "{:?}", row.msr);
        }
    }

    /// A register here that the processor keeps for the hypervisor would be the end of isolation.
    #[test]
    fn what_is_direct_is_the_guests_own() {
        let direct: alloc::vec::Vec<_> = FULL.direct().collect();
        let own = [
            0x10,
            0x174,
            0x175,
            0x176,
            0xc000_0081,
            0xc000_0082,
            0xc000_0083,
            0xc000_0084,
            0xc000_0100,
            0xc000_0101,
            0xc000_0102,
            0xc000_0103,
        ];
        assert_eq!(direct.len(), own.len());
        for (msr, rights) in direct {
            assert!(own.contains(&msr.0));
            assert_eq!(rights == Rights::READ, msr == msr::TSC);
        }
    }

    #[test]
    fn what_is_not_shown_is_not_there() {
        assert!(BARE.direct().all(|(msr, _)| msr != msr::TSC_AUX));
        assert_eq!(
            (BARE.fixed_read(msr::XSS), FULL.fixed_read(msr::XSS)),
            (None, Some(0))
        );
        assert!(!BARE.write_ignored(msr::XSS, 0));
        for absent in [
            msr::FEATURE_CONTROL,
            msr::VMX_BASIC,
            msr::MTRRCAP,
            msr::SPEC_CTRL,
            Msr(0xce),
            Msr(u32::MAX),
        ] {
            assert_eq!(FULL.fixed_read(absent), None);
            assert!(!FULL.write_ignored(absent, 0));
        }
    }

    #[test]
    fn fixed_registers_take_only_writes_that_change_nothing() {
        let misc = FULL.fixed_read(msr::MISC_ENABLE).unwrap();
        assert_eq!(misc, 0x1801);
        assert!(FULL.write_ignored(msr::MISC_ENABLE, misc));
        assert!(!FULL.write_ignored(msr::MISC_ENABLE, misc & !1));
        assert!(FULL.write_ignored(msr::BIOS_SIGN_ID, 0));
        assert!(!FULL.write_ignored(msr::XSS, 0x100));
        assert!(FULL.write_ignored(msr::DEBUGCTL, 2));
        assert!(!FULL.write_ignored(msr::DEBUGCTL, 4));
        assert!(!FULL.write_ignored(msr::EFER, 0), "the vCPU's, not ours");
    }

    #[test]
    fn pat_and_canonical() {
        assert!(valid_pat(0x0007_0406_0007_0406));
        assert!(valid_pat(0x0105_0406_0007_0406));
        for bad in [0x02, 0x03, 0x08, 0x80, 0xff] {
            for byte in 0..8 {
                assert!(!valid_pat(bad << (8 * byte)));
            }
        }
        for good in [0, 0x7fff_ffff_ffff, 0xffff_8000_0000_0000, u64::MAX] {
            assert!(canonical(good));
        }
        for bad in [0x8000_0000_0000, 0xffff_7fff_ffff_ffff, 1 << 63] {
            assert!(!canonical(bad));
        }
    }
}
