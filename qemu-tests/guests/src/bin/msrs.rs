//! MSRs as the platform's policy has them.
#![no_std]
#![no_main]
// UNSAFETY: RDMSR with registers that are looked at in full, RDTSCP.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::cpu::tsc;
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{claim, guest, lapic, msr, same};
use spec::Msr;
use spec::cpu::Efer;
use spec::cpuid::{EDX, Extended1Edx, Leaf1Edx, Leaf7Edx, leaf};
use spec::msr::{ApicBase, MiscEnable};

guest!(
    absent_registers_fault,
    efer_keeps_its_rules,
    the_pat_takes_memory_types_only,
    the_apic_base_keeps_its_rules,
    x2apic_registers_are_absent_in_xapic_mode,
    bases_and_system_call_registers_are_the_guests_own,
    bases_must_be_canonical,
    tsc_aux_shows_in_rdtscp,
    a_write_to_the_tsc_moves_it_and_its_adjustment,
    a_write_to_the_adjustment_moves_the_tsc,
    fast_strings_are_on_and_stay_so,
    there_is_no_microcode_update,
    machine_checks_have_no_banks,
    speculation_control_is_there_as_cpuid_shows_it,
    branch_records_are_never_on,
    upper_halves_are_cleared,
);

/// Of Intel's, AMD's, hypervisors', and at the edges of the ranges that hardware filters.
const ABSENT: &[u32] = &[
    0x0,
    0x3a,
    0x79,
    0xfe,
    0x10a,
    0x10b,
    0x122,
    0x17b,
    0x198,
    0x19c,
    0x200,
    0x2ff,
    0x345,
    0x38f,
    0x3f1,
    0x400,
    0x480,
    0x48b,
    0x491,
    0x570,
    0x600,
    0x6a0,
    0x7ff,
    0x900,
    0xc81,
    0xda1,
    0x1fff,
    0x2000,
    0x4000_0000,
    0x4b56_4d00,
    0xbfff_ffff,
    0xc000_0000,
    0xc000_0104,
    0xc000_1fff,
    0xc000_2000,
    0xc001_0015,
    0xc001_1029,
    u32::MAX,
];

fn absent_registers_fault() -> Verdict {
    for &number in ABSENT {
        same!(raised(msr::read(Msr(number))), GP0, "RDMSR of {number:#x}");
        same!(
            raised(msr::write(Msr(number), 0)),
            GP0,
            "WRMSR of {number:#x}"
        );
    }
    Ok(())
}

fn efer_keeps_its_rules() -> Verdict {
    let before = msr::read(spec::msr::EFER)?;
    let with = |bits: Efer| before ^ bits.bits();
    claim!(
        before & (Efer::LME | Efer::LMA).bits() == (Efer::LME | Efer::LMA).bits(),
        "{before:#x}"
    );
    same!(
        raised(msr::write(spec::msr::EFER, with(Efer::LME))),
        GP0,
        "LME while paging"
    );
    for bit in [1, 2, 9, 12, 14, 16, 32, 63] {
        same!(
            raised(msr::write(spec::msr::EFER, before | 1 << bit)),
            GP0,
            "reserved bit {bit}"
        );
    }
    msr::write(spec::msr::EFER, with(Efer::LMA))?;
    same!(
        msr::read(spec::msr::EFER)?,
        before,
        "LMA is the processor's"
    );
    msr::write(spec::msr::EFER, with(Efer::SCE))?;
    same!(msr::read(spec::msr::EFER)?, with(Efer::SCE));
    msr::write(spec::msr::EFER, before)?;
    Ok(())
}

fn the_pat_takes_memory_types_only() -> Verdict {
    let before = msr::read(spec::msr::PAT)?;
    same!(before, 0x0007_0406_0007_0406, "after reset");
    for wrong in [2, 3, 8, 0x86] {
        same!(
            raised(msr::write(
                spec::msr::PAT,
                before & !0xff_0000 | wrong << 16
            )),
            GP0,
            "type {wrong}"
        );
    }
    let linux = 0x0407_0506_0007_0106;
    msr::write(spec::msr::PAT, linux)?;
    same!(msr::read(spec::msr::PAT)?, linux);
    msr::write(spec::msr::PAT, before)?;
    Ok(())
}

