//! CPUID as the platform's policy has it.
#![no_std]
#![no_main]
// UNSAFETY: CPUID with registers that are looked at in full, and CR4.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::cpu::{cpuid, cr4};
use guests::verdict::{Verdict, figure};
use guests::{claim, guest, same};
use spec::cpu::Cr4;
use spec::cpuid::{EAX, EBX, ECX, EDX, Leaf1Ecx, Leaf1Edx, Leaf7Ebx, Leaf7Edx, leaf};

guest!(
    a_hypervisor_is_shown,
    the_signature_is_one_that_linux_keeps_the_x2apic_for,
    our_own_signature_is_at_the_next_base,
    the_last_leaves_are_the_policys,
    what_the_guest_cannot_have_is_hidden,
    what_the_local_apic_has_is_shown,
    the_tsc_frequency_is_told,
    the_tsc_is_invariant,
    hidden_leaves_are_zero,
    leaves_beyond_the_last_answer_as_the_last,
    osxsave_follows_cr4,
    the_xsave_area_grows_with_xcr0,
    it_is_one_processor_with_id_0,
    upper_halves_are_cleared,
);

const VENDOR: [u32; 3] = [0x756e_6547, 0x4965_6e69, 0x6c65_746e];

fn a_hypervisor_is_shown() -> Verdict {
    claim!(
        cpuid(1, 0)[ECX] & Leaf1Ecx::HYPERVISOR.bits() != 0,
        "bit 31 is clear"
    );
    Ok(())
}

fn text(registers: &[u32]) -> [u8; 12] {
    let mut text = [0; 12];
    for (part, register) in text.chunks_exact_mut(4).zip(registers) {
        part.copy_from_slice(&register.to_le_bytes());
    }
    text
}

fn the_signature_is_one_that_linux_keeps_the_x2apic_for() -> Verdict {
    let leaf = cpuid(leaf::HYPERVISOR, 0);
    same!(text(&leaf[1..]), *b"KVMKVMKVM\0\0\0");
    same!(leaf[EAX], leaf::HYPERVISOR + 1);
    same!(
        cpuid(leaf::HYPERVISOR + 1, 0),
        [0; 4],
        "features of KVM, of which there are none"
    );
    Ok(())
}

fn our_own_signature_is_at_the_next_base() -> Verdict {
    let leaf = cpuid(leaf::HYPERVISOR + 0x100, 0);
    same!(text(&leaf[1..]), *b"BulkheadBulk");
    same!(leaf[EAX], leaf::HYPERVISOR + 0x101);
    Ok(())
}

fn the_last_leaves_are_the_policys() -> Verdict {
    let first = cpuid(leaf::VENDOR, 0);
    same!(first[EAX], leaf::FREQUENCY);
    same!([first[EBX], first[EDX], first[ECX]], VENDOR);
    same!(cpuid(leaf::EXTENDED, 0)[EAX], leaf::ADDRESS_SIZES);
    Ok(())
}

fn what_the_guest_cannot_have_is_hidden() -> Verdict {
    let one = cpuid(1, 0);
    let ecx = Leaf1Ecx::VMX
        | Leaf1Ecx::SMX
        | Leaf1Ecx::MONITOR
        | Leaf1Ecx::EIST
        | Leaf1Ecx::PDCM
        | Leaf1Ecx::DTES64;
    same!(one[ECX] & ecx.bits(), 0, "leaf 1 ECX");
    let edx = Leaf1Edx::MTRR | Leaf1Edx::DS | Leaf1Edx::ACPI | Leaf1Edx::TM;
    same!(one[EDX] & edx.bits(), 0, "leaf 1 EDX");
    let seven = cpuid(7, 0);
    let ebx = Leaf7Ebx::SGX
        | Leaf7Ebx::HLE
        | Leaf7Ebx::RTM
        | Leaf7Ebx::MPX
        | Leaf7Ebx::PT
        | Leaf7Ebx::RDT_A;
    same!(seven[EBX] & ebx.bits(), 0, "leaf 7 EBX");
    let edx = Leaf7Edx::ARCH_CAPABILITIES | Leaf7Edx::L1D_FLUSH | Leaf7Edx::UINTR;
    same!(seven[EDX] & edx.bits(), 0, "leaf 7 EDX");
    Ok(())
}

fn what_the_local_apic_has_is_shown() -> Verdict {
    let one = cpuid(1, 0);
    let ecx = (Leaf1Ecx::X2APIC | Leaf1Ecx::TSC_DEADLINE).bits();
    same!(one[ECX] & ecx, ecx);
    claim!(one[EDX] & Leaf1Edx::APIC.bits() != 0, "no local APIC");
    claim!(
        cpuid(leaf::POWER, 0)[EAX] & spec::cpuid::ARAT != 0,
        "its timer stops"
    );
    claim!(
        cpuid(7, 0)[EBX] & Leaf7Ebx::TSC_ADJUST.bits() != 0,
        "no TSC_ADJUST"
    );
    Ok(())
}

