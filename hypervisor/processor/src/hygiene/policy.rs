//! The policy itself.

use super::models::{self, Weak};
use super::{Actions, Exposures, Facts, Hygiene, Vendor};
use spec::cpuid::{Leaf7Ebx, Leaf7Edx, Leaf7Sub2Edx};
use spec::msr::{ArchCapabilities as Caps, SpecCtrl};

/// What the machine has to do, and what it is open to.
#[must_use]
pub fn policy(facts: &Facts) -> Hygiene {
    let mut hygiene = Hygiene {
        // Whoever made it, it predicts returns, and nothing that CPUID tells of is needed to fill its stack.
        at_vm_change: Actions::RSB_FILL,
        at_entry: Actions::empty(),
        at_exit: Actions::RETURN_GUARD,
        root_spec_ctrl: None,
        rewrite_spec_ctrl: false,
        no_large_executable_pages: false,
        exposures: Exposures::default(),
    };
    match facts.vendor {
        Vendor::Intel => {
            let weak = weaknesses(facts);
            branches(facts, weak, &mut hygiene);
            buffers(facts, weak, &mut hygiene);
            others(facts, weak, &mut hygiene);
        }
        Vendor::Other => hygiene.exposures.add(
            "unknown vendor",
            false,
            "only Intel's processors are judged; nothing but the return stack is cleared",
        ),
    }
    hygiene
}

/// What the model has, without what the processor says that it has not.
fn weaknesses(facts: &Facts) -> Weak {
    let mut weak = models::weaknesses(facts.family, facts.model, facts.stepping);
    if facts.says(Caps::RFDS_CLEAR) {
        weak |= Weak::RFDS;
    }
    if facts.says(Caps::RSBA) {
        weak |= Weak::RETBLEED;
    }
    for (no, denied) in [
        (Caps::RDCL_NO, Weak::L1TF),
        (Caps::MDS_NO, Weak::MDS),
        (
            Caps::SBDR_SSDP_NO | Caps::FBSDP_NO | Caps::PSDP_NO,
            Weak::MMIO,
        ),
        (Caps::RFDS_NO, Weak::RFDS),
        (Caps::IF_PSCHANGE_MC_NO, Weak::ITLB),
        (Caps::SSB_NO, Weak::SSB),
        (Caps::PBRSB_NO, Weak::PBRSB),
        (Caps::GDS_NO, Weak::GDS),
        (Caps::ITS_NO, Weak::ITS),
    ] {
        if facts.says(no) {
            weak.remove(denied);
        }
    }
    if !facts.says(Caps::IBRS_ALL) {
        // It speaks of the return stack as enhanced IBRS leaves it.
        weak.remove(Weak::PBRSB);
    }
    weak
}

/// Predictors of branches: what one VM teaches them must not steer another, nor root.
///
/// Our code is built without retpolines, so only IBRS keeps the indirect branches of root (few: calls of chips by
/// trait, and the jump tables of `match`) from what a guest has taught. It costs two writes of SPEC_CTRL an exit
/// where guest and root want different values. Enhanced IBRS is set once by every guest kernel that knows it, and then
/// both are equal. The older IBRS is slower, must be written at each exit, and gets it all the same: isolation is what
/// we are for.
fn branches(facts: &Facts, weak: Weak, hygiene: &mut Hygiene) {
    let found = &mut hygiene.exposures;
    let ibrs = facts.leaf_7_edx.contains(Leaf7Edx::IBRS);
    let enhanced = ibrs && facts.says(Caps::IBRS_ALL);
    if ibrs {
        hygiene.at_vm_change |= Actions::IBPB;
        let mut root = SpecCtrl::IBRS;
        if facts.used.shared_siblings && facts.leaf_7_edx.contains(Leaf7Edx::STIBP) {
            root |= SpecCtrl::STIBP;
        }
        if facts.leaf_7_2_edx.contains(Leaf7Sub2Edx::BHI_CTRL) {
            root |= SpecCtrl::BHI_DIS_S;
        }
        hygiene.root_spec_ctrl = Some(root.bits());
        hygiene.rewrite_spec_ctrl = !enhanced;
    }
    let mend = match (ibrs, enhanced) {
        (_, true) => "enhanced IBRS in root, IBPB at each change of VM",
        (true, _) => "IBRS in root, IBPB at each change of VM, return stack filled",
        _ => "needs microcode with IBRS and IBPB",
    };
    found.add("Spectre v2", ibrs, mend);
    if weak.contains(Weak::RETBLEED) {
        found.add("Retbleed", ibrs, if ibrs { "IBRS in root" } else { mend });
    }
    if enhanced && !facts.says(Caps::BHI_NO) {
        let control = facts.leaf_7_2_edx.contains(Leaf7Sub2Edx::BHI_CTRL);
        let mend = if control {
            "BHI_DIS_S in root"
        } else {
            "no BHI_DIS_S: a guest's branch history reaches the few indirect branches of root"
        };
        found.add("BHI", control, mend);
    }
    if weak.contains(Weak::ITS) {
        let mend = "IBPB at each change of VM; the few indirect branches of root are not aligned against it";
        found.add("ITS", false, mend);
    }
    // Enhanced IBRS keeps a guest's returns out of root, but for the one that this weakness lets through
    // ("Post-barrier Return Stack Buffer Predictions").
    if enhanced && !weak.contains(Weak::PBRSB) {
        hygiene.at_exit.remove(Actions::RETURN_GUARD);
    }
    if weak.contains(Weak::PBRSB) {
        found.add("PBRSB", true, "one call and LFENCE after each exit");
    }
}