fn the_apic_base_keeps_its_rules() -> Verdict {
    const HERE: Msr = spec::msr::APIC_BASE;
    let before = msr::read(HERE)?;
    same!(before, lapic::BASE | (ApicBase::BSP | ApicBase::EN).bits());
    for bit in [0, 7, 9, 45, 52, 63] {
        same!(
            raised(msr::write(HERE, before | 1 << bit)),
            GP0,
            "reserved bit {bit}"
        );
    }
    same!(
        raised(msr::write(
            HERE,
            before & !ApicBase::EN.bits() | ApicBase::EXTD.bits()
        )),
        GP0,
        "EXTD without EN"
    );
    lapic::enter_x2apic()?;
    same!(
        raised(msr::write(HERE, before)),
        GP0,
        "from x2APIC straight to xAPIC"
    );
    lapic::leave_x2apic()?;
    same!(msr::read(HERE)?, before);
    msr::write(HERE, before & !ApicBase::EN.bits())?;
    same!(
        raised(msr::write(HERE, before | ApicBase::EXTD.bits())),
        GP0,
        "from disabled to x2APIC"
    );
    msr::write(HERE, before)?;
    Ok(())
}

fn x2apic_registers_are_absent_in_xapic_mode() -> Verdict {
    for number in [0x800, 0x802, 0x808, 0x80b, 0x830, 0x838, 0x83f, 0x8ff] {
        same!(raised(msr::read(Msr(number))), GP0, "RDMSR of {number:#x}");
        same!(
            raised(msr::write(Msr(number), 0)),
            GP0,
            "WRMSR of {number:#x}"
        );
    }
    Ok(())
}

fn bases_and_system_call_registers_are_the_guests_own() -> Verdict {
    use spec::msr::{
        CSTAR, FMASK, FS_BASE, GS_BASE, KERNEL_GS_BASE, LSTAR, STAR, SYSENTER_CS, SYSENTER_EIP,
        SYSENTER_ESP,
    };
    let all = [
        FS_BASE,
        GS_BASE,
        KERNEL_GS_BASE,
        LSTAR,
        CSTAR,
        SYSENTER_ESP,
        SYSENTER_EIP,
        STAR,
        FMASK,
        SYSENTER_CS,
    ];
    for (n, msr) in (1..).zip(all) {
        msr::write(msr, n << 12)?;
    }
    // Each keeps its own, also over an exit that has nothing to do with it.
    let _ = guests::cpu::cpuid(0, 0);
    for (n, msr) in (1..).zip(all) {
        same!(msr::read(msr)?, n << 12, "{msr:?}");
        msr::write(msr, 0)?;
    }
    Ok(())
}

fn bases_must_be_canonical() -> Verdict {
    use spec::msr::{FS_BASE, GS_BASE, KERNEL_GS_BASE, LSTAR, SYSENTER_EIP, SYSENTER_ESP};
    for msr in [
        FS_BASE,
        GS_BASE,
        KERNEL_GS_BASE,
        LSTAR,
        SYSENTER_EIP,
        SYSENTER_ESP,
    ] {
        same!(raised(msr::write(msr, 1 << 47)), GP0, "{msr:?}");
        same!(
            raised(msr::write(msr, 0xffff_8000_0000_0000)),
            None,
            "{msr:?}"
        );
        msr::write(msr, 0)?;
    }
    Ok(())
}

fn tsc_aux_shows_in_rdtscp() -> Verdict {
    let shown = guests::cpu::cpuid(leaf::EXTENDED_1, 0)[EDX] & Extended1Edx::RDTSCP.bits() != 0;
    claim!(shown, "all models that are tested on have RDTSCP");
    msr::write(spec::msr::TSC_AUX, 0x1234_5678)?;
    let aux: u32;
    // SAFETY: reads a counter.
    unsafe { asm!("rdtscp", out("eax") _, out("edx") _, out("ecx") aux) };
    same!(aux, 0x1234_5678);
    msr::write(spec::msr::TSC_AUX, 0)?;
    Ok(())
}

const JUMP: u64 = 1 << 40;

fn a_write_to_the_tsc_moves_it_and_its_adjustment() -> Verdict {
    let adjustment = msr::read(spec::msr::TSC_ADJUST)?;
    let before = tsc();
    msr::write(spec::msr::TSC, before + JUMP)?;
    let moved = tsc() - before;
    claim!(
        (JUMP..JUMP + 100_000).contains(&moved),
        "RDTSC moved by {moved:#x}"
    );
    claim!(
        msr::read(spec::msr::TSC)? >= before + JUMP,
        "RDMSR tells another time than RDTSC"
    );
    let adjusted = msr::read(spec::msr::TSC_ADJUST)?.wrapping_sub(adjustment);
    claim!(
        (JUMP - 100_000..=JUMP).contains(&adjusted),
        "adjustment moved by {adjusted:#x}"
    );
    Ok(())
}

