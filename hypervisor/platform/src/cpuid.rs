//! CPUID policy: what a guest is told of its processor.
//!
//! All answers are computed once, when a VM is made, from the one table in `cpuid/table.rs`; an exit looks one up.

mod derive;
mod table;

use spec::Hz;
use spec::cpu::{Cr4, Efer};
use spec::cpuid::{
    EAX, EBX, ECX, EDX, Extended1Edx, Leaf1Ecx, Leaf1Edx, Leaf7Ebx, Leaf7Ecx, Leaf7Edx,
    LeafDSub1Eax, Registers, Xcr0, leaf,
};
pub use table::{Row, Show, Subleafs, TABLE};

/// Largest basic leaf: the last that says something.
pub const MAX_BASIC: u32 = leaf::FREQUENCY;
/// Largest extended leaf.
pub const MAX_EXTENDED: u32 = leaf::ADDRESS_SIZES;
/// Base of the leaves with our own signature. Linux looks for signatures at each multiple of 0x100.
pub const OWN_BASE: u32 = leaf::HYPERVISOR + 0x100;
/// Our own signature: EBX, ECX, EDX of leaf [`OWN_BASE`]. The leaf after it holds the version.
pub const OWN_SIGNATURE: [u8; 12] = *b"BulkheadBulk";
/// With this one, and no feature at all, Linux keeps the x2APIC, which it otherwise gives up for want of
/// interrupt remapping.
const KVM_SIGNATURE: [u8; 12] = *b"KVMKVMKVM\0\0\0";

/// What the policy must know beside the host's CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// True frequency of the TSC
    pub tsc: Hz,
    /// Number of vCPUs, whose APIC ids are 0 and up; at least one, at most 254
    pub vcpus: u8,
    /// XSAVEC, XSAVES and XRSTORS work on this processor and the guest may execute them
    pub xsaves: bool,
    /// The guest may execute INVPCID
    pub invpcid: bool,
    /// The guest may execute RDTSCP and RDPID
    pub rdtscp: bool,
}

/// What is not the same at every exit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Dynamic {
    /// APIC id of the vCPU
    pub apic_id: u32,
    /// Its local APIC is on, by IA32_APIC_BASE
    pub apic_enabled: bool,
    /// CR4.OSXSAVE of the guest
    pub osxsave: bool,
    /// XCR0 of the guest
    pub xcr0: u64,
}

/// Where the answers of one leaf are.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
struct Slot {
    first: u8,
    /// Number of subleafs; zero if the leaf is hidden
    count: u8,
    /// Whether ECX chooses among them
    indexed: bool,
    /// One answer, the same for every vCPU at any time
    plain: bool,
}

const BASIC_SLOTS: usize = MAX_BASIC as usize + 1;
const EXTENDED_SLOTS: usize = (MAX_EXTENDED - leaf::EXTENDED) as usize + 1;
const ANSWERS: usize = 40;

/// Leaves whose answers hang on the vCPU and its state.
const DYNAMIC: [u32; 3] = [leaf::FEATURES, leaf::TOPOLOGY, leaf::XSTATE];

/// One guest's CPUID.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct CpuidPolicy {
    basic: [Slot; BASIC_SLOTS],
    extended: [Slot; EXTENDED_SLOTS],
    answers: [Registers; ANSWERS],
    crystal: derive::Crystal,
    xcr0: Xcr0,
}

