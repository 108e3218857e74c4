//! CPUID of the processor that runs this.

use core::arch::x86_64::__cpuid_count;
use spec::cpuid::{Extended1Edx, Leaf1Ecx, Leaf7Ebx, Leaf7Ecx};

/// EAX, EBX, ECX and EDX of a leaf and subleaf.
#[must_use]
pub fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = __cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// Features of leaf 1, ECX.
#[must_use]
pub fn features() -> Leaf1Ecx {
    Leaf1Ecx::from_bits_retain(leaf(1, 0)[2])
}

/// Features of leaf 7, EBX and ECX; none where the leaf is not there.
#[must_use]
pub fn extended_features() -> (Leaf7Ebx, Leaf7Ecx) {
    let seven = if leaf(0, 0)[0] >= 7 {
        leaf(7, 0)
    } else {
        [0; 4]
    };
    (
        Leaf7Ebx::from_bits_retain(seven[1]),
        Leaf7Ecx::from_bits_retain(seven[2]),
    )
}

/// What there is of MONITOR and MWAIT (leaf 5).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Mwait {
    /// Bytes of the largest line that MONITOR watches
    pub largest_line: u32,
    /// A masked interrupt ends MWAIT too, where its ECX bit 0 asks for that
    pub wakes_on_masked_interrupts: bool,
}

/// MONITOR and MWAIT, where they are.
#[must_use]
pub fn mwait() -> Option<Mwait> {
    /// Extensions are enumerated; interrupts are break events even when masked.
    const EXTENSIONS: u32 = 0b11;
    if !features().contains(Leaf1Ecx::MONITOR) || leaf(0, 0)[0] < 5 {
        return None;
    }
    let [_, largest, extensions, _] = leaf(5, 0);
    Some(Mwait {
        largest_line: largest & 0xffff,
        wakes_on_masked_interrupts: extensions & EXTENSIONS == EXTENSIONS,
    })
}

/// Whether the processor has pages of 1 GiB.
#[must_use]
pub fn has_gib_pages() -> bool {
    Extended1Edx::from_bits_retain(leaf(0x8000_0001, 0)[3]).contains(Extended1Edx::PAGE_1GB)
}

/// The initial local APIC id: x2APIC id where there is leaf 0x0B, else the eight bits of leaf 1.
#[must_use]
pub fn apic_id() -> u32 {
    if leaf(0, 0)[0] >= 0xb {
        let b = leaf(0xb, 0);
        if b[1] != 0 {
            return b[3];
        }
    }
    leaf(1, 0)[1] >> 24
}

/// Widths of addresses: physical by CPUID 0x8000_0008, linear 57 bits where CR4.LA57 can be set, else 48.
#[must_use]
pub fn address_widths() -> vmx::AddressWidths {
    vmx::AddressWidths {
        physical: leaf(0x8000_0008, 0)[0] as u8,
        linear: if extended_features().1.contains(Leaf7Ecx::LA57) {
            57
        } else {
            48
        },
    }
}