fn the_tsc_frequency_is_told() -> Verdict {
    let [denominator, numerator, crystal, _] = cpuid(leaf::TSC, 0);
    claim!(
        denominator != 0 && numerator != 0 && crystal != 0,
        "a part of leaf 0x15 is zero"
    );
    let hz = u64::from(crystal) * u64::from(numerator) / u64::from(denominator);
    same!(
        u64::from(cpuid(leaf::FREQUENCY, 0)[EAX]),
        hz / 1_000_000,
        "leaf 0x16"
    );
    figure("tsc_hz", hz);
    Ok(())
}

fn the_tsc_is_invariant() -> Verdict {
    claim!(
        cpuid(leaf::INVARIANT_TSC, 0)[EDX] & spec::cpuid::INVARIANT_TSC != 0,
        "bit 8 is clear"
    );
    Ok(())
}

fn hidden_leaves_are_zero() -> Verdict {
    for leaf in [3, 5, 8, 9, 0xa, 0xc, 0xe, 0xf, 0x10, 0x11, 0x12, 0x13, 0x14] {
        same!(cpuid(leaf, 0), [0; 4], "leaf {leaf:#x}");
    }
    same!(cpuid(7, 2), [0; 4], "leaf 7, subleaf 2");
    same!(cpuid(0xd, 63), [0; 4], "leaf 0xd, subleaf 63");
    same!(
        cpuid(leaf::HYPERVISOR + 0x200, 0),
        [0; 4],
        "a hypervisor leaf of nobody"
    );
    Ok(())
}

fn leaves_beyond_the_last_answer_as_the_last() -> Verdict {
    let last = cpuid(leaf::FREQUENCY, 0);
    for leaf in [
        0x17,
        0x18,
        0x1f,
        0x20,
        0x3fff_ffff,
        0x8000_0009,
        0x8000_001f,
        0xc000_0000,
        u32::MAX,
    ] {
        same!(cpuid(leaf, 0), last, "leaf {leaf:#x}");
    }
    Ok(())
}

fn set_cr4(value: u64) {
    // SAFETY: OSXSAVE alone is changed, which enables instructions that nothing here uses.
    unsafe { asm!("mov cr4, {}", in(reg) value) };
}

fn set_xcr0(value: u64) {
    // SAFETY: no code here keeps extended state.
    unsafe { asm!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32) };
}

fn osxsave_follows_cr4() -> Verdict {
    let shown = || cpuid(1, 0)[ECX] & Leaf1Ecx::OSXSAVE.bits() != 0;
    claim!(!shown(), "before");
    set_cr4(cr4() | Cr4::OSXSAVE.bits());
    let with = shown();
    set_cr4(cr4() & !Cr4::OSXSAVE.bits());
    claim!(with, "while set");
    claim!(!shown(), "after");
    Ok(())
}

fn the_xsave_area_grows_with_xcr0() -> Verdict {
    let all = cpuid(0xd, 0);
    claim!(all[EAX] & 0b11 == 0b11, "no x87 and SSE in {:#x}", all[EAX]);
    set_cr4(cr4() | Cr4::OSXSAVE.bits());
    let size = |states| {
        set_xcr0(states);
        cpuid(0xd, 0)[EBX]
    };
    let (least, most) = (size(1), size(all[EAX].into()));
    set_xcr0(1);
    set_cr4(cr4() & !Cr4::OSXSAVE.bits());
    same!(least, 576, "legacy area and header");
    same!(most, all[ECX], "with all states");
    Ok(())
}

fn it_is_one_processor_with_id_0() -> Verdict {
    same!(cpuid(1, 0)[EBX] >> 24, 0);
    for (subleaf, kind) in [(0, 1), (1, 2)] {
        let [_, count, level, id] = cpuid(leaf::TOPOLOGY, subleaf);
        same!((count, level, id), (1, kind << 8 | subleaf, 0));
    }
    same!(
        cpuid(leaf::TOPOLOGY, 2)[ECX],
        2,
        "a level that is not there"
    );
    Ok(())
}

fn upper_halves_are_cleared() -> Verdict {
    let (a, b, c, d): (u64, u64, u64, u64);
    // SAFETY: as `cpuid`, with all registers full of ones before.
    unsafe {
        asm!("mov {b}, rbx", "mov rbx, -1", "cpuid", "xchg {b}, rbx", b = out(reg) b,
            inout("rax") 0xffff_ffff_0000_0000u64 => a, inout("rcx") 0xffff_ffff_0000_0000u64 => c, inout("rdx") u64::MAX => d);
    }
    same!((a >> 32, b >> 32, c >> 32, d >> 32), (0, 0, 0, 0));
    same!(b as u32, VENDOR[0]);
    Ok(())
}
