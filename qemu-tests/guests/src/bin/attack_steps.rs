//! An attacker that goes step by step, and from breakpoint to breakpoint, over instructions that exit, in every mode.
#![no_std]
#![no_main]
// UNSAFETY: debug registers, and the instructions in question.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::modes::{self, Mode, PLACE, Registers};
use guests::trap::{GP0, Raised, UD, raised};
use guests::verdict::Verdict;
use guests::{attempt, claim, cpu, guest, same};
use spec::cpu::vector;

guest!(
    one_trap_after_an_instruction_that_exits_in_every_mode,
    a_fault_comes_in_place_of_the_trap_in_every_mode,
    a_halt_that_is_stepped_ends,
    a_breakpoint_comes_before_an_instruction_that_exits,
    the_resume_flag_ends_with_an_instruction_that_exits,
    int1_is_a_debug_exception_without_a_cause,
    debug_registers_are_guarded,
    debug_registers_refuse_what_cannot_be,
);

/// RFLAGS.TF
const STEP: Registers = Registers {
    eax: 0,
    ecx: 0x10,
    edx: 0,
    eflags: 1 << 8,
    cs: None,
};
const DB: Raised = Some((vector::DB.0, 0));

fn one_trap_after_an_instruction_that_exits_in_every_mode() -> Verdict {
    modes::prepare();
    for mode in Mode::ALL {
        // CPUID; RDMSR of the TSC; IN from a port that is absent; XOR of a register, which does not exit.
        for (bytes, needs_ring_0) in [
            (&[0x0f, 0xa2][..], false),
            (&[0x33, 0xc0], false),
            (&[0x0f, 0x32], true),
            (&[0xe4, 0x80], true),
            (&[0x0f, 0x09], true),
            (&[0x0f, 0x20, 0xe0], true),
        ] {
            if needs_ring_0 && !mode.is_ring_0() {
                continue;
            }
            cpu::clear_dr6();
            let found = modes::attempt_with(mode, bytes, STEP);
            same!(
                (found.raised, found.at),
                (DB, bytes.len() as u64),
                "{bytes:02x?} in {mode:?}"
            );
            same!(
                cpu::dr6() & 0xf00f,
                0x4000,
                "DR6 after {bytes:02x?} in {mode:?}"
            );
        }
    }
    cpu::clear_dr6();
    Ok(())
}

fn a_fault_comes_in_place_of_the_trap_in_every_mode() -> Verdict {
    modes::prepare();
    for mode in Mode::ALL {
        // VMCALL, MOV from CR1, RDMSR of what is absent
        for (bytes, expected, ecx) in [
            (&[0x0f, 0x01, 0xc1][..], UD, 0),
            (&[0x0f, 0x20, 0xc8], UD, 0),
            (&[0x0f, 0x32], GP0, 0x480),
        ] {
            cpu::clear_dr6();
            let found = modes::attempt_with(mode, bytes, Registers { ecx, ..STEP });
            same!(
                (found.raised, found.at),
                (expected, 0),
                "{bytes:02x?} in {mode:?}"
            );
            claim!(
                found.flags & 1 << 8 != 0,
                "flags of {bytes:02x?} in {mode:?}: {:#x}",
                found.flags
            );
            same!(cpu::dr6() & 0xf00f, 0, "DR6 after {bytes:02x?} in {mode:?}");
        }
    }
    Ok(())
}

fn a_halt_that_is_stepped_ends() -> Verdict {
    modes::prepare();
    for mode in Mode::ALL.into_iter().filter(|mode| mode.is_ring_0()) {
        let found = modes::attempt_with(mode, &[0xf4], STEP);
        same!((found.raised, found.at), (DB, 1), "{mode:?}");
    }
    cpu::clear_dr6();
    Ok(())
}

fn set_breakpoints(first: u64, second: u64, dr7: u64) {
    // SAFETY: breakpoints at code that is tried; the first exception is taken by `attempt!`.
    unsafe {
        asm!("mov dr0, {}", "mov dr1, {}", "mov dr7, {}", in(reg) first, in(reg) second, in(reg) dr7)
    };
}

/// What exits: CPUID, RDMSR, IN, a read of the I/O APIC's page, VMCALL, which faults.
const EXITING: [&[u8]; 5] = [
    &[0x0f, 0xa2],
    &[0x0f, 0x32],
    &[0xe4, 0x80],
    &[0x8b, 0x01],
    &[0x0f, 0x01, 0xc1],
];
/// ECX for all of them: the I/O APIC, which is no MSR's number
const IOAPIC: u32 = 0xfec0_0000;

