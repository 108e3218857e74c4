//! CPUID: leaf numbers and feature bits (SDM vol. 2, "CPUID—CPU Identification").
//!
//! Feature bits carry the manual's short names; only those that some part of us names are here.

use bitflags::bitflags;

/// What CPUID answers: EAX, EBX, ECX, EDX.
pub type Registers = [u32; 4];

/// Index of EAX in [`Registers`].
pub const EAX: usize = 0;
/// Index of EBX in [`Registers`].
pub const EBX: usize = 1;
/// Index of ECX in [`Registers`].
pub const ECX: usize = 2;
/// Index of EDX in [`Registers`].
pub const EDX: usize = 3;

/// Leaf numbers.
pub mod leaf {
    /// Largest basic leaf, and vendor
    pub const VENDOR: u32 = 0x0;
    /// Version and features
    pub const FEATURES: u32 = 0x1;
    /// Cache and TLB descriptors
    pub const CACHE_DESCRIPTORS: u32 = 0x2;
    /// Deterministic cache parameters, by subleaf
    pub const CACHES: u32 = 0x4;
    /// Thermal and power management
    pub const POWER: u32 = 0x6;
    /// Structured extended features, by subleaf
    pub const EXTENDED_FEATURES: u32 = 0x7;
    /// Extended topology, by subleaf
    pub const TOPOLOGY: u32 = 0xb;
    /// Processor extended states, by subleaf
    pub const XSTATE: u32 = 0xd;
    /// Time-stamp counter and core crystal clock
    pub const TSC: u32 = 0x15;
    /// Processor frequencies
    pub const FREQUENCY: u32 = 0x16;
    /// First of the leaves that the manual leaves to hypervisors
    pub const HYPERVISOR: u32 = 0x4000_0000;
    /// Last of them
    pub const HYPERVISOR_LAST: u32 = 0x4fff_ffff;
    /// Largest extended leaf
    pub const EXTENDED: u32 = 0x8000_0000;
    /// Extended features
    pub const EXTENDED_1: u32 = 0x8000_0001;
    /// First of three leaves of brand string
    pub const BRAND: u32 = 0x8000_0002;
    /// L2 cache
    pub const L2_CACHE: u32 = 0x8000_0006;
    /// Invariant TSC
    pub const INVARIANT_TSC: u32 = 0x8000_0007;
    /// Address widths
    pub const ADDRESS_SIZES: u32 = 0x8000_0008;
}

/// Leaf 6, EAX: the local APIC's timer runs in every power state
pub const ARAT: u32 = 1 << 2;
/// Leaf 0x80000007, EDX: the TSC's rate never changes
pub const INVARIANT_TSC: u32 = 1 << 8;
/// Leaf 0xd, subleaf 2 and up, ECX: the state is aligned to 64 bytes in the compacted form
pub const XSTATE_ALIGNED: u32 = 1 << 1;

