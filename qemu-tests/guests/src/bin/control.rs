//! Control registers, XSETBV, and instructions that the guest does not have.
#![no_std]
#![no_main]
// UNSAFETY: the instructions in question.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::cpu::{cpuid, cr0, cr4, cr8, set_cr8};
use guests::trap::{GP0, Raised, UD, raised};
use guests::verdict::Verdict;
use guests::{attempt, attempt_in_user, claim, guest, same};
use spec::cpu::{Cr0, Cr4};
use spec::cpuid::{EAX, ECX, Leaf1Ecx};

guest!(
    cr0_refuses_what_cannot_be,
    cr0_keeps_what_the_guest_writes,
    clts_and_lmsw_change_their_bits_alone,
    cr4_refuses_what_is_not_shown,
    cr4_refuses_to_leave_long_mode,
    cr4_keeps_what_the_guest_writes,
    pcid_wants_a_clean_cr3,
    cr8_takes_four_bits,
    xsetbv_is_undefined_without_osxsave,
    xcr0_refuses_what_cannot_be,
    xcr0_keeps_what_the_guest_writes,
    xsetbv_is_for_ring_0,
    vmx_instructions_are_undefined,
    monitor_and_mwait_are_undefined,
    there_are_no_performance_counters,
    caches_may_be_flushed,
    privileged_instructions_fault_in_ring_3,
);

fn write_cr0(value: u64) -> Raised {
    // SAFETY: paging and protection stay on, or the write faults; the other bits are for FPU and caches.
    raised(unsafe { attempt!("mov cr0, {value}", value = in(reg) value) })
}

fn write_cr4(value: u64) -> Raised {
    // SAFETY: the page tables mean the same whatever comes through here.
    raised(unsafe { attempt!("mov cr4, {value}", value = in(reg) value) })
}

fn cr0_refuses_what_cannot_be() -> Verdict {
    let before = cr0();
    let wrong = [
        (before & !Cr0::PE.bits(), "paging without protection"),
        (before & !Cr0::PG.bits(), "no paging in 64-bit code"),
        (before & !Cr0::CD.bits() | Cr0::NW.bits(), "NW without CD"),
        (before | 1 << 32, "bit 32"),
        (before | 1 << 63, "bit 63"),
    ];
    for (value, what) in wrong {
        same!(write_cr0(value), GP0, "{what}");
        same!(cr0(), before, "after {what}");
    }
    Ok(())
}

fn cr0_keeps_what_the_guest_writes() -> Verdict {
    let before = cr0();
    for bits in [
        Cr0::WP,
        Cr0::AM,
        Cr0::NE,
        Cr0::MP,
        Cr0::TS,
        Cr0::EM,
        Cr0::CD,
        Cr0::CD | Cr0::NW,
    ] {
        same!(write_cr0(before ^ bits.bits()), None, "{bits:?}");
        same!(cr0(), before ^ bits.bits(), "{bits:?}");
        let _ = cpuid(0, 0);
        same!(cr0(), before ^ bits.bits(), "{bits:?} after an exit");
        same!(write_cr0(before), None);
    }
    same!(
        write_cr0(before | 1 << 6 | 1 << 28),
        None,
        "reserved bits below 32 are ignored"
    );
    same!(cr0(), before);
    same!(write_cr0(before & !Cr0::ET.bits()), None);
    same!(cr0(), before, "ET is always one");
    Ok(())
}

fn clts_and_lmsw_change_their_bits_alone() -> Verdict {
    let before = cr0();
    same!(write_cr0(before | Cr0::TS.bits()), None);
    // SAFETY: the FPU is not in use.
    unsafe { asm!("clts") };
    same!(cr0(), before & !Cr0::TS.bits());
    // SAFETY: as above; LMSW cannot clear PE.
    unsafe { asm!("lmsw {0:x}", in(reg) (Cr0::MP | Cr0::TS).bits() as u32) };
    let (low, word) = (0xf, cr0());
    same!(word & !low, before & !low);
    same!(word & low, (Cr0::PE | Cr0::MP | Cr0::TS).bits());
    same!(write_cr0(before), None);
    Ok(())
}