impl CpuidPolicy {
    /// Asks `host` (leaf, subleaf) for all that is passed on, and computes the rest.
    #[must_use]
    #[expect(
        clippy::arithmetic_side_effects,
        clippy::indexing_slicing,
        reason = "a constant table, whose answers ANSWERS counts"
    )]
    pub fn new(host: &dyn Fn(u32, u32) -> Registers, facts: Facts) -> Self {
        let source = derive::Source::new(host, facts);
        let mut policy = Self {
            basic: Default::default(),
            extended: Default::default(),
            answers: [[0; 4]; ANSWERS],
            crystal: source.crystal,
            xcr0: source.xcr0,
        };
        let mut used = 0;
        for row in TABLE {
            for subleaf in row.subleafs.range() {
                policy.answers[used] = source.answer(row, subleaf);
                if let Some(slot) = policy.slot_mut(row.leaf) {
                    if slot.count == 0 {
                        slot.first = used as u8;
                    }
                    slot.count += 1;
                    slot.indexed = row.subleafs != Subleafs::None;
                    slot.plain = !slot.indexed && !DYNAMIC.contains(&row.leaf);
                }
                used += 1;
            }
        }
        policy
    }

    fn slot_mut(&mut self, leaf: u32) -> Option<&mut Slot> {
        match leaf.checked_sub(leaf::EXTENDED) {
            Some(n) => self.extended.get_mut(n as usize),
            None => self.basic.get_mut(leaf as usize),
        }
    }

    /// What a vCPU in state `now` is answered.
    ///
    /// A leaf past the last one answers as the last basic leaf does (SDM vol. 2, "CPUID"), a hidden one and an
    /// absent subleaf zeroes.
    #[inline]
    #[must_use]
    pub fn lookup(&self, leaf: u32, subleaf: u32, now: Dynamic) -> Registers {
        if let Some(slot) = self.basic.get(leaf as usize) {
            // What a guest asks most, and all that a benchmark asks.
            if slot.plain
                && let Some(answer) = self.answers.get(usize::from(slot.first))
            {
                return *answer;
            }
            return self.basic_leaf(leaf, subleaf, now);
        }
        if let Some(slot) = leaf
            .checked_sub(leaf::EXTENDED)
            .and_then(|n| self.extended.get(n as usize))
        {
            return self.stored(*slot, subleaf);
        }
        if (leaf::HYPERVISOR..=leaf::HYPERVISOR_LAST).contains(&leaf) {
            return hypervisor(leaf);
        }
        self.basic_leaf(MAX_BASIC, subleaf, now)
    }

    fn basic_leaf(&self, leaf: u32, subleaf: u32, now: Dynamic) -> Registers {
        let slot = self.basic.get(leaf as usize).copied().unwrap_or_default();
        let mut r = self.stored(slot, subleaf);
        match (leaf, subleaf) {
            (leaf::FEATURES, _) => {
                r[EBX] |= now.apic_id << 24;
                // "Enabling or Disabling the Local APIC": the bit goes with the APIC.
                if !now.apic_enabled {
                    r[EDX] &= !Leaf1Edx::APIC.bits();
                }
                if now.osxsave {
                    r[ECX] |= Leaf1Ecx::OSXSAVE.bits();
                }
            }
            (leaf::TOPOLOGY, _) => {
                // ECX 7:0 repeats the subleaf, and EDX is the id, even of a level that is not there.
                r[ECX] |= subleaf & 0xff;
                r[EDX] = now.apic_id;
            }
            (leaf::XSTATE, 0) if r[EAX] != 0 => r[EBX] = self.xsave_size(now.xcr0, false),
            (leaf::XSTATE, 1) if self.compacts() => r[EBX] = self.xsave_size(now.xcr0, true),
            _ => {}
        }
        r
    }

    #[inline]
    fn stored(&self, slot: Slot, subleaf: u32) -> Registers {
        let n = if slot.indexed { subleaf } else { 0 };
        if n >= u32::from(slot.count) {
            return [0; 4];
        }
        let i = usize::from(slot.first).saturating_add(n as usize);
        self.answers.get(i).copied().unwrap_or_default()
    }

    fn answer(&self, leaf: u32, subleaf: u32) -> Registers {
        let now = Dynamic {
            apic_id: 0,
            apic_enabled: true,
            osxsave: false,
            xcr0: 0,
        };
        self.lookup(leaf, subleaf, now)
    }

    fn compacts(&self) -> bool {
        self.xstate_features()
            .intersects(LeafDSub1Eax::XSAVEC | LeafDSub1Eax::XSAVES)
    }

    /// Bytes of an XSAVE area for the states in `xcr0`.
    #[expect(
        clippy::indexing_slicing,
        reason = "a constant index into a table by leaf"
    )]
    fn xsave_size(&self, xcr0: u64, compacted: bool) -> u32 {
        let slot = self.basic[leaf::XSTATE as usize];
        derive::xsave_size(|n| self.stored(slot, n), xcr0 & self.xcr0.bits(), compacted)
    }

    /// The local APIC timer counts at the TSC's frequency divided by two to the power of this: the core crystal
    /// clock that leaf 0x15 tells of.
    #[must_use]
    pub fn timer_shift(&self) -> u32 {
        self.crystal.shift
    }

    /// Bits of XCR0 that the guest may set.
    #[must_use]
    pub fn xcr0(&self) -> Xcr0 {
        self.xcr0
    }

    /// Leaf 0x80000001, EDX, as shown.
    #[must_use]
    pub fn extended_1_edx(&self) -> Extended1Edx {
        Extended1Edx::from_bits_retain(self.answer(leaf::EXTENDED_1, 0)[EDX])
    }

    /// Leaf 7, subleaf 0, EDX, as shown.
    #[must_use]
    pub fn leaf_7_edx(&self) -> Leaf7Edx {
        Leaf7Edx::from_bits_retain(self.answer(leaf::EXTENDED_FEATURES, 0)[EDX])
    }

    /// Leaf 0xd, subleaf 1, EAX, as shown.
    #[must_use]
    #[expect(
        clippy::indexing_slicing,
        reason = "a constant index into a table by leaf"
    )]
    pub fn xstate_features(&self) -> LeafDSub1Eax {
        let slot = self.basic[leaf::XSTATE as usize];
        LeafDSub1Eax::from_bits_retain(self.stored(slot, 1)[EAX])
    }

    /// Bits of a guest-physical address.
    #[must_use]
    pub fn address_bits(&self) -> u8 {
        self.answer(leaf::ADDRESS_SIZES, 0)[EAX] as u8
    }

    /// Bits of IA32_EFER that the guest may set.
    #[must_use]
    pub fn efer(&self) -> Efer {
        let shown = self.extended_1_edx();
        let mut efer = Efer::empty();
        efer.set(Efer::SCE, shown.contains(Extended1Edx::SYSCALL));
        efer.set(Efer::LME, shown.contains(Extended1Edx::LM));
        efer.set(Efer::NXE, shown.contains(Extended1Edx::NX));
        efer
    }

    /// Bits of CR4 that the guest may set (SDM vol. 3, "Control Registers", says which feature each belongs to).
    #[must_use]
    pub fn cr4(&self) -> Cr4 {
        let r1 = self.answer(leaf::FEATURES, 0);
        let r7 = self.answer(leaf::EXTENDED_FEATURES, 0);
        let ecx = Leaf1Ecx::from_bits_retain(r1[ECX]);
        let edx = Leaf1Edx::from_bits_retain(r1[EDX]);
        let ebx7 = Leaf7Ebx::from_bits_retain(r7[EBX]);
        let ecx7 = Leaf7Ecx::from_bits_retain(r7[ECX]);
        // RDPMC from user mode: older than its feature bit, and without counters it faults either way.
        let mut cr4 = Cr4::PCE;
        cr4.set(Cr4::VME | Cr4::PVI, edx.contains(Leaf1Edx::VME));
        cr4.set(Cr4::TSD, edx.contains(Leaf1Edx::TSC));
        cr4.set(Cr4::DE, edx.contains(Leaf1Edx::DE));
        cr4.set(Cr4::PSE, edx.contains(Leaf1Edx::PSE));
        cr4.set(Cr4::PAE, edx.contains(Leaf1Edx::PAE));
        cr4.set(Cr4::MCE, edx.contains(Leaf1Edx::MCE));
        cr4.set(Cr4::PGE, edx.contains(Leaf1Edx::PGE));
        cr4.set(Cr4::OSFXSR, edx.contains(Leaf1Edx::FXSR));
        cr4.set(Cr4::OSXMMEXCPT, edx.contains(Leaf1Edx::SSE));
        cr4.set(Cr4::PCIDE, ecx.contains(Leaf1Ecx::PCID));
        cr4.set(Cr4::OSXSAVE, ecx.contains(Leaf1Ecx::XSAVE));
        cr4.set(Cr4::FSGSBASE, ebx7.contains(Leaf7Ebx::FSGSBASE));
        cr4.set(Cr4::SMEP, ebx7.contains(Leaf7Ebx::SMEP));
        cr4.set(Cr4::SMAP, ebx7.contains(Leaf7Ebx::SMAP));
        cr4.set(Cr4::UMIP, ecx7.contains(Leaf7Ecx::UMIP));
        cr4
    }
}

