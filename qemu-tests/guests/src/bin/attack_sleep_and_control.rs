//! An attacker that sleeps and waits in every way, and writes every combination that there is into the control registers, in every
//! mode. What is legal is judged here by the manual anew.
#![no_std]
#![no_main]
// UNSAFETY: the instructions in question.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::cpu::{self, cpuid, cr0, cr4};
use guests::modes::{self, Mode, Registers};
use guests::start::Pages;
use guests::trap::{GP0, Raised, UD, raised};
use guests::verdict::{Verdict, figure};
use guests::{attempt, attempt_in_user, claim, guest, interrupt, lapic, msr, same};
use spec::Msr;
use spec::apic::{Lvt, register};
use spec::cpu::{Cr0, Cr4, vector};
use spec::cpuid::{EAX, ECX, EDX};

guest!(
    halts_end_with_each_interrupt_and_none_is_lost,
    a_halt_behind_sti_ends_behind_itself_in_every_mode,
    a_halt_is_for_ring_0_in_every_mode,
    waiting_for_memory_is_undefined_in_every_mode,
    a_pause_loop_is_interrupted_on_time,
    every_efer_bit,
    every_xcr0,
    control_registers_are_for_ring_0_in_every_mode,
    a_split_lock_is_whole_and_its_switches_are_absent,
    all_is_as_before,
);

const TIMER: u8 = 0x61;
const WAKE: u8 = 0x35;
/// HLT
const HALT: u8 = 0xf4;
/// STI
const ENABLE: u8 = 0xfb;
/// How late a timer may be on a core that others use too.
const LATE: u64 = 1_000_000;

fn halts_end_with_each_interrupt_and_none_is_lost() -> Verdict {
    lapic::enable()?;
    lapic::enter_x2apic()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    interrupt::forget();
    for n in 1..=2000 {
        // A net: one that came before the HLT, where STI covers it, would leave this asleep for ever.
        let _ = lapic::arm(500_000)?;
        lapic::pend(&[WAKE]);
        cpu::sti_hlt();
        same!(interrupt::count(WAKE), n);
    }
    msr::write(spec::msr::TSC_DEADLINE, 0)?;
    figure("halts_that_only_the_net_has_ended", interrupt::count(TIMER));
    Ok(())
}

fn a_halt_behind_sti_ends_behind_itself_in_every_mode() -> Verdict {
    modes::prepare();
    for mode in [Mode::Protected, Mode::Protected16, Mode::Real] {
        for n in 0..20 {
            lapic::pend(&[WAKE]);
            let found = modes::attempt_with(mode, &[ENABLE, HALT], Registers::default());
            lapic::write_here(register::EOI, 0);
            same!(found.raised, Some((WAKE, 0)), "{n} in {mode:?}");
            same!(found.at, 2, "{n} in {mode:?}: where");
        }
    }
    Ok(())
}

fn a_halt_is_for_ring_0_in_every_mode() -> Verdict {
    modes::prepare();
    for mode in Mode::ALL.into_iter().filter(|mode| !mode.is_ring_0()) {
        // With an interrupt pending, and the flag that would let it in.
        for bytes in [&[HALT][..], &[0x66, HALT], &[0xf3, HALT]] {
            same!(modes::attempt(mode, bytes), GP0, "{bytes:02x?} in {mode:?}");
        }
    }
    Ok(())
}

fn waiting_for_memory_is_undefined_in_every_mode() -> Verdict {
    modes::prepare();
    const WAITPKG: u32 = 1 << 5;
    let monitors: [&[u8]; 2] = [&[0x0f, 0x01, 0xc8], &[0x0f, 0x01, 0xc9]];
    let user: [&[u8]; 3] = [
        &[0xf3, 0x0f, 0xae, 0xf0],
        &[0xf2, 0x0f, 0xae, 0xf0],
        &[0x66, 0x0f, 0xae, 0xf0],
    ];
    same!(cpuid(1, 0)[ECX] & 1 << 3, 0, "MONITOR");
    let user = if cpuid(7, 0)[ECX] & WAITPKG == 0 {
        &user[..]
    } else {
        &[]
    };
    for mode in Mode::ALL {
        for bytes in monitors.iter().chain(user) {
            // The deepest state, a state that is none; interrupts as break events, an extension that is none.
            for (eax, ecx) in [(0, 0), (0xf0, 1), (0x60, 0), (!0, 2), (!0, !0)] {
                let registers = Registers {
                    eax,
                    ecx,
                    ..Registers::default()
                };
                let found = modes::attempt_with(mode, bytes, registers);
                same!(
                    found.raised,
                    UD,
                    "{bytes:02x?} in {mode:?} of {eax:#x} and {ecx:#x}"
                );
            }
        }
    }
    Ok(())
}

