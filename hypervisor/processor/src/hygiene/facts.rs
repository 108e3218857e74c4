//! What the processor says of itself.

use spec::cpuid::{EAX, EBX, ECX, EDX, Leaf7Ebx, Leaf7Edx, Leaf7Sub2Edx, Registers, leaf};
use spec::msr::ArchCapabilities;

/// Who made it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Vendor {
    /// GenuineIntel
    Intel,
    /// Anyone else
    Other,
}

/// How the machine is used, as far as it decides what a guest can reach.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Use {
    /// Sibling threads of one core may run different VMs
    pub shared_siblings: bool,
    /// Some guest reads and writes registers of a real device in memory, without an exit
    pub direct_devices: bool,
}

/// What the policy is made from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Facts {
    /// Leaf 0
    pub vendor: Vendor,
    /// Leaf 1, EAX: family, the extended one added
    pub family: u32,
    /// Leaf 1, EAX: model, with its extension
    pub model: u32,
    /// Leaf 1, EAX: stepping
    pub stepping: u32,
    /// Leaf 7, subleaf 0, EBX
    pub leaf_7_ebx: Leaf7Ebx,
    /// Leaf 7, subleaf 0, EDX
    pub leaf_7_edx: Leaf7Edx,
    /// Leaf 7, subleaf 2, EDX
    pub leaf_7_2_edx: Leaf7Sub2Edx,
    /// IA32_ARCH_CAPABILITIES, where it is
    pub arch_capabilities: Option<ArchCapabilities>,
    /// How the machine is used
    pub used: Use,
}

impl Facts {
    /// Asks `cpuid` (leaf, subleaf), and `arch_capabilities` for IA32_ARCH_CAPABILITIES only if it is there.
    #[must_use]
    pub fn new(
        cpuid: &dyn Fn(u32, u32) -> Registers,
        arch_capabilities: &dyn Fn() -> u64,
        used: Use,
    ) -> Self {
        let first = cpuid(leaf::VENDOR, 0);
        let ask = |leaf, subleaf| {
            if leaf <= first[EAX] {
                cpuid(leaf, subleaf)
            } else {
                [0; 4]
            }
        };
        let (family, model, stepping) = signature(ask(leaf::FEATURES, 0)[EAX]);
        let seventh = ask(leaf::EXTENDED_FEATURES, 0);
        let last_subleaf = seventh[EAX];
        let leaf_7_edx = Leaf7Edx::from_bits_retain(seventh[EDX]);
        Self {
            vendor: if [first[EBX], first[EDX], first[ECX]] == INTEL {
                Vendor::Intel
            } else {
                Vendor::Other
            },
            family,
            model,
            stepping,
            leaf_7_ebx: Leaf7Ebx::from_bits_retain(seventh[EBX]),
            leaf_7_edx,
            leaf_7_2_edx: Leaf7Sub2Edx::from_bits_retain(if last_subleaf >= 2 {
                ask(leaf::EXTENDED_FEATURES, 2)[EDX]
            } else {
                0
            }),
            arch_capabilities: leaf_7_edx
                .contains(Leaf7Edx::ARCH_CAPABILITIES)
                .then(|| ArchCapabilities::from_bits_retain(arch_capabilities())),
            used,
        }
    }

    /// Whether IA32_ARCH_CAPABILITIES has all of `bits`.
    pub(super) fn says(&self, bits: ArchCapabilities) -> bool {
        self.arch_capabilities.is_some_and(|it| it.contains(bits))
    }
}

const INTEL: [u32; 3] = [
    u32::from_le_bytes(*b"Genu"),
    u32::from_le_bytes(*b"ineI"),
    u32::from_le_bytes(*b"ntel"),
];

/// Family, model and stepping (SDM vol. 2, "CPUID", "Version Information Returned by CPUID in EAX").
const fn signature(eax: u32) -> (u32, u32, u32) {
    let family = eax >> 8 & 0xf;
    let model = eax >> 4 & 0xf;
    let extended = eax >> 12 & 0xf0;
    match family {
        0xf => (
            (eax >> 20 & 0xff).saturating_add(0xf),
            extended | model,
            eax & 0xf,
        ),
        6 => (6, extended | model, eax & 0xf),
        _ => (family, model, eax & 0xf),
    }
}