/// Buffers and caches: what others left there must not be read by a guest.
fn buffers(facts: &Facts, weak: Weak, hygiene: &mut Hygiene) {
    let found = &mut hygiene.exposures;
    let has = |bit| facts.leaf_7_edx.contains(bit);
    let apart = !facts.used.shared_siblings;

    if weak.contains(Weak::L1TF) {
        let flush = has(Leaf7Edx::L1D_FLUSH);
        let skip = facts.says(Caps::SKIP_L1DFL_VMENTRY);
        if flush && !skip {
            hygiene.at_vm_change |= Actions::L1D_FLUSH;
        }
        // At a change of VM and not at each entry: between two changes L1 holds this VM's data and the
        // hypervisor's own, which are code, counters and the state of this VM; no secret of another VM.
        let mend = match (apart, skip, flush) {
            (false, ..) => SHARED,
            (_, true, _) => "the hypervisor below flushes",
            (_, _, true) => "L1D flush at each change of VM; the hypervisor's own data stays",
            _ => "needs microcode with L1D_FLUSH",
        };
        found.add("L1TF", apart && (skip || flush), mend);
    }

    let verw = has(Leaf7Edx::MD_CLEAR);
    // TSX asynchronous abort leaves what MDS leaves; without RTM no guest can start a transaction.
    let taa = facts.leaf_7_ebx.contains(Leaf7Ebx::RTM) && !facts.says(Caps::TAA_NO);
    for (name, open) in [("MDS", weak.contains(Weak::MDS)), ("TAA", taa)] {
        if open {
            if verw {
                hygiene.at_entry |= Actions::VERW;
            }
            found.add(name, verw && apart, cleared(verw, apart));
        }
    }
    if weak.contains(Weak::MMIO) {
        // Where MDS is mended by VERW, fill buffers are overwritten as well.
        let clears = facts.says(Caps::FB_CLEAR) || verw && !facts.says(Caps::MDS_NO);
        if clears && facts.used.direct_devices {
            hygiene.at_entry |= Actions::VERW;
        } else if clears {
            // Who reads no device's registers cannot sample. Should a way be found, it finds its own VM's data only.
            hygiene.at_vm_change |= Actions::VERW;
        }
        let sampled = facts.used.direct_devices;
        let mend = match (sampled, clears) {
            (false, _) => "no guest reads a device's registers without an exit",
            (true, _) => cleared(clears, apart),
        };
        found.add("MMIO stale data", !sampled || clears && apart, mend);
    }
    if weak.contains(Weak::RFDS) {
        let clears = facts.says(Caps::RFDS_CLEAR);
        if clears {
            hygiene.at_entry |= Actions::VERW;
        }
        found.add("RFDS", clears, cleared(clears, true));
    }
}

const SHARED: &str = "open between sibling threads that run different VMs; use smt = \"off\"";

/// What is said of a weakness that VERW mends.
const fn cleared(verw: bool, apart: bool) -> &'static str {
    match (verw, apart) {
        (true, true) => "VERW before each entry",
        (true, false) => SHARED,
        (false, _) => "needs microcode in which VERW clears buffers",
    }
}

/// What microcode mends alone, or the choice of page sizes, or a guest for itself.
fn others(facts: &Facts, weak: Weak, hygiene: &mut Hygiene) {
    let found = &mut hygiene.exposures;
    let has = |bit| facts.leaf_7_edx.contains(bit);
    if weak.contains(Weak::ITLB) {
        hygiene.no_large_executable_pages = true;
        let mend = "open unless nested pages that may be executed are of 4 KiB";
        found.add("iTLB multihit", false, mend);
    }
    if weak.contains(Weak::GDS) {
        let mended = facts.says(Caps::GDS_CTRL);
        let mend = if mended {
            "microcode"
        } else {
            "needs microcode"
        };
        found.add("GDS", mended, mend);
    }
    if weak.contains(Weak::SRBDS) {
        let mended = has(Leaf7Edx::SRBDS_CTRL);
        let mend = if mended {
            "microcode"
        } else {
            "needs microcode"
        };
        found.add("SRBDS", mended, mend);
    }
    if weak.contains(Weak::SSB) {
        // It reads what the same code stored before, so it crosses no border between VMs.
        let mend = if has(Leaf7Edx::SSBD) {
            "within one VM; each guest may set SSBD"
        } else {
            "within one VM; guests need microcode with SSBD"
        };
        found.add("SSB", true, mend);
    }
}