fn a_write_to_the_adjustment_moves_the_tsc() -> Verdict {
    let before = tsc();
    let adjustment = msr::read(spec::msr::TSC_ADJUST)?;
    msr::write(spec::msr::TSC_ADJUST, adjustment.wrapping_sub(JUMP))?;
    same!(
        msr::read(spec::msr::TSC_ADJUST)?,
        adjustment.wrapping_sub(JUMP)
    );
    let moved = before - tsc();
    claim!(
        (JUMP - 100_000..=JUMP).contains(&moved),
        "RDTSC moved back by {moved:#x}"
    );
    Ok(())
}

fn fast_strings_are_on_and_stay_so() -> Verdict {
    let before = msr::read(spec::msr::MISC_ENABLE)?;
    claim!(before & MiscEnable::FAST_STRINGS.bits() != 0, "{before:#x}");
    msr::write(spec::msr::MISC_ENABLE, before)?;
    same!(
        raised(msr::write(
            spec::msr::MISC_ENABLE,
            before ^ MiscEnable::FAST_STRINGS.bits()
        )),
        GP0
    );
    same!(msr::read(spec::msr::MISC_ENABLE)?, before);
    Ok(())
}

fn there_is_no_microcode_update() -> Verdict {
    msr::write(spec::msr::BIOS_SIGN_ID, 0)?;
    same!(msr::read(spec::msr::BIOS_SIGN_ID)?, 0);
    same!(raised(msr::write(spec::msr::BIOS_UPDT_TRIG, 0x1000)), GP0);
    Ok(())
}

/// CPUID shows machine checks; there is no register that could tell of one, and control.rs sets CR4.MCE.
fn machine_checks_have_no_banks() -> Verdict {
    let shown = (Leaf1Edx::MCE | Leaf1Edx::MCA).bits();
    same!(guests::cpu::cpuid(leaf::FEATURES, 0)[EDX] & shown, shown);
    same!(msr::read(spec::msr::MCG_CAP)?, 0);
    same!(msr::read(spec::msr::MCG_STATUS)?, 0);
    msr::write(spec::msr::MCG_STATUS, 0)?;
    same!(raised(msr::write(spec::msr::MCG_STATUS, 4)), GP0);
    Ok(())
}

fn speculation_control_is_there_as_cpuid_shows_it() -> Verdict {
    let seven = guests::cpu::cpuid(leaf::EXTENDED_FEATURES, 0);
    let shown = Leaf7Edx::from_bits_retain(seven[EDX]);
    let (control, command) = (spec::msr::SPEC_CTRL, spec::msr::PRED_CMD);
    if shown.intersects(Leaf7Edx::IBRS | Leaf7Edx::STIBP | Leaf7Edx::SSBD) {
        same!(msr::read(control)?, 0);
        msr::write(control, 1)?;
        same!(msr::read(control)?, 1);
        msr::write(control, 0)?;
        same!(raised(msr::write(control, 1 << 63)), GP0);
    } else {
        same!(raised(msr::read(control)), GP0);
        same!(raised(msr::write(control, 0)), GP0);
    }
    let barrier = shown.contains(Leaf7Edx::IBRS);
    same!(
        raised(msr::write(command, 1)),
        if barrier { None } else { GP0 }
    );
    same!(raised(msr::read(command)), GP0, "write-only");
    Ok(())
}

fn branch_records_are_never_on() -> Verdict {
    msr::write(spec::msr::DEBUGCTL, 0b11)?;
    same!(msr::read(spec::msr::DEBUGCTL)?, 0);
    same!(
        raised(msr::write(spec::msr::DEBUGCTL, 1 << 6)),
        GP0,
        "branch trace messages"
    );
    Ok(())
}

fn upper_halves_are_cleared() -> Verdict {
    for msr in [spec::msr::APIC_BASE, spec::msr::TSC, spec::msr::FS_BASE] {
        let (a, d): (u64, u64);
        // SAFETY: reads a register.
        unsafe {
            asm!("rdmsr", in("ecx") msr.0, inout("rax") u64::MAX => a, inout("rdx") u64::MAX => d)
        };
        same!((a >> 32, d >> 32), (0, 0), "{msr:?}");
    }
    Ok(())
}
