//! An attacker that writes every combination that there is into CR0 and CR4, in every mode, and activates IA-32e mode from where it must
//! not. What is legal is judged here by the manual anew.
#![no_std]
#![no_main]
// UNSAFETY: control registers.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::cpu::{cpuid, cr0, cr4};
use guests::descriptors::{self, FREE};
use guests::modes::{self, Mode, Registers};
use guests::start::Pages;
use guests::trap::{GP0, Raised, raised};
use guests::verdict::Verdict;
use guests::{attempt, guest, same};
use spec::cpu::{Cr0, Cr4};
use spec::cpuid::{EBX, ECX, EDX};

guest!(
    every_cr0_in_64_bit_code,
    every_cr0_without_paging,
    ia32e_mode_is_not_activated_from_what_it_has_not,
    page_directory_pointers_with_reserved_bits_are_refused,
    every_pair_of_cr4_bits_in_64_bit_code,
    every_cr4_bit_without_paging,
);

/// The bits of CR0 that there are (SDM vol. 3, "Control Registers").
const CR0: [Cr0; 11] = [
    Cr0::PE,
    Cr0::MP,
    Cr0::EM,
    Cr0::TS,
    Cr0::ET,
    Cr0::NE,
    Cr0::WP,
    Cr0::AM,
    Cr0::NW,
    Cr0::CD,
    Cr0::PG,
];

/// The combination with this number of a list of bits.
fn combination(bits: impl Iterator<Item = u64>, number: u64) -> u64 {
    let chosen = bits.enumerate().filter(|(n, _)| number >> n & 1 != 0);
    chosen.fold(0, |all, (_, bit)| all | bit)
}

fn every_cr0(wide: u64) -> impl Iterator<Item = u64> {
    (0..1 << CR0.len()).map(move |n| wide | combination(CR0.iter().map(|bit| bit.bits()), n))
}

/// Whether CR0 may hold this at all; ET is one whatever is written.
fn is_consistent(value: u64) -> bool {
    let has = |bit: Cr0| value & bit.bits() != 0;
    (has(Cr0::PE) || !has(Cr0::PG)) && (has(Cr0::CD) || !has(Cr0::NW))
}

fn every_cr0_in_64_bit_code() -> Verdict {
    let before = cr0();
    let needed = (Cr0::PE | Cr0::PG).bits();
    // Reserved bits below 32 are ignored.
    for value in every_cr0(0).chain(every_cr0(1 << 17 | 1 << 6)) {
        let legal = is_consistent(value) && value & needed == needed;
        // SAFETY: no code here uses the FPU, and all pages may be written.
        let by = raised(unsafe { attempt!("mov cr0, {v}", v = in(reg) value) });
        let now = cr0();
        // SAFETY: as it was.
        unsafe { asm!("mov cr0, {}", in(reg) before) };
        let (expected, held) = if legal {
            (None, value & !(1 << 17 | 1 << 6) | Cr0::ET.bits())
        } else {
            (GP0, before)
        };
        same!((by, now), (expected, held), "CR0 = {value:#x}");
    }
    for bit in 32..64 {
        // SAFETY: it faults.
        let by = raised(unsafe { attempt!("mov cr0, {v}", v = in(reg) before | 1 << bit) });
        same!(by, GP0, "bit {bit}");
    }
    same!(cr0(), before);
    Ok(())
}

/// MOV CR0, EAX; MOV ECX, CR0; MOV CR0, EDX: the last with what holds where the INT3 behind it is taken.
const WRITE_CR0: [u8; 9] = [0x0f, 0x22, 0xc0, 0x0f, 0x20, 0xc1, 0x0f, 0x22, 0xc2];

fn every_cr0_without_paging() -> Verdict {
    modes::prepare();
    let base = (cr0() & !Cr0::PG.bits()) as u32;
    for (mode, edx) in [
        (Mode::Protected, base),
        (Mode::Protected16, base),
        (Mode::Real, base & !1),
    ] {
        for value in
            every_cr0(0).filter(|value| value & Cr0::PG.bits() == 0 || value & Cr0::PE.bits() == 0)
        {
            let registers = Registers {
                eax: value as u32,
                edx,
                ..Registers::default()
            };
            let found = modes::attempt_with(mode, &WRITE_CR0, registers);
            if is_consistent(value) {
                same!(found.raised, None, "CR0 = {value:#x} in {mode:?}");
                same!(
                    u64::from(found.registers[1]),
                    value | Cr0::ET.bits(),
                    "CR0 in {mode:?}"
                );
            } else {
                same!(
                    (found.raised, found.at),
                    (GP0, 0),
                    "CR0 = {value:#x} in {mode:?}"
                );
            }
        }
    }
    Ok(())
}

