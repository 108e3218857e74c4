//! The CPUID policy, leaf by leaf.

use super::derive::{self, Source};
use spec::cpuid::{
    ARAT, Extended1Ecx, Extended1Edx, INVARIANT_TSC, Leaf1Ecx, Leaf1Edx, Leaf7Ebx, Leaf7Ecx,
    Leaf7Edx, Leaf7Sub1Eax, Leaf7Sub1Edx, Registers, leaf,
};

/// One line of the policy. A leaf that has none reads as zero.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// EAX
    pub leaf: u32,
    /// ECX
    pub subleafs: Subleafs,
    /// What is answered
    pub show: Show,
    /// Why
    pub why: &'static str,
}

/// Which subleafs a line is for. The lines of one leaf follow each other, by rising subleaf.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Subleafs {
    /// The leaf has none: ECX does not matter
    None,
    /// This one
    One(u8),
    /// From 0, so many
    First(u8),
}

impl Subleafs {
    pub(super) fn range(self) -> core::ops::Range<u32> {
        match self {
            Self::None => 0..1,
            Self::One(n) => n.into()..u32::from(n) + 1,
            Self::First(n) => 0..n.into(),
        }
    }
}

/// What a line answers.
#[derive(Clone, Copy)]
pub enum Show {
    /// The host's answer, of which these bits, without those that the guest could not use
    Host(Registers),
    /// As [`Show::Host`] with the first, and the bits of the second whatever the host has
    HostAnd(Registers, Registers),
    /// What this computes for a subleaf
    Computed(fn(&Source<'_>, u32) -> Registers),
}

impl core::fmt::Debug for Show {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Host(allow) => write!(f, "Host({allow:#x?})"),
            Self::HostAnd(allow, force) => write!(f, "HostAnd({allow:#x?}, {force:#x?})"),
            Self::Computed(_) => f.write_str("Computed"),
        }
    }
}

/// The union of these bits.
macro_rules! bits {
    ($set:ident: $($bit:ident)*) => { 0 $(| $set::$bit.bits())* };
}

const ALL: u32 = u32::MAX;

/// Instructions that need no more than their bit. Not shown:
/// - VMX, SMX: we have no nesting, and no measured launch.
/// - MONITOR: MWAIT would hold a core that others wait for.
/// - EIST, TM2, DS_CPL, DTES64, CNXT_ID, SDBG, XTPR, PDCM, DCA: each stands for MSRs that the guest does not have.
/// - OSXSAVE repeats a bit of the guest's CR4 and is added at the exit.
const LEAF_1_ECX: u32 = bits!(Leaf1Ecx: SSE3 PCLMULQDQ SSSE3 FMA CMPXCHG16B PCID SSE4_1 SSE4_2 MOVBE POPCNT AESNI
    XSAVE AVX F16C RDRAND);

/// Made by us, whatever the host has: the local APIC is our model.
const LEAF_1_ECX_OURS: u32 = bits!(Leaf1Ecx: X2APIC TSC_DEADLINE HYPERVISOR);

/// MCE and MCA are shown, with no bank of registers (MSR policy): machine checks are the host's to handle, and the guest's
/// CR4.MCE changes nothing, but a kernel without the two tells the user that its machine-check driver failed.
///
/// Not shown:
/// - MTRR: memory types are decided by the nested tables and the PAT; Linux takes their absence without complaint.
/// - PSN, DS, ACPI, TM, PBE: serial number, debug store and thermal MSRs are not there.
/// - HTT says that EBX 23:16 counts, and is added when there is more than one vCPU.
const LEAF_1_EDX: u32 = bits!(Leaf1Edx: FPU VME DE PSE TSC MSR PAE MCE CX8 SEP PGE MCA CMOV PAT PSE_36 CLFSH MMX FXSR SSE
    SSE2 SS);

