//! What Intel's processors of family 6 are known to have and not to have, by model, where they cannot say it
//! themselves ("Affected Processors: Transient Execution Attacks & Related Security Issues by CPU").

use bitflags::bitflags;

bitflags! {
    /// Weaknesses that hang on the model.
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    pub(super) struct Weak: u16 {
        /// L1 terminal fault
        const L1TF = 1 << 0;
        /// Microarchitectural data sampling
        const MDS = 1 << 1;
        /// Processor MMIO stale data
        const MMIO = 1 << 2;
        /// Register file data sampling
        const RFDS = 1 << 3;
        /// Machine-check error on a change of page size
        const ITLB = 1 << 4;
        /// Returns that an empty return stack has predicted from the branch target buffer
        const RETBLEED = 1 << 5;
        /// Speculative store bypass
        const SSB = 1 << 6;
        /// Post-barrier return-stack predictions
        const PBRSB = 1 << 7;
        /// Gather data sampling
        const GDS = 1 << 8;
        /// Special register buffer data sampling
        const SRBDS = 1 << 9;
        /// Indirect target selection, from a guest to its hypervisor
        const ITS = 1 << 10;
    }
}

/// What a processor is taken to have until it says otherwise: the rest is known of the listed models only.
const UNLESS_DENIED: Weak = Weak::L1TF
    .union(Weak::MDS)
    .union(Weak::ITLB)
    .union(Weak::SSB)
    .union(Weak::PBRSB);

struct Row {
    models: &'static [u32],
    /// From this one on
    stepping: u32,
    has: Weak,
    has_not: Weak,
}

/// What these models have beyond [`UNLESS_DENIED`].
const fn has(models: &'static [u32], stepping: u32, has: &[Weak]) -> Row {
    Row {
        models,
        stepping,
        has: all(has),
        has_not: Weak::empty(),
    }
}

/// What of [`UNLESS_DENIED`] these models have not.
const fn has_not(models: &'static [u32], has_not: &[Weak]) -> Row {
    Row {
        models,
        stepping: 0,
        has: Weak::empty(),
        has_not: all(has_not),
    }
}

const fn all(mut weak: &[Weak]) -> Weak {
    let mut union = Weak::empty();
    while let [first, rest @ ..] = weak {
        union = union.union(*first);
        weak = rest;
    }
    union
}

use Weak as W;

const TABLE: &[Row] = &[
    // Ivy Bridge; Haswell and Broadwell of the desktop
    has(&[0x3a, 0x3c, 0x45, 0x46, 0x3d, 0x47], 0, &[W::SRBDS]),
    // Haswell and Broadwell of servers
    has(&[0x3f, 0x4f, 0x56], 0, &[W::MMIO]),
    // Skylake, Kaby Lake and all to Coffee Lake
    has(
        &[0x4e, 0x5e, 0x8e, 0x9e],
        0,
        &[W::MMIO, W::RETBLEED, W::GDS, W::SRBDS],
    ),
    has(&[0x8e], 0xc, &[W::ITS]),
    has(&[0x9e], 0xd, &[W::ITS]),
    // Skylake, Cascade Lake (from stepping 5) and Cooper Lake of servers
    has(&[0x55], 0, &[W::MMIO, W::RETBLEED, W::GDS]),
    has(&[0x55], 6, &[W::ITS]),
    // Cannon Lake
    has(&[0x66], 0, &[W::RETBLEED]),
    // Ice Lake: client, Xeon D, server
    has(&[0x7e], 0, &[W::MMIO, W::RETBLEED, W::GDS]),
    has(&[0x6c, 0x6a], 0, &[W::MMIO, W::GDS]),
    // Comet Lake
    has(&[0xa5], 0, &[W::MMIO, W::RETBLEED, W::GDS, W::ITS]),
    has(&[0xa6], 0, &[W::MMIO, W::RETBLEED, W::ITS]),
    has(&[0xa6], 1, &[W::GDS]),
    // Rocket Lake
    has(&[0xa7], 0, &[W::MMIO, W::RETBLEED, W::GDS]),
    // Tiger Lake
    has(&[0x8c, 0x8d], 0, &[W::GDS]),
    // Lakefield
    has(&[0x8a], 0, &[W::MMIO, W::RETBLEED]),
    // Alder Lake, Raptor Lake and Gracemont alone: their small cores
    has(&[0x97, 0x9a, 0xb7, 0xba, 0xbf, 0xbe], 0, &[W::RFDS]),
    // Goldmont, Denverton, Goldmont Plus
    has(&[0x5c, 0x5f, 0x7a], 0, &[W::RFDS]),
    has_not(&[0x5c, 0x5f, 0x7a], &[W::L1TF, W::MDS, W::ITLB]),
    has_not(&[0x7a], &[W::PBRSB]),
    // Tremont: of servers, Elkhart Lake, Jasper Lake
    has(&[0x86, 0x96, 0x9c], 0, &[W::MMIO, W::RFDS]),
    has_not(&[0x86, 0x96, 0x9c], &[W::PBRSB]),
    has_not(&[0x86], &[W::ITLB]),
    // Silvermont, Airmont, and the Xeon Phis that descend from them
    has_not(
        &[0x37, 0x4a, 0x4c, 0x4d, 0x5a, 0x5d, 0x57, 0x85],
        &[W::L1TF, W::ITLB, W::SSB],
    ),
];

/// What a processor has as far as its family and model tell.
pub(super) fn weaknesses(family: u32, model: u32, stepping: u32) -> Weak {
    TABLE
        .iter()
        .filter(|row| family == 6 && row.models.contains(&model) && stepping >= row.stepping)
        .fold(UNLESS_DENIED, |weak, row| {
            weak.union(row.has).difference(row.has_not)
        })
}