fn cr4_refuses_what_is_not_shown() -> Verdict {
    let before = cr4();
    for bits in [
        Cr4::VMXE,
        Cr4::SMXE,
        Cr4::LA57,
        Cr4::PKE,
        Cr4::CET,
        Cr4::PKS,
        Cr4::KL,
        Cr4::UINTR,
    ] {
        same!(write_cr4(before | bits.bits()), GP0, "{bits:?}");
    }
    for bit in [15, 26, 31, 32, 63] {
        same!(write_cr4(before | 1 << bit), GP0, "bit {bit}");
    }
    same!(cr4(), before);
    Ok(())
}

fn cr4_refuses_to_leave_long_mode() -> Verdict {
    same!(write_cr4(cr4() & !Cr4::PAE.bits()), GP0);
    Ok(())
}

fn cr4_keeps_what_the_guest_writes() -> Verdict {
    let before = cr4();
    for bits in [
        Cr4::PGE,
        Cr4::MCE,
        Cr4::TSD,
        Cr4::DE,
        Cr4::PCE,
        Cr4::OSFXSR | Cr4::OSXMMEXCPT,
        Cr4::OSXSAVE,
        Cr4::VME | Cr4::PVI,
    ] {
        same!(write_cr4(before | bits.bits()), None, "{bits:?}");
        same!(cr4(), before | bits.bits(), "{bits:?}");
        let _ = cpuid(0, 0);
        same!(cr4(), before | bits.bits(), "{bits:?} after an exit");
        same!(write_cr4(before), None);
    }
    Ok(())
}

fn pcid_wants_a_clean_cr3() -> Verdict {
    let before = cr4();
    if cpuid(1, 0)[ECX] & Leaf1Ecx::PCID.bits() == 0 {
        same!(
            write_cr4(before | Cr4::PCIDE.bits()),
            GP0,
            "it is not shown"
        );
        return Ok(());
    }
    let root = guests::paging::root();
    // SAFETY: the same tables; bit 3 is their write-through.
    unsafe { asm!("mov cr3, {}", in(reg) root | 1 << 3) };
    let refused = write_cr4(before | Cr4::PCIDE.bits());
    // SAFETY: as it was.
    unsafe { asm!("mov cr3, {}", in(reg) root) };
    same!(refused, GP0, "with CR3 11:0 not zero");
    same!(write_cr4(before | Cr4::PCIDE.bits()), None);
    same!(
        write_cr0(cr0() & !Cr0::PG.bits()),
        GP0,
        "no paging with PCIDs"
    );
    same!(write_cr4(before), None);
    Ok(())
}

fn cr8_takes_four_bits() -> Verdict {
    set_cr8(9);
    same!(cr8(), 9);
    for wrong in [16, 1u64 << 63] {
        // SAFETY: the write faults.
        let by = unsafe { attempt!("mov cr8, {v}", v = in(reg) wrong) };
        same!(raised(by), GP0, "CR8 = {wrong:#x}");
    }
    same!(cr8(), 9);
    set_cr8(0);
    Ok(())
}

fn xsetbv(register: u32, value: u64) -> Raised {
    // SAFETY: no code here keeps extended state.
    raised(unsafe {
        attempt!("xsetbv", in("ecx") register, in("eax") value as u32, in("edx") (value >> 32) as u32)
    })
}

fn xgetbv() -> u64 {
    let (low, high): (u32, u32);
    // SAFETY: reads a register; OSXSAVE is on.
    unsafe { asm!("xgetbv", in("ecx") 0, out("eax") low, out("edx") high) };
    u64::from(high) << 32 | u64::from(low)
}

fn with_osxsave(test: fn() -> Verdict) -> Verdict {
    let before = cr4();
    same!(write_cr4(before | Cr4::OSXSAVE.bits()), None);
    let verdict = test();
    let _ = xsetbv(0, 1);
    same!(write_cr4(before), None);
    verdict
}