fn a_pause_loop_is_interrupted_on_time() -> Verdict {
    interrupt::forget();
    let when = lapic::arm(2_000_000)?;
    // SAFETY: the handler is in place; the loop ends by itself far behind the deadline.
    unsafe {
        asm!("sti", "mov {n:e}, 4000000", "2: pause", "dec {n:e}", "jnz 2b", "cli", n = out(reg) _)
    };
    let Some(came) = interrupt::arrival(0) else {
        claim!(false, "it did not come");
        return Ok(());
    };
    claim!(
        came.tsc >= when && came.tsc - when < LATE,
        "{} late",
        came.tsc.wrapping_sub(when)
    );
    Ok(())
}

fn every_efer_bit() -> Verdict {
    const SCE: u64 = 1;
    const NXE: u64 = 1 << 11;
    let before = msr::read(spec::msr::EFER)?;
    for bit in 0..64 {
        let value = before ^ 1 << bit;
        let by = raised(msr::write(spec::msr::EFER, value));
        let now = msr::read(spec::msr::EFER)?;
        let _ = msr::write(spec::msr::EFER, before);
        let expected = match 1 << bit {
            SCE | NXE => (None, value),
            // LMA is the processor's: what is written to it is ignored (SDM vol. 4).
            0x400 => (None, before),
            _ => (GP0, before),
        };
        same!((by, now), expected, "bit {bit}");
    }
    // Without paging LME is free.
    modes::prepare();
    let code = [0x0f, 0x30, 0x0f, 0x32];
    for mode in [Mode::Protected, Mode::Real] {
        for (bit, expected) in [
            (0, None),
            (8, None),
            (11, None),
            (1, GP0),
            (9, GP0),
            (12, GP0),
            (31, GP0),
        ] {
            let eax = 1u32 << bit;
            let found = modes::attempt_with(
                mode,
                &code,
                Registers {
                    eax,
                    ecx: spec::msr::EFER.0,
                    ..Registers::default()
                },
            );
            same!(found.raised, expected, "bit {bit} in {mode:?}");
            claim!(
                expected.is_some() || found.registers[0] == eax,
                "bit {bit} in {mode:?}: {:#x}",
                found.registers[0]
            );
        }
    }
    msr::write(spec::msr::EFER, before)?;
    Ok(())
}

/// SDM vol. 1, "Enabling the XSAVE Feature Set and XSAVE-Enabled Features".
fn is_legal_xcr0(value: u64, there: u64) -> bool {
    let has = |bit: u32| value >> bit & 1 != 0;
    let all_or_none = |bits: &[u32]| bits.iter().all(|bit| has(*bit) == has(bits[0]));
    value & !there == 0
        && has(0)
        && (!has(2) || has(1))
        && all_or_none(&[3, 4])
        && all_or_none(&[5, 6, 7])
        && (!has(5) || has(2))
        && all_or_none(&[17, 18])
}

fn xsetbv(value: u64) -> Raised {
    // SAFETY: no code here keeps extended state.
    raised(unsafe {
        attempt!("xsetbv", in("ecx") 0, in("eax") value as u32, in("edx") (value >> 32) as u32)
    })
}

fn every_xcr0() -> Verdict {
    modes::prepare();
    let before = cr4();
    // SAFETY: nothing uses extended state.
    unsafe { asm!("mov cr4, {}", in(reg) before | Cr4::OSXSAVE.bits()) };
    let [low, _, _, high] = cpuid(0xd, 0);
    let there = u64::from(high) << 32 | u64::from(low);
    let mut verdict = Ok(());
    let values =
        (0..1 << 10)
            .chain((10..64).map(|bit| 1 << bit | 7))
            .chain([3 << 17 | 3, !0, 7 | 3 << 17]);
    for value in values {
        let expected = if is_legal_xcr0(value, there) {
            None
        } else {
            GP0
        };
        let by = xsetbv(value);
        if by != expected {
            verdict = Err(guests::verdict::broken(
                file!(),
                line!(),
                format_args!("XCR0 = {value:#x}: {by:x?}"),
            ));
            break;
        }
    }
    let _ = xsetbv(1);
    for mode in Mode::ALL {
        let expected = if mode.is_ring_0() { None } else { GP0 };
        let by = modes::attempt_with(
            mode,
            &[0x0f, 0x01, 0xd1],
            Registers {
                eax: 1,
                ..Registers::default()
            },
        );
        same!(by.raised, expected, "XSETBV in {mode:?}");
        let by = modes::attempt_with(
            mode,
            &[0x0f, 0x01, 0xd1],
            Registers {
                eax: 2,
                ..Registers::default()
            },
        );
        same!(by.raised, GP0, "XSETBV of 2 in {mode:?}");
        for prefix in [0x66, 0xf0, 0xf2, 0xf3] {
            same!(
                modes::attempt(mode, &[prefix, 0x0f, 0x01, 0xd1]),
                UD,
                "{prefix:#x} XSETBV in {mode:?}"
            );
        }
    }
    // SAFETY: as it was.
    unsafe { asm!("mov cr4, {}", in(reg) before) };
    for mode in Mode::ALL {
        same!(
            modes::attempt(mode, &[0x0f, 0x01, 0xd1]),
            UD,
            "XSETBV without OSXSAVE in {mode:?}"
        );
        same!(
            modes::attempt(mode, &[0x0f, 0x01, 0xd0]),
            UD,
            "XGETBV without OSXSAVE in {mode:?}"
        );
    }
    verdict
}