fn a_breakpoint_comes_before_an_instruction_that_exits() -> Verdict {
    modes::prepare();
    for mode in [Mode::Long, Mode::Compatibility] {
        for bytes in EXITING {
            cpu::clear_dr6();
            set_breakpoints(PLACE, 0, 0x401);
            let found = modes::attempt_with(
                mode,
                bytes,
                Registers {
                    ecx: IOAPIC,
                    ..Registers::default()
                },
            );
            set_breakpoints(0, 0, 0x400);
            same!(
                (found.raised, found.at),
                (DB, 0),
                "{bytes:02x?} in {mode:?}"
            );
            same!(cpu::dr6() & 0xf00f, 1, "DR6 at {bytes:02x?} in {mode:?}");
        }
    }
    cpu::clear_dr6();
    Ok(())
}

fn the_resume_flag_ends_with_an_instruction_that_exits() -> Verdict {
    modes::prepare();
    for bytes in EXITING.iter().take(4) {
        let is_msr = bytes[1] == 0x32;
        let len = bytes.len() as u64;
        // With RF the breakpoint at the first is passed, and not that at the second, a NOP.
        let mut code = [0x90; 8];
        code[..bytes.len()].copy_from_slice(bytes);
        cpu::clear_dr6();
        set_breakpoints(PLACE, PLACE + len, 0x405);
        let ecx = if is_msr { 0x10 } else { IOAPIC };
        let found = modes::attempt_with(
            Mode::Long,
            &code,
            Registers {
                ecx,
                eflags: 1 << 16,
                ..Registers::default()
            },
        );
        set_breakpoints(0, 0, 0x400);
        same!((found.raised, found.at), (DB, len), "{bytes:02x?}");
        same!(cpu::dr6() & 0xf00f, 2, "DR6 at {bytes:02x?}");
    }
    cpu::clear_dr6();
    Ok(())
}

fn int1_is_a_debug_exception_without_a_cause() -> Verdict {
    modes::prepare();
    for mode in Mode::ALL {
        cpu::clear_dr6();
        let found = modes::attempt(mode, &[0xf1]);
        same!(found, DB, "{mode:?}");
        same!(cpu::dr6() & 0xf00f, 0, "DR6 in {mode:?}");
        // As a trap: behind itself.
        let found = modes::attempt_with(mode, &[0xf1], Registers::default());
        same!(found.at, 1, "{mode:?}");
    }
    Ok(())
}

fn debug_registers_are_guarded() -> Verdict {
    const GD: u64 = 1 << 13;
    macro_rules! guarded {
        ($($instruction:literal)+) => {
            $(
                cpu::clear_dr6();
                // SAFETY: the exception comes in its place, and lifts the guard.
                let by = unsafe { attempt!("mov dr7, {guard}" $instruction, guard = in(reg) 0x400 | GD, inout("rax") 0u64 => _) };
                same!(raised(by), DB, $instruction);
                same!(cpu::dr7() & GD, 0, "the guard after {}", $instruction);
                same!(cpu::dr6() & 0xf00f, 1 << 13, "DR6 after {}", $instruction);
            )+
        };
    }
    guarded!("mov rax, dr0" "mov rax, dr6" "mov rax, dr7" "mov dr0, rax" "mov dr3, rax" "mov dr6, rax" "mov dr7, rax");
    cpu::clear_dr6();
    // An exit in between does not lift it.
    // SAFETY: as above.
    let by = unsafe {
        attempt!("mov dr7, {guard}" "wbinvd" "mov rax, dr0", guard = in(reg) 0x400 | GD, inout("rax") 0u64 => _)
    };
    same!(raised(by), DB);
    cpu::clear_dr6();
    Ok(())
}

fn debug_registers_refuse_what_cannot_be() -> Verdict {
    macro_rules! refused {
        ($($instruction:literal)+) => {
            for bit in 32..64 {
                $(
                    // SAFETY: it faults.
                    let by = unsafe { attempt!($instruction, in("rax") 1u64 << bit) };
                    same!(raised(by), GP0, "{} of bit {bit}", $instruction);
                )+
            }
        };
    }
    refused!("mov dr6, rax" "mov dr7, rax");
    // DR4 and DR5 are DR6 and DR7, unless debugging extensions are on.
    let (dr6, dr7): (u64, u64);
    // SAFETY: reads registers.
    unsafe {
        asm!(".byte 0x0f, 0x21, 0xe0", "mov rcx, rax", ".byte 0x0f, 0x21, 0xe8", out("rcx") dr6, out("rax") dr7)
    };
    same!((dr6, dr7), (cpu::dr6(), cpu::dr7()));
    let before = cpu::cr4();
    // SAFETY: debugging extensions change nothing else here.
    unsafe { asm!("mov cr4, {}", in(reg) before | 1 << 3) };
    // SAFETY: they fault.
    let by = unsafe {
        [
            attempt!(".byte 0x0f, 0x21, 0xe0", out("rax") _),
            attempt!(".byte 0x0f, 0x23, 0xe8", in("rax") 0x400u64),
        ]
    };
    // SAFETY: as it was.
    unsafe { asm!("mov cr4, {}", in(reg) before) };
    let by = by.map(raised);
    same!(by, [UD, UD]);
    Ok(())
}