const fn signature(max: u32, s: [u8; 12]) -> Registers {
    [
        max,
        u32::from_le_bytes([s[0], s[1], s[2], s[3]]),
        u32::from_le_bytes([s[4], s[5], s[6], s[7]]),
        u32::from_le_bytes([s[8], s[9], s[10], s[11]]),
    ]
}

#[expect(clippy::panic, reason = "met by the compiler")]
const fn number(text: &str) -> u32 {
    match u32::from_str_radix(text, 10) {
        Ok(n) => n,
        Err(_) => panic!("cargo gives numbers"),
    }
}

/// Our version: major in bits 31:16, minor in 15:8, patch in 7:0.
const VERSION: u32 = (number(env!("CARGO_PKG_VERSION_MAJOR")) << 16)
    | (number(env!("CARGO_PKG_VERSION_MINOR")) << 8)
    | number(env!("CARGO_PKG_VERSION_PATCH"));

fn hypervisor(leaf: u32) -> Registers {
    const OWN_VERSION: u32 = OWN_BASE + 1;
    match leaf {
        leaf::HYPERVISOR => signature(leaf::HYPERVISOR + 1, KVM_SIGNATURE),
        OWN_BASE => signature(OWN_VERSION, OWN_SIGNATURE),
        OWN_VERSION => [VERSION, 0, 0, 0],
        _ => [0; 4],
    }
}

#[cfg(test)]
mod tests;
#[cfg(test)]
mod topology_tests;