fn control_registers_are_for_ring_0_in_every_mode() -> Verdict {
    modes::prepare();
    // MOV from and to CR0, CR3, CR4; LMSW, CLTS; MOV from and to DR7; WBINVD, INVD, LIDT.
    let instructions: [&[u8]; 13] = [
        &[0x0f, 0x20, 0xc0],
        &[0x0f, 0x22, 0xc0],
        &[0x0f, 0x20, 0xd8],
        &[0x0f, 0x22, 0xd8],
        &[0x0f, 0x20, 0xe0],
        &[0x0f, 0x22, 0xe0],
        &[0x0f, 0x01, 0xf0],
        &[0x0f, 0x06],
        &[0x0f, 0x21, 0xf8],
        &[0x0f, 0x23, 0xf8],
        &[0x0f, 0x09],
        &[0x0f, 0x08],
        &[0x0f, 0x30],
    ];
    for mode in Mode::ALL.into_iter().filter(|mode| !mode.is_ring_0()) {
        for bytes in instructions {
            same!(modes::attempt(mode, bytes), GP0, "{bytes:02x?} in {mode:?}");
        }
    }
    // Control registers that are none.
    for mode in Mode::ALL {
        for number in [1, 5, 6, 7] {
            same!(
                modes::attempt(mode, &[0x0f, 0x20, 0xc0 | number << 3]),
                UD,
                "CR{number} in {mode:?}"
            );
            same!(
                modes::attempt(mode, &[0x0f, 0x22, 0xc0 | number << 3]),
                UD,
                "CR{number} in {mode:?}"
            );
        }
    }
    Ok(())
}

static SPLIT: Pages<4096> = Pages::new();

fn a_split_lock_is_whole_and_its_switches_are_absent() -> Verdict {
    // Split-lock detection and its enumeration; what would trap bus locks.
    for number in [0x33, 0xcf] {
        same!(raised(msr::read(Msr(number))), GP0, "MSR {number:#x}");
        same!(
            raised(msr::write(Msr(number), 1 << 29)),
            GP0,
            "MSR {number:#x}"
        );
    }
    same!(cpuid(7, 0)[EDX] & 1 << 30, 0, "IA32_CORE_CAPABILITIES");
    same!(cpuid(7, 0)[ECX] & 1 << 24, 0, "bus-lock detection");
    let at = SPLIT.address() + 64 - 4;
    // SAFETY: a page of this guest's own, aligned or not.
    let value = unsafe { &*((SPLIT.address() + 64) as *const AtomicU64) };
    let mut stopped = 0;
    for _ in 0..20_000 {
        // SAFETY: as above.
        let by = unsafe { attempt!("lock add qword ptr [{at}], 1", at = in(reg) at) };
        // Either the processor does it, or says that it is none.
        let by = raised(by);
        claim!(by.is_none() || by == Some((vector::AC.0, 0)), "{by:x?}");
        stopped += u64::from(by.is_some());
    }
    // SAFETY: as above.
    let sum = unsafe { (at as *const u64).read_unaligned() };
    same!(sum + stopped, 20_000);
    same!(value.load(Ordering::Relaxed), 0, "the upper half");
    // Where the guest asks for it, alignment is checked in ring 3 before the lock.
    let before = cr0();
    // SAFETY: alignment is checked in ring 3 alone.
    let by = unsafe {
        asm!("mov cr0, {}", in(reg) before | Cr0::AM.bits());
        let by = attempt_in_user!("pushfq" "or dword ptr [rsp], 0x40000" "popfq" "lock add qword ptr [r8], 1", in("r8") at);
        asm!("mov cr0, {}", in(reg) before);
        by
    };
    same!(raised(by), Some((vector::AC.0, 0)), "with AC");
    // SAFETY: as above.
    let after = unsafe { (at as *const u64).read_unaligned() };
    same!(after, sum, "after #AC");
    Ok(())
}

fn all_is_as_before() -> Verdict {
    same!(cr0() & (Cr0::CD | Cr0::NW | Cr0::TS | Cr0::EM).bits(), 0);
    claim!(guests::trap::take().is_none(), "an exception was left");
    let _ = cpuid(0, 0)[EAX];
    Ok(())
}
