//! Which core and package a local APIC id belongs to (SDM vol. 3, "Hierarchical Mapping of Shared Resources", and
//! CPUID leaves 0x1F, 0xB, 4 and 1).

use spec::cpuid::{EAX, EBX, ECX, EDX, Registers, leaf};

/// V2 Extended Topology Enumeration, whose levels contain those of leaf 0xB.
const TOPOLOGY_V2: u32 = 0x1f;
/// Level types of both leaves: none, and the threads of a core.
const INVALID: u32 = 0;
const SMT: u32 = 1;
/// Levels that are asked for: more than there are types of.
const LEVELS: u32 = 16;

/// How many low bits of an APIC id say what. What is above `package` is the number of the package.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Topology {
    /// Bits that number the threads of a core
    thread: u32,
    /// Bits that number the threads of a package
    package: u32,
}

/// Where a logical processor lies.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub struct Place {
    /// The package's number
    pub package: u32,
    /// The core's number in its package
    pub core: u32,
    /// The thread's number in its core
    pub thread: u32,
}

impl Topology {
    /// Asks CPUID, given a leaf and a subleaf. The answer is the same on all processors of a machine.
    pub fn read(cpuid: impl Fn(u32, u32) -> Registers) -> Self {
        by_levels(&cpuid, TOPOLOGY_V2)
            .or_else(|| by_levels(&cpuid, leaf::TOPOLOGY))
            .unwrap_or_else(|| by_counts(&cpuid))
    }

    /// Takes an APIC id apart.
    #[must_use]
    pub fn locate(self, apic_id: u32) -> Place {
        let low = |bits: u32| !u32::MAX.checked_shl(bits).unwrap_or(0);
        let above = |bits: u32| apic_id.checked_shr(bits).unwrap_or(0);
        Place {
            package: above(self.package),
            core: (apic_id & low(self.package)) >> self.thread,
            thread: apic_id & low(self.thread),
        }
    }
}

/// The local APIC id of the processor that is asked.
pub fn own_id(cpuid: impl Fn(u32, u32) -> Registers) -> u32 {
    for leaf in [TOPOLOGY_V2, leaf::TOPOLOGY] {
        if has_levels(&cpuid, leaf) {
            return cpuid(leaf, 0)[EDX];
        }
    }
    cpuid(leaf::FEATURES, 0)[EBX] >> 24
}

fn level_type(level: Registers) -> u32 {
    level[ECX] >> 8 & 0xff
}

/// A leaf beyond the last answers as the last does; one without levels is as good as none.
fn has_levels(cpuid: impl Fn(u32, u32) -> Registers, leaf: u32) -> bool {
    let level = cpuid(leaf, 0);
    cpuid(leaf::VENDOR, 0)[EAX] >= leaf && level[EBX] & 0xffff != 0 && level_type(level) != INVALID
}

/// By the leaves that say how many bits each level takes. Which levels there are between threads and package does
/// not matter, so that those to come are understood, too.
fn by_levels(cpuid: impl Fn(u32, u32) -> Registers, leaf: u32) -> Option<Topology> {
    if !has_levels(&cpuid, leaf) {
        return None;
    }
    let mut found = Topology {
        thread: 0,
        package: 0,
    };
    let levels = (0..LEVELS).map(|subleaf| cpuid(leaf, subleaf));
    for level in levels.take_while(|level| level_type(*level) != INVALID) {
        let bits = level[EAX] & 0x1f;
        if level_type(level) == SMT {
            found.thread = bits;
        }
        found.package = found.package.max(bits);
    }
    Some(found)
}

/// By the numbers of ids that are set aside for threads and cores: each takes as many bits as it needs.
fn by_counts(cpuid: impl Fn(u32, u32) -> Registers) -> Topology {
    /// Leaf 1: EBX bits 23 to 16 count the ids of a package
    const HTT: u32 = 1 << 28;
    /// Leaf 0x8000_0001: AMD's leaf 0x8000_0008 counts cores (AMD APM vol. 3, "CPUID")
    const CMP_LEGACY: u32 = 1 << 1;

    let features = cpuid(leaf::FEATURES, 0);
    let threads = if features[EDX] & HTT == 0 {
        1
    } else {
        (features[EBX] >> 16 & 0xff).max(1)
    };
    let has = |leaf: u32| cpuid(leaf & leaf::EXTENDED, 0)[EAX] >= leaf;
    let caches = if has(leaf::CACHES) {
        cpuid(leaf::CACHES, 0)
    } else {
        [0; 4]
    };
    let amd = has(leaf::ADDRESS_SIZES) && cpuid(leaf::EXTENDED_1, 0)[ECX] & CMP_LEGACY != 0;
    // The type of the first cache: where it is none, the leaf says nothing.
    let core_bits = if caches[EAX] & 0x1f != 0 {
        bits_for((caches[EAX] >> 26) + 1)
    } else if amd {
        let sizes = cpuid(leaf::ADDRESS_SIZES, 0)[ECX];
        match sizes >> 12 & 0xf {
            0 => bits_for((sizes & 0xff) + 1),
            bits => bits,
        }
    } else {
        0
    };
    let package = bits_for(threads).max(core_bits);
    Topology {
        thread: package - core_bits,
        package,
    }
}

/// Bits of the numbers below `count`.
fn bits_for(count: u32) -> u32 {
    count.next_power_of_two().trailing_zeros()
}

#[cfg(test)]
mod tests;