macro_rules! features {
    ($($(#[doc = $doc:literal])* $name:ident { $($bit:ident = $n:literal,)* })*) => {
        bitflags! {
            $(
                $(#[doc = $doc])*
                #[derive(Clone, Copy, PartialEq, Eq, Debug)]
                #[repr(transparent)]
                pub struct $name: u32 {
                    $(#[doc = concat!("Bit ", $n, ", by the manual's name")] const $bit = 1 << $n;)*
                }
            )*
        }
    };
}

features! {
    /// Leaf 1, ECX
    Leaf1Ecx {
        SSE3 = 0, PCLMULQDQ = 1, DTES64 = 2, MONITOR = 3, DS_CPL = 4, VMX = 5, SMX = 6, EIST = 7, TM2 = 8,
        SSSE3 = 9, CNXT_ID = 10, SDBG = 11, FMA = 12, CMPXCHG16B = 13, XTPR = 14, PDCM = 15, PCID = 17, DCA = 18,
        SSE4_1 = 19, SSE4_2 = 20, X2APIC = 21, MOVBE = 22, POPCNT = 23, TSC_DEADLINE = 24, AESNI = 25,
        XSAVE = 26, OSXSAVE = 27, AVX = 28, F16C = 29, RDRAND = 30, HYPERVISOR = 31,
    }
    /// Leaf 1, EDX
    Leaf1Edx {
        FPU = 0, VME = 1, DE = 2, PSE = 3, TSC = 4, MSR = 5, PAE = 6, MCE = 7, CX8 = 8, APIC = 9, SEP = 11,
        MTRR = 12, PGE = 13, MCA = 14, CMOV = 15, PAT = 16, PSE_36 = 17, PSN = 18, CLFSH = 19, DS = 21,
        ACPI = 22, MMX = 23, FXSR = 24, SSE = 25, SSE2 = 26, SS = 27, HTT = 28, TM = 29, PBE = 31,
    }
    /// Leaf 7, subleaf 0, EBX
    Leaf7Ebx {
        FSGSBASE = 0, TSC_ADJUST = 1, SGX = 2, BMI1 = 3, HLE = 4, AVX2 = 5, FDP_EXCPTN_ONLY = 6, SMEP = 7,
        BMI2 = 8, ERMS = 9, INVPCID = 10, RTM = 11, RDT_M = 12, FCS_FDS_DEPRECATED = 13, MPX = 14, RDT_A = 15,
        AVX512F = 16, AVX512DQ = 17, RDSEED = 18, ADX = 19, SMAP = 20, AVX512_IFMA = 21, CLFLUSHOPT = 23,
        CLWB = 24, PT = 25, AVX512CD = 28, SHA = 29, AVX512BW = 30, AVX512VL = 31,
    }
    /// Leaf 7, subleaf 0, ECX
    Leaf7Ecx {
        PREFETCHWT1 = 0, AVX512_VBMI = 1, UMIP = 2, PKU = 3, OSPKE = 4, WAITPKG = 5, AVX512_VBMI2 = 6,
        CET_SS = 7, GFNI = 8, VAES = 9, VPCLMULQDQ = 10, AVX512_VNNI = 11, AVX512_BITALG = 12, TME = 13,
        AVX512_VPOPCNTDQ = 14, LA57 = 16, RDPID = 22, KL = 23, BUS_LOCK_DETECT = 24, CLDEMOTE = 25,
        MOVDIRI = 27, MOVDIR64B = 28, ENQCMD = 29, SGX_LC = 30, PKS = 31,
    }
    /// Leaf 7, subleaf 0, EDX
    Leaf7Edx {
        FSRM = 4, UINTR = 5, AVX512_VP2INTERSECT = 8, SRBDS_CTRL = 9, MD_CLEAR = 10, SERIALIZE = 14,
        HYBRID = 15, TSXLDTRK = 16, PCONFIG = 18, ARCH_LBR = 19, CET_IBT = 20, AMX_BF16 = 22, AVX512_FP16 = 23,
        AMX_TILE = 24, AMX_INT8 = 25, IBRS = 26, STIBP = 27, L1D_FLUSH = 28, ARCH_CAPABILITIES = 29,
        CORE_CAPABILITIES = 30, SSBD = 31,
    }
    /// Leaf 7, subleaf 1, EAX
    Leaf7Sub1Eax {
        SHA512 = 0, SM3 = 1, SM4 = 2, AVX_VNNI = 4, AVX512_BF16 = 5, CMPCCXADD = 7, FZRM = 10, FSRS = 11,
        FSRC = 12, AVX_IFMA = 23,
    }
    /// Leaf 7, subleaf 1, EDX
    Leaf7Sub1Edx { AVX_VNNI_INT8 = 4, AVX_NE_CONVERT = 5, AVX_VNNI_INT16 = 10, PREFETCHI = 14, }
    /// Leaf 7, subleaf 2, EDX
    Leaf7Sub2Edx { PSFD = 0, IPRED_CTRL = 1, RRSBA_CTRL = 2, DDPD_U = 3, BHI_CTRL = 4, MCDT_NO = 5, }
    /// Leaf 0xd, subleaf 1, EAX
    LeafDSub1Eax { XSAVEOPT = 0, XSAVEC = 1, XGETBV1 = 2, XSAVES = 3, }
    /// Leaf 0x80000001, ECX
    Extended1Ecx { LAHF = 0, LZCNT = 5, PREFETCHW = 8, }
    /// Leaf 0x80000001, EDX
    Extended1Edx { SYSCALL = 11, NX = 20, PAGE_1GB = 26, RDTSCP = 27, LM = 29, }
}

bitflags! {
    /// XCR0, and leaf 0xd subleaf 0 EDX:EAX (SDM vol. 1, "XSAVE-Managed State").
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    #[repr(transparent)]
    pub struct Xcr0: u64 {
        /// x87, which cannot be switched off
        const X87 = 1 << 0;
        /// SSE: XMM and MXCSR
        const SSE = 1 << 1;
        /// AVX: the upper halves of YMM
        const AVX = 1 << 2;
        /// AVX-512: mask registers, upper halves of ZMM0 to 15, ZMM16 to 31
        const AVX512 = 7 << 5;
    }
}
