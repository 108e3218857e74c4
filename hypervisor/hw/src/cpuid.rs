//! CPUID of the processor that runs this.

use core::arch::x86_64::__cpuid_count;

/// EAX, EBX, ECX and EDX of a leaf and subleaf.
#[must_use]
pub fn leaf(leaf: u32, subleaf: u32) -> [u32; 4] {
    let r = __cpuid_count(leaf, subleaf);
    [r.eax, r.ebx, r.ecx, r.edx]
}

/// Bit `bit` of ECX of leaf 1.
#[must_use]
pub fn leaf1_ecx(bit: u32) -> bool {
    leaf(1, 0)[2] >> bit & 1 != 0
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
        linear: if leaf(0, 0)[0] >= 7 && leaf(7, 0)[2] >> 16 & 1 != 0 {
            57
        } else {
            48
        },
    }
}