/// Not shown:
/// - SGX, RDT_M, RDT_A, PT: they reach resources that guests share, or write memory past the nested tables' view.
/// - HLE, RTM: their mitigations need MSRs that are not there; most processors have them off.
/// - MPX: its state is not in the XCR0 that we allow; no processor of today has it.
const LEAF_7_EBX: u32 = bits!(Leaf7Ebx: FSGSBASE BMI1 AVX2 FDP_EXCPTN_ONLY SMEP BMI2 ERMS INVPCID
    FCS_FDS_DEPRECATED AVX512F AVX512DQ RDSEED ADX SMAP AVX512_IFMA CLFLUSHOPT CLWB AVX512CD SHA AVX512BW
    AVX512VL);

/// Not shown:
/// - PKU, PKS: their state is not in the XCR0 that we allow, and PKRU would have to be switched at every exit.
/// - WAITPKG: as MONITOR. CET_SS: its MSRs and supervisor state are not switched.
/// - LA57: nested tables and the checks of canonical addresses are made for 48 bits.
/// - KL, ENQCMD, SGX_LC, TME: state or devices that guests do not have. BUS_LOCK_DETECT: needs DEBUGCTL.
const LEAF_7_ECX: u32 = bits!(Leaf7Ecx: PREFETCHWT1 AVX512_VBMI UMIP AVX512_VBMI2 GFNI VAES VPCLMULQDQ AVX512_VNNI
    AVX512_BITALG AVX512_VPOPCNTDQ RDPID CLDEMOTE MOVDIRI MOVDIR64B);

/// FSRM is promised together with IA32_MISC_ENABLE bit 0, which the MSR policy keeps set. MD_CLEAR tells what VERW
/// does, which needs no MSR. IBRS, STIBP and SSBD let a guest protect its parts from each other, which it cannot do without:
/// Linux says so on Skylake ("vulnerable to RETBleed attacks, data leaks possible"). Where root
/// wants a value of its own in SPEC_CTRL (`processor::hygiene` says which), it is exchanged at each exit and entry;
/// elsewhere the guest's stays in force in root, which it can slow down and no more. A guest starts with zero. Not
/// shown:
/// - L1D_FLUSH: for hypervisors, which a guest cannot be.
/// - ARCH_CAPABILITIES: some of its bits speak to hypervisors, so each needs a judgement of its own; without it guests
///   protect themselves by the older means.
/// - CORE_CAPABILITIES, SRBDS_CTRL: their MSRs act on more than the guest.
/// - UINTR, ARCH_LBR, CET_IBT, AMX: state that is not switched. HYBRID: which kind of core a vCPU runs on may change.
const LEAF_7_EDX: u32 = bits!(Leaf7Edx: FSRM AVX512_VP2INTERSECT MD_CLEAR SERIALIZE AVX512_FP16 IBRS STIBP
    SSBD);

/// Instructions only. Not shown: FRED, LAM, WRMSRNS, HRESET, which have controls or MSRs of their own.
const LEAF_7_1_EAX: u32 =
    bits!(Leaf7Sub1Eax: SHA512 SM3 SM4 AVX_VNNI AVX512_BF16 CMPCCXADD FZRM FSRS FSRC AVX_IFMA);
const LEAF_7_1_EDX: u32 =
    bits!(Leaf7Sub1Edx: AVX_VNNI_INT8 AVX_NE_CONVERT AVX_VNNI_INT16 PREFETCHI);

const EXTENDED_1_ECX: u32 = bits!(Extended1Ecx: LAHF LZCNT PREFETCHW);
const EXTENDED_1_EDX: u32 = bits!(Extended1Edx: SYSCALL NX PAGE_1GB RDTSCP LM);

const fn row(leaf: u32, subleafs: Subleafs, show: Show, why: &'static str) -> Row {
    Row {
        leaf,
        subleafs,
        show,
        why,
    }
}