fn xsetbv_is_undefined_without_osxsave() -> Verdict {
    same!(xsetbv(0, 1), UD);
    Ok(())
}

fn xcr0_refuses_what_cannot_be() -> Verdict {
    with_osxsave(|| {
        same!(xgetbv(), 1, "after reset");
        // No x87; AVX without SSE; part of AVX-512; bound registers; PKRU; tiles; lightweight profiling.
        for wrong in [
            0,
            2,
            5,
            0x27,
            0x18 | 3,
            1 << 9 | 3,
            3 << 17 | 3,
            1 << 62 | 3,
            1 << 63 | 3,
        ] {
            same!(xsetbv(0, wrong), GP0, "XCR0 = {wrong:#x}");
            same!(xgetbv(), 1);
        }
        for register in [1, 2, u32::MAX] {
            same!(xsetbv(register, 1), GP0, "XCR{register}");
        }
        Ok(())
    })
}

fn xcr0_keeps_what_the_guest_writes() -> Verdict {
    with_osxsave(|| {
        let all = u64::from(cpuid(0xd, 0)[EAX]);
        for states in [3, all, 1] {
            same!(xsetbv(0, states), None, "XCR0 = {states:#x}");
            same!(xgetbv(), states);
        }
        Ok(())
    })
}

fn xsetbv_is_for_ring_0() -> Verdict {
    with_osxsave(|| {
        // SAFETY: it faults.
        let user = unsafe { attempt_in_user!("xsetbv", in("ecx") 0, in("eax") 3, in("edx") 0) };
        same!(raised(user), GP0);
        same!(xgetbv(), 1);
        Ok(())
    })
}

macro_rules! raised_by {
    ($($instruction:literal => $raised:expr),+ $(,)?) => {
        $(
            // SAFETY: it faults, or flushes caches; registers that it may change are named.
            let by = unsafe { attempt!($instruction, inout("rax") 0u64 => _, inout("rcx") 0u64 => _, inout("rdx") 0u64 => _) };
            same!(raised(by), $raised, $instruction);
        )+
    };
}

fn vmx_instructions_are_undefined() -> Verdict {
    raised_by!(
        "vmcall" => UD, "vmlaunch" => UD, "vmresume" => UD, "vmxoff" => UD, "vmread rax, rcx" => UD,
        "vmwrite rax, rcx" => UD, "vmxon [rsp - 64]" => UD, "vmclear [rsp - 64]" => UD, "vmptrld [rsp - 64]" => UD,
        "vmptrst [rsp - 64]" => UD, "vmfunc" => UD, "invept rax, [rsp - 64]" => UD, "invvpid rax, [rsp - 64]" => UD,
        "getsec" => UD, "rsm" => UD,
    );
    // Also in ring 3.
    // SAFETY: it faults.
    let by = unsafe { attempt_in_user!("vmcall", inout("rax") 0u64 => _) };
    same!(raised(by), UD);
    Ok(())
}

fn monitor_and_mwait_are_undefined() -> Verdict {
    raised_by!("mwait" => UD, "monitor" => UD);
    Ok(())
}

fn there_are_no_performance_counters() -> Verdict {
    raised_by!("rdpmc" => GP0);
    Ok(())
}

fn caches_may_be_flushed() -> Verdict {
    raised_by!("wbinvd" => None, "invd" => None);
    Ok(())
}

fn privileged_instructions_fault_in_ring_3() -> Verdict {
    macro_rules! user {
        ($($instruction:literal)+) => {
            $(
                // SAFETY: it faults.
                let by = unsafe {
                    attempt_in_user!($instruction, inout("rax") 0u64 => _, inout("rcx") 0x10u64 => _, inout("rdx") 0x80u64 => _)
                };
                same!(raised(by), GP0, $instruction);
            )+
        };
    }
    user!("hlt" "cli" "rdmsr" "wrmsr" "in al, dx" "out dx, al" "mov rax, cr0" "mov cr8, rax" "invlpg [rax]" "wbinvd" "lidt [rsp]" "clts");
    claim!(guests::trap::take().is_none(), "an exception was left");
    Ok(())
}
