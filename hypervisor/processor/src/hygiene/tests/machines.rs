//! The machines: what they say of themselves, and what follows.

use crate::hygiene::Actions;
use spec::cpuid::{Leaf7Ebx, Leaf7Edx, Leaf7Sub2Edx};
use spec::msr::ArchCapabilities;

#[derive(Clone, Copy)]
pub(super) struct Machine {
    pub(super) name: &'static str,
    /// Leaf 1, EAX
    pub(super) signature: u32,
    pub(super) leaf_7_ebx: Leaf7Ebx,
    pub(super) leaf_7_edx: Leaf7Edx,
    pub(super) leaf_7_2_edx: Leaf7Sub2Edx,
    pub(super) caps: Option<ArchCapabilities>,
    pub(super) at_vm_change: Actions,
    pub(super) at_entry: Actions,
    pub(super) at_exit: Actions,
    pub(super) exposures: &'static [(&'static str, bool)],
    pub(super) why: &'static str,
}

macro_rules! bits {
    ($set:ident: $($bit:ident)*) => { $set::from_bits_retain(0 $(| $set::$bit.bits())*) };
}

macro_rules! caps {
    (none) => { None };
    ($($bit:ident)*) => { Some(bits!(ArchCapabilities: $($bit)*)) };
}

macro_rules! machines {
    ($($name:literal, $signature:literal,
        has [$($b:ident)*; $($d:ident)*; $($s:ident)*], caps [$($cap:ident)*],
        change [$($change:ident)*], entry [$($entry:ident)*], exit [$($exit:ident)*],
        handled [$($handled:literal)*], open [$($open:literal)*],
        $why:literal;)*) => {
        pub(super) const MACHINES: &[Machine] = &[$(Machine {
            name: $name,
            signature: $signature,
            leaf_7_ebx: bits!(Leaf7Ebx: $($b)*),
            leaf_7_edx: bits!(Leaf7Edx: $($d)*),
            leaf_7_2_edx: bits!(Leaf7Sub2Edx: $($s)*),
            caps: caps!($($cap)*),
            at_vm_change: bits!(Actions: $($change)*),
            at_entry: bits!(Actions: $($entry)*),
            at_exit: bits!(Actions: $($exit)*),
            exposures: &[$(($handled, true),)* $(($open, false),)*],
            why: $why,
        },)*];
    };
}