/// The whole policy, but for the hypervisor leaves.
pub const TABLE: &[Row] = &[
    row(
        leaf::VENDOR,
        Subleafs::None,
        Show::Computed(derive::vendor),
        "the host's vendor, since programs choose code by it and Linux believes leaf 0x15 of GenuineIntel only; \
         our last leaf",
    ),
    row(
        leaf::FEATURES,
        Subleafs::None,
        Show::Computed(derive::features),
        "family and model decide which errata a kernel works around; see the bit lists",
    ),
    row(
        leaf::CACHE_DESCRIPTORS,
        Subleafs::None,
        Show::Host([ALL; 4]),
        "describes the host's caches and TLBs",
    ),
    row(
        leaf::CACHES,
        Subleafs::First(6),
        Show::Computed(derive::caches),
        "the host's caches, shared by the guest's vCPUs only; the level after the last has type 0",
    ),
    row(
        leaf::POWER,
        Subleafs::None,
        Show::HostAnd([0; 4], [ARAT, 0, 0, 0]),
        "our APIC timer never stops; nothing else of power management is the guest's",
    ),
    row(
        leaf::EXTENDED_FEATURES,
        Subleafs::One(0),
        Show::Computed(derive::extended_features),
        "see the bit lists; EAX is the last subleaf",
    ),
    row(
        leaf::EXTENDED_FEATURES,
        Subleafs::One(1),
        Show::Host([LEAF_7_1_EAX, 0, 0, LEAF_7_1_EDX]),
        "instructions",
    ),
    row(
        leaf::TOPOLOGY,
        Subleafs::First(2),
        Show::Computed(derive::topology),
        "one package of single-threaded cores; the APIC id is added at the exit",
    ),
    row(
        leaf::XSTATE,
        Subleafs::First(8),
        Show::Computed(derive::xstate),
        "x87, SSE, AVX and AVX-512 as far as the host has them; sizes that hang on XCR0 are added at the exit",
    ),
    row(
        leaf::TSC,
        Subleafs::None,
        Show::Computed(derive::tsc),
        "the true frequency: the one way to tell Linux without a second clock",
    ),
    row(
        leaf::FREQUENCY,
        Subleafs::None,
        Show::Computed(derive::frequency),
        "agrees with leaf 0x15",
    ),
    row(
        leaf::EXTENDED,
        Subleafs::None,
        Show::Computed(derive::extended),
        "our last extended leaf",
    ),
    row(
        leaf::EXTENDED_1,
        Subleafs::None,
        Show::Host([0, 0, EXTENDED_1_ECX, EXTENDED_1_EDX]),
        "see the bit lists",
    ),
    row(
        leaf::BRAND,
        Subleafs::None,
        Show::Host([ALL; 4]),
        "brand string",
    ),
    row(
        leaf::BRAND + 1,
        Subleafs::None,
        Show::Host([ALL; 4]),
        "brand string",
    ),
    row(
        leaf::BRAND + 2,
        Subleafs::None,
        Show::Host([ALL; 4]),
        "brand string",
    ),
    row(
        leaf::L2_CACHE,
        Subleafs::None,
        Show::Host([0, 0, ALL, 0]),
        "describes the host's L2 cache",
    ),
    row(
        leaf::INVARIANT_TSC,
        Subleafs::None,
        Show::HostAnd([0; 4], [0, 0, 0, INVARIANT_TSC]),
        "time is the TSC; without this bit and TSC_ADJUST Linux distrusts it for want of a second clock",
    ),
    row(
        leaf::ADDRESS_SIZES,
        Subleafs::None,
        Show::Computed(derive::address_sizes),
        "the host's physical width, as the page tables enforce it; linear at most 48 bits, as LA57 is not shown",
    ),
];

/// The bits of leaf 1 that come from the host, and those that do not.
pub(super) const FEATURES: (Registers, Registers) = (
    // EBX: brand index and CLFLUSH line; the rest is computed.
    [ALL, 0xffff, LEAF_1_ECX, LEAF_1_EDX],
    [0, 0, LEAF_1_ECX_OURS, Leaf1Edx::APIC.bits()],
);

/// The same of leaf 7, subleaf 0. IA32_TSC_ADJUST is ours.
pub(super) const EXTENDED_FEATURES: (Registers, Registers) = (
    [ALL, LEAF_7_EBX, LEAF_7_ECX, LEAF_7_EDX],
    [0, Leaf7Ebx::TSC_ADJUST.bits(), 0, 0],
);