core::arch::global_asm!(
    ".code32",
    // PAE and LME on, the task register as EBX wants it, caches as ESI wants them; then paging, and caches on.
    "{begin}:",
    "mov esi, ecx",
    "mov eax, cr4; or eax, 0x20; and eax, edx; mov cr4, eax",
    "mov ecx, 0xc0000080; rdmsr; or eax, 0x100; wrmsr",
    "test esi, 0xffff; jz 2f; ltr si",
    "2: and esi, 0x40000000",
    "mov eax, cr0; and eax, 0x9fffffff; or eax, esi; mov cr0, eax",
    "and eax, 0x9fffffff; or eax, 0x80000000",
    "{at}: mov cr0, eax",
    "{end}:",
    ".code64",
    begin = sym activate_begin,
    at = sym activate_at,
    end = sym activate_end,
);

unsafe extern "C" {
    fn activate_begin();
    fn activate_at();
    fn activate_end();
}

/// Activates IA-32e mode from protected mode. Caches are off before it and on behind it, if so told: that write is the hypervisor's
/// to judge, the other is the processor's own.
fn activates(cs: Option<u16>, tr: u16, cr4: u32, caches: bool) -> (Raised, bool) {
    let [begin, at, end] = [activate_begin, activate_at, activate_end]
        .map(|f: unsafe extern "C" fn()| f as *const () as u64);
    let mut code = [0; 128];
    let bytes = guests::bytes::bytes(begin, (end - begin) as usize);
    code.iter_mut().zip(bytes).for_each(|(to, byte)| *to = byte);
    let caches = if caches { Cr0::CD.bits() as u32 } else { 0 };
    let registers = Registers {
        ecx: u32::from(tr) | caches,
        edx: cr4,
        cs,
        ..Registers::default()
    };
    let len = (end - begin) as usize;
    let found = modes::attempt_with(
        Mode::Protected,
        code.get(..len).unwrap_or_default(),
        registers,
    );
    (found.raised, found.at == at - begin)
}

fn ia32e_mode_is_not_activated_from_what_it_has_not() -> Verdict {
    static TASK_16: Pages<64> = Pages::new();
    modes::prepare();
    let (long, task) = (FREE, FREE + 8);
    for caches in [false, true] {
        // SDM vol. 3, "IA-32e Mode System Data Structure Consistency": no PAE.
        same!(
            activates(None, 0, !(Cr4::PAE.bits() as u32), caches),
            (GP0, true),
            "without PAE, {caches}"
        );
        // CS.L, also beside CS.D
        for rights in [0xcf9b, 0xef9b, 0xaf9b] {
            // What is 16 bits wide cannot be what is tried, but where it is 64 bits wide: no code is.
            descriptors::set(long, descriptors::segment(0, 0xf_ffff, rights));
            if rights & 0x4000 == 0 {
                continue;
            }
            let expected = if rights & 0x2000 != 0 {
                (GP0, true)
            } else {
                continue;
            };
            same!(
                activates(Some(long), 0, !0, caches),
                expected,
                "CS.L, {caches}"
            );
        }
        // A task register of 16 bits
        descriptors::set(
            task,
            descriptors::segment(TASK_16.address() as u32, 43, 0x81),
        );
        same!(
            activates(None, task, !0, caches),
            (GP0, true),
            "a 16-bit TSS, {caches}"
        );
    }
    Ok(())
}

fn page_directory_pointers_with_reserved_bits_are_refused() -> Verdict {
    modes::prepare();
    // CR3 is still that of IA-32e mode: what it names has bits 1 and 2 set, which these entries reserve.
    let base = (cr0() & !Cr0::PG.bits()) as u32;
    for more in [0, Cr0::CD.bits(), (Cr0::CD | Cr0::NW).bits()] {
        let eax = base | (Cr0::PG.bits() | more) as u32;
        let found = modes::attempt_with(
            Mode::Protected,
            &WRITE_CR0,
            Registers {
                eax,
                edx: base,
                ..Registers::default()
            },
        );
        same!((found.raised, found.at), (GP0, 0), "CR0 = {eax:#x}");
    }
    Ok(())
}