machines! {
    "Westmere", 0x206c2,
    has [; IBRS STIBP SSBD L1D_FLUSH;], caps [none],
    change [RSB_FILL IBPB L1D_FLUSH], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "L1TF" "SSB"], open ["MDS" "iTLB multihit"],
    "its last microcode is of 2018: predictors and L1, but no MD_CLEAR";

    "Sandy Bridge", 0x206a7,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;], caps [none],
    change [RSB_FILL IBPB L1D_FLUSH], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "L1TF" "MDS" "SSB"], open ["iTLB multihit"],
    "the oldest with MD_CLEAR";

    "Ivy Bridge", 0x306a9,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR SRBDS_CTRL;], caps [none],
    change [RSB_FILL IBPB L1D_FLUSH], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "L1TF" "MDS" "SSB" "SRBDS"], open ["iTLB multihit"],
    "the first with RDRAND, so the first with SRBDS";

    "Haswell", 0x306c3,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR SRBDS_CTRL;], caps [none],
    change [RSB_FILL IBPB L1D_FLUSH], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "L1TF" "MDS" "SSB" "SRBDS"], open ["iTLB multihit"],
    "microcode has taken RTM away, so no TAA";

    "Haswell server", 0x306f2,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;], caps [none],
    change [RSB_FILL IBPB L1D_FLUSH VERW], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "L1TF" "MDS" "MMIO stale data" "SSB"], open ["iTLB multihit"],
    "servers have MMIO stale data where clients of the same core have SRBDS";

    "Broadwell", 0x306d4,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR SRBDS_CTRL;], caps [none],
    change [RSB_FILL IBPB L1D_FLUSH], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "L1TF" "MDS" "TAA" "SSB" "SRBDS"], open ["iTLB multihit"],
    "RTM works from here on, so TAA comes in";

    "Skylake", 0x506e3,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR SRBDS_CTRL;], caps [RSBA GDS_CTRL],
    change [RSB_FILL IBPB L1D_FLUSH VERW], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "L1TF" "MDS" "TAA" "MMIO stale data" "GDS" "SRBDS" "SSB"],
    open ["iTLB multihit"],
    "an empty return stack falls back to the branch targets: IBRS in root mends it";

    "Skylake server", 0x50654,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;], caps [RSBA GDS_CTRL],
    change [RSB_FILL IBPB L1D_FLUSH VERW], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "L1TF" "MDS" "TAA" "MMIO stale data" "GDS" "SSB"], open ["iTLB multihit"],
    "as the client, without SRBDS";

    "Kaby Lake", 0x906e9,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR SRBDS_CTRL;], caps [RSBA GDS_CTRL],
    change [RSB_FILL IBPB L1D_FLUSH VERW], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "L1TF" "MDS" "MMIO stale data" "GDS" "SRBDS" "SSB"], open ["iTLB multihit"],
    "RTM is off by microcode of 2021";

    "Coffee Lake Refresh", 0x906ed,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR SRBDS_CTRL;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO FB_CLEAR GDS_CTRL RRSBA],
    change [RSB_FILL IBPB VERW], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "MMIO stale data" "GDS" "SRBDS" "SSB"],
    open ["BHI" "ITS" "iTLB multihit"],
    "stepping 13 is the first client mended in silicon; its model number is Kaby Lake's";

    "Cascade Lake, stepping 5", 0x50655,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;], caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY TSX_CTRL GDS_CTRL RRSBA],
    change [RSB_FILL IBPB VERW], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "MDS" "TAA" "MMIO stale data" "GDS" "SSB"], open ["BHI" "iTLB multihit"],
    "RDCL_NO but not yet MDS_NO";

    "Cascade Lake, stepping 7", 0x50657,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO TSX_CTRL FB_CLEAR GDS_CTRL RRSBA],
    change [RSB_FILL IBPB VERW], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "TAA" "MMIO stale data" "GDS" "SSB"],
    open ["BHI" "ITS" "iTLB multihit"],
    "MDS_NO, and TAA alone still asks for VERW; ITS from stepping 6 on";

    "Ice Lake client", 0x706e5,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO TAA_NO FB_CLEAR GDS_CTRL RRSBA],
    change [RSB_FILL IBPB VERW], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "MMIO stale data" "GDS" "SSB"], open ["BHI"],
    "no large-page weakness from here on; no BHI_DIS_S yet";

    "Ice Lake server", 0x606a6,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO TSX_CTRL TAA_NO FB_CLEAR GDS_CTRL],
    change [RSB_FILL IBPB VERW], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "PBRSB" "MMIO stale data" "GDS" "SSB"], open ["BHI"],
    "RTM without TAA; not among those with Retbleed";

    "Comet Lake", 0xa0655,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO TSX_CTRL FB_CLEAR GDS_CTRL RRSBA],
    change [RSB_FILL IBPB VERW], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "MMIO stale data" "GDS" "SSB"], open ["BHI" "ITS" "iTLB multihit"],
    "Skylake's core once more, so iTLB multihit stays";

    "Comet Lake U, stepping 0", 0xa0660,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;], caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO FB_CLEAR RRSBA],
    change [RSB_FILL IBPB VERW], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "MMIO stale data" "SSB"], open ["BHI" "ITS" "iTLB multihit"],
    "the stepping that is not on the list for GDS";

    "Tiger Lake", 0x806c1,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO GDS_CTRL],
    change [RSB_FILL IBPB], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "PBRSB" "GDS" "SSB"], open ["BHI"],
    "the first without MMIO stale data";

    "Alder Lake", 0x90672,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR; BHI_CTRL],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO PBRSB_NO
        GDS_NO RFDS_CLEAR RRSBA],
    change [RSB_FILL IBPB], entry [VERW], exit [],
    handled ["Spectre v2" "BHI" "RFDS" "SSB"], open [],
    "its small cores have RFDS; no guard where a guest's returns stay out of root";

    "Sapphire Rapids", 0x806f8,
    has [RTM; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR; BHI_CTRL],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO TSX_CTRL TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO
        PBRSB_NO GDS_NO RFDS_NO RRSBA],
    change [RSB_FILL IBPB], entry [], exit [],
    handled ["Spectre v2" "BHI" "SSB"], open [],
    "only the predictors are left to clear";

    "Silvermont", 0x30678,
    has [; IBRS STIBP;], caps [none],
    change [RSB_FILL IBPB], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2"], open ["MDS"],
    "only its store buffers leak, and without MD_CLEAR nothing clears them";

    "Goldmont", 0x506c9,
    has [; IBRS STIBP SSBD;], caps [RFDS_CLEAR],
    change [RSB_FILL IBPB], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "RFDS" "SSB"], open [],
    "no L1TF and no MDS, but RFDS, for which VERW needs no MD_CLEAR";

    "Goldmont, old microcode", 0x506c9,
    has [; IBRS STIBP SSBD;], caps [RDCL_NO],
    change [RSB_FILL IBPB], entry [], exit [RETURN_GUARD],
    handled ["Spectre v2" "SSB"], open ["RFDS"],
    "on the list for RFDS though it says nothing of it";

    "Goldmont Plus", 0x706a1,
    has [; IBRS STIBP SSBD;], caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY RFDS_CLEAR],
    change [RSB_FILL IBPB], entry [VERW], exit [],
    handled ["Spectre v2" "RFDS" "SSB"], open ["BHI"],
    "enhanced IBRS without PBRSB, by its model";

    "Tremont", 0x90661,
    has [; IBRS STIBP SSBD MD_CLEAR;],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO FB_CLEAR RFDS_CLEAR],
    change [RSB_FILL IBPB VERW], entry [VERW], exit [],
    handled ["Spectre v2" "MMIO stale data" "RFDS" "SSB"], open ["BHI"],
    "the one Atom with MMIO stale data";

    "Gracemont", 0xb06e0,
    has [; IBRS STIBP SSBD MD_CLEAR; BHI_CTRL],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY MDS_NO IF_PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO PBRSB_NO
        GDS_NO RFDS_CLEAR],
    change [RSB_FILL IBPB], entry [VERW], exit [],
    handled ["Spectre v2" "BHI" "RFDS" "SSB"], open [],
    "Alder Lake's small cores alone";

    "of tomorrow", 0x400f10,
    has [; IBRS STIBP SSBD; BHI_CTRL],
    caps [RDCL_NO IBRS_ALL SKIP_L1DFL_VMENTRY SSB_NO MDS_NO IF_PSCHANGE_MC_NO TAA_NO SBDR_SSDP_NO FBSDP_NO PSDP_NO
        BHI_NO PBRSB_NO GDS_NO RFDS_NO ITS_NO],
    change [RSB_FILL IBPB], entry [], exit [],
    handled ["Spectre v2"], open [],
    "no table knows it: all comes from what it says";

    "of tomorrow, weak", 0xf06f0,
    has [; IBRS STIBP SSBD MD_CLEAR L1D_FLUSH;], caps [IBRS_ALL RFDS_CLEAR RSBA],
    change [RSB_FILL IBPB L1D_FLUSH], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "L1TF" "MDS" "RFDS" "SSB"], open ["BHI" "iTLB multihit"],
    "unknown and without denials: what is not denied is taken to be there";

    "emulated Broadwell", 0x306d4,
    has [;;], caps [none],
    change [RSB_FILL], entry [], exit [RETURN_GUARD],
    handled ["SSB"], open ["Spectre v2" "L1TF" "MDS" "iTLB multihit" "SRBDS"],
    "the emulator names the model and none of its microcode's mends";

    "emulated Skylake server", 0x50654,
    has [;;], caps [none],
    change [RSB_FILL], entry [], exit [RETURN_GUARD],
    handled ["MMIO stale data" "SSB"], open ["Spectre v2" "Retbleed" "L1TF" "MDS" "iTLB multihit" "GDS"],
    "as above";

    "emulated Tiger Lake", 0x806c1,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR;], caps [RDCL_NO IBRS_ALL RSBA SKIP_L1DFL_VMENTRY SSB_NO],
    change [RSB_FILL IBPB], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "PBRSB" "MDS"], open ["BHI" "iTLB multihit" "GDS"],
    "the emulator gives the register five bits and knows no later ones";

    "emulated Sapphire Rapids", 0x806f8,
    has [; IBRS STIBP SSBD L1D_FLUSH MD_CLEAR; PSFD IPRED_CTRL RRSBA_CTRL BHI_CTRL],
    caps [RDCL_NO IBRS_ALL RSBA SKIP_L1DFL_VMENTRY SSB_NO],
    change [RSB_FILL IBPB], entry [VERW], exit [RETURN_GUARD],
    handled ["Spectre v2" "Retbleed" "BHI" "PBRSB" "MDS"], open ["iTLB multihit"],
    "as above, with BHI_DIS_S";
}