/// The bits of CR4 that this processor has, by CPUID (SDM vol. 3, "Control Registers").
fn cr4_that_there_is() -> u64 {
    let (one, seven) = (cpuid(1, 0), cpuid(7, 0));
    let shown = |word: u32, bit: u32| word >> bit & 1 != 0;
    [
        (Cr4::VME | Cr4::PVI, shown(one[EDX], 1)),
        (Cr4::TSD, shown(one[EDX], 4)),
        (Cr4::DE, shown(one[EDX], 2)),
        (Cr4::PSE, shown(one[EDX], 3)),
        (Cr4::PAE, shown(one[EDX], 6)),
        (Cr4::MCE, shown(one[EDX], 7)),
        (Cr4::PGE, shown(one[EDX], 13)),
        (Cr4::PCE, true),
        (Cr4::OSFXSR, shown(one[EDX], 24)),
        (Cr4::OSXMMEXCPT, shown(one[EDX], 25)),
        (Cr4::UMIP, shown(seven[ECX], 2)),
        (Cr4::LA57, shown(seven[ECX], 16)),
        (Cr4::VMXE, shown(one[ECX], 5)),
        (Cr4::SMXE, shown(one[ECX], 6)),
        (Cr4::FSGSBASE, shown(seven[EBX], 0)),
        (Cr4::PCIDE, shown(one[ECX], 17)),
        (Cr4::OSXSAVE, shown(one[ECX], 26)),
        (Cr4::KL, shown(seven[ECX], 23)),
        (Cr4::SMEP, shown(seven[EBX], 7)),
        (Cr4::SMAP, shown(seven[EBX], 20)),
        (Cr4::PKE, shown(seven[ECX], 3)),
        (Cr4::CET, shown(seven[ECX], 7) || shown(seven[EDX], 20)),
        (Cr4::PKS, shown(seven[ECX], 31)),
        (Cr4::UINTR, shown(seven[EDX], 5)),
    ]
    .into_iter()
    .filter(|(_, is)| *is)
    .fold(0, |all, (bit, _)| all | bit.bits())
}

fn every_pair_of_cr4_bits_in_64_bit_code() -> Verdict {
    let before = cr4();
    let there = cr4_that_there_is();
    // All our pages are ring 3's as well: no code would come behind these.
    let deadly = (Cr4::SMEP | Cr4::SMAP).bits() & there;
    let one = 0..64;
    let pairs = one.flat_map(|first| (first..64).map(move |second| 1u64 << first | 1u64 << second));
    for bits in pairs.filter(|bits| bits & deadly == 0) {
        let value = before ^ bits;
        let changes_la57 = bits & Cr4::LA57.bits() != 0;
        let legal = value & !there == 0 && value & Cr4::PAE.bits() != 0 && !changes_la57;
        // SAFETY: the page tables mean the same whatever comes through.
        let by = raised(unsafe { attempt!("mov cr4, {v}", v = in(reg) value) });
        let now = cr4();
        // SAFETY: as it was.
        unsafe { asm!("mov cr4, {}", in(reg) before) };
        let expected = if legal { (None, value) } else { (GP0, before) };
        same!((by, now), expected, "CR4 = {value:#x}");
    }
    same!(cr4(), before);
    Ok(())
}

fn every_cr4_bit_without_paging() -> Verdict {
    modes::prepare();
    // MOV CR4, EAX; MOV ECX, CR4
    let write = [0x0f, 0x22, 0xe0, 0x0f, 0x20, 0xe1];
    let before = cr4() as u32;
    let there = cr4_that_there_is() as u32;
    for mode in [Mode::Protected, Mode::Protected16, Mode::Real] {
        for bit in 0..32 {
            let eax = before ^ 1 << bit;
            let found = modes::attempt_with(
                mode,
                &write,
                Registers {
                    eax,
                    ..Registers::default()
                },
            );
            // PCIDs are for IA-32e mode.
            let legal = eax & !there == 0 && eax & Cr4::PCIDE.bits() as u32 == 0;
            if legal {
                same!(
                    (found.raised, found.registers[1]),
                    (None, eax),
                    "bit {bit} in {mode:?}"
                );
            } else {
                same!((found.raised, found.at), (GP0, 0), "bit {bit} in {mode:?}");
            }
        }
    }
    Ok(())
}
