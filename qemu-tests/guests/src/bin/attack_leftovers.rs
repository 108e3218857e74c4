//! Attacker: looks for what others left behind, and leaves all that it can. Memory that was not loaded is zero and holds no mark, neither
//! of this VM's life before nor of a neighbour; registers are as after a reset; and while it gives its core away, all that it has switched
//! off, vector registers most of all, stays its own.
#![no_std]
#![no_main]
// UNSAFETY: reads all of memory, and registers that nothing else here uses.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::start::{STACK, STACK_SIZE};
use guests::trap::{GP0, UD, raised};
use guests::vectors::{self, Area, Width};
use guests::verdict::{Verdict, figure};
use guests::{attempt, claim, cpu, guest, interrupt, lapic, msr, power, same, say, uart};
use spec::apic::Lvt;
use spec::cpu::Cr4;
use spec::cpuid::{EBX, ECX, EDX, Extended1Edx, Leaf7Ecx, Leaf7Edx, Xcr0, leaf};
use spec::uart::{Lsr, offset};
use spec::{Msr, PAGE_SIZE};

guest!(
    debug_registers_are_as_after_reset,
    model_registers_are_as_after_reset,
    vector_registers_are_as_after_reset,
    memory_that_was_not_loaded_is_zero,
    no_mark_of_anyone_is_in_memory,
    vector_registers_that_are_off_stay_ones_own,
    debug_registers_stay_ones_own,
    model_registers_stay_ones_own,
    there_are_no_protection_keys,
    there_is_no_supervisor_state,
    the_guest_does_as_told,
);

const END: u64 = 16 << 20;
/// A PC's hole, in which nothing is.
const HOLE: core::ops::Range<u64> = 0xa_0000..0xe_0000;
const TIMER: u8 = 0x61;
/// So long it is away, by turns spinning and halted: neighbours have had several turns of 50,000.
const AWAY: u64 = 400_000;

/// What `steady` marks its memory with, and this guest too: the number of the guest and the address, times a constant.
const FACTOR: u64 = 0x9e37_79b9_7f4a_7c15;
const OWN: u64 = 0xa7;
const NEIGHBOURS: [u64; 2] = [1, 2];

/// The number that undoes the product, modulo 2^64 (Newton's iteration doubles the bits that are right, three at first).
const INVERSE: u64 = {
    let (mut x, mut n) = (FACTOR, 0);
    while n < 5 {
        x = x.wrapping_mul(2u64.wrapping_sub(FACTOR.wrapping_mul(x)));
        n += 1;
    }
    x
};
const _: () = assert!(FACTOR.wrapping_mul(INVERSE) == 1);

fn mark(id: u64, at: u64) -> u64 {
    (at ^ id << 56).wrapping_mul(FACTOR)
}

/// Whose mark a word is, and of which address.
fn whose(word: u64) -> Option<(u64, u64)> {
    let of = word.wrapping_mul(INVERSE);
    let (id, at) = (of >> 56, of & ((1 << 56) - 1));
    let known = id == OWN || NEIGHBOURS.contains(&id);
    // Those of registers are of the first few addresses. That of zero is no more than a byte, as programs have them.
    (known && at != 0 && at < END && (at.is_multiple_of(8) || at < 16)).then_some((id, at))
}

fn read(at: u64) -> u64 {
    let value;
    // SAFETY: reads.
    unsafe { asm!("mov {}, [{}]", out(reg) value, in(reg) at, options(nostack, readonly)) };
    value
}

/// What was loaded ends here, in whole pages.
fn free() -> core::ops::Range<u64> {
    unsafe extern "C" {
        static bss_end: u8;
    }
    ((&raw const bss_end) as u64).next_multiple_of(PAGE_SIZE)..END
}

fn debug_registers_are_as_after_reset() -> Verdict {
    let registers: [u64; 4];
    // SAFETY: reads registers.
    unsafe {
        let (a, b, c, d);
        asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", out(reg) a, out(reg) b, out(reg) c, out(reg) d);
        registers = [a, b, c, d];
    }
    same!(registers, [0; 4]);
    same!((cpu::dr6(), cpu::dr7()), (0xffff_0ff0, 0x400));
    same!((cpu::cr2(), cpu::cr8()), (0, 0));
    Ok(())
}

/// Registers that a guest has for itself without an exit, with the bits that are kept of whatever is written.
fn model_registers() -> impl Iterator<Item = (Msr, u64)> {
    const CANONICAL: u64 = 0x7fff_ffff_ffff;
    let always = [
        (spec::msr::STAR, u64::MAX),
        (spec::msr::LSTAR, CANONICAL),
        (spec::msr::CSTAR, CANONICAL),
        (spec::msr::FMASK, 0xffff_ffff),
        (spec::msr::KERNEL_GS_BASE, CANONICAL),
        (spec::msr::FS_BASE, CANONICAL),
        (spec::msr::GS_BASE, CANONICAL),
        (spec::msr::SYSENTER_CS, 0xffff),
        (spec::msr::SYSENTER_ESP, CANONICAL),
        (spec::msr::SYSENTER_EIP, CANONICAL),
    ];
    let rdtscp = cpu::cpuid(leaf::EXTENDED_1, 0)[EDX] & Extended1Edx::RDTSCP.bits() != 0;
    let seven = cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[EDX];
    let control = seven & (Leaf7Edx::IBRS | Leaf7Edx::SSBD).bits() != 0;
    always
        .into_iter()
        .chain(rdtscp.then_some((spec::msr::TSC_AUX, 0xffff_ffff)))
        .chain(control.then_some((spec::msr::SPEC_CTRL, 0)))
}

fn model_registers_are_as_after_reset() -> Verdict {
    for (which, _) in model_registers() {
        same!(msr::read(which)?, 0, "{which:?}");
    }
    same!(msr::read(spec::msr::PAT)?, 0x0007_0406_0007_0406);
    same!(msr::read(spec::msr::TSC_DEADLINE)?, 0);
    same!(msr::read(spec::msr::TSC_ADJUST)?, 0);
    Ok(())
}

fn widest() -> Width {
    vectors::widths().last().unwrap_or(Width::Xmm)
}

#[repr(C, align(64))]
struct Legacy([u8; 512]);

impl Legacy {
    /// FXSAVE64 (SDM vol. 2, "FXSAVE").
    fn saved() -> Legacy {
        let mut area = Legacy([0xcc; 512]);
        // SAFETY: `vectors::enable` has run; writes the area.
        unsafe { asm!("fxsave64 [{}]", in(reg) &raw mut area.0) };
        area
    }

    fn number(&self, at: usize, len: usize) -> u64 {
        let bytes = self.0.get(at..at + len).unwrap_or(&[]);
        bytes
            .iter()
            .rev()
            .fold(0, |value, byte| value << 8 | u64::from(*byte))
    }
}

fn vector_registers_are_as_after_reset() -> Verdict {
    if vectors::has_xsave() {
        // SAFETY: a bit that lets XGETBV be executed.
        unsafe { asm!("mov cr4, {}", in(reg) cpu::cr4() | Cr4::OSXSAVE.bits()) };
        same!(vectors::xcr0(), 1, "XCR0");
    }
    vectors::enable();
    let (zero, mut found) = (Area::new(), Area::new());
    // SAFETY: `enable` has switched them on.
    unsafe { vectors::store(&mut found, widest()) };
    same!(
        found.differs(&zero, widest()),
        None,
        "the first place that is not zero"
    );
    let legacy = Legacy::saved();
    same!(legacy.number(6, 2), 0, "the last x87 instruction");
    same!(
        (legacy.number(8, 8), legacy.number(16, 8)),
        (0, 0),
        "and where it and its operand were"
    );
    same!(legacy.number(24, 4), 0x1f80, "MXCSR");
    for register in 0..8 {
        same!(legacy.number(32 + 16 * register, 10), 0, "ST{register}");
    }
    Ok(())
}

fn memory_that_was_not_loaded_is_zero() -> Verdict {
    let found = free().step_by(8).find(|at| read(*at) != 0);
    claim!(
        found.is_none(),
        "{found:x?} of {:x?} holds {:x?}",
        free(),
        found.map(read)
    );
    Ok(())
}

fn no_mark_of_anyone_is_in_memory() -> Verdict {
    let stack = STACK.address()..STACK.address() + STACK_SIZE as u64;
    for at in (0..END).step_by(8) {
        if HOLE.contains(&at) || stack.contains(&at) {
            continue;
        }
        let word = read(at);
        claim!(
            word == 0 || whose(word).is_none(),
            "{at:#x} holds {word:#x}: {:x?}",
            whose(word)
        );
    }
    // Or the search would find nothing whatever there was.
    same!(whose(mark(OWN, 0x20_0008)), Some((OWN, 0x20_0008)));
    same!(whose(mark(2, 0xff_fff8)), Some((2, 0xff_fff8)));
    Ok(())
}

/// Gives the core away for a while, first spinning, which others end, then halted, with what is to be kept in the registers.
#[inline(never)]
fn go_away() {
    let until = cpu::tsc() + AWAY;
    cpu::spin_until(until);
    while cpu::tsc() < until + AWAY {
        msr::write_plain(spec::msr::TSC_DEADLINE, cpu::tsc() + 20_000);
        cpu::sti_hlt();
    }
}

fn vector_registers_that_are_off_stay_ones_own() -> Verdict {
    lapic::enable()?;
    lapic::enter_x2apic()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    interrupt::forget();
    vectors::enable();
    // What XCR0 can be while the registers are full.
    let values = [vectors::most(), 1, 3, 7]
        .into_iter()
        .filter(|value| value & !vectors::most() == 0);
    let (mut area, mut back) = (Area::new(), Area::new());
    for (round, value) in (0u64..).zip(values) {
        area.fill(|place| mark(OWN, 8 * (place as u64 + 1024 * round)));
        let number = mark(OWN, round) >> 12;
        let mut number_back = 0u64;
        // SAFETY: `enable` has switched them on; x87 is used here alone.
        unsafe {
            vectors::load(&area, widest());
            asm!("fninit", "fild qword ptr [{}]", in(reg) &raw const number);
        }
        if vectors::has_xsave() {
            vectors::set_xcr0(value);
        }
        // One that may not use them at all, too.
        // SAFETY: nothing here uses them while it is set.
        unsafe { asm!("mov cr0, {}", in(reg) cpu::cr0() | spec::cpu::Cr0::TS.bits()) };
        go_away();
        // SAFETY: as above.
        unsafe { asm!("clts") };
        if vectors::has_xsave() {
            same!(vectors::xcr0(), value);
        }
        vectors::enable();
        // SAFETY: as above.
        unsafe {
            vectors::store(&mut back, widest());
            asm!("fistp qword ptr [{}]", in(reg) &raw mut number_back);
        }
        same!(
            back.differs(&area, widest()),
            None,
            "the first place that differs, with XCR0 {value:#x}"
        );
        same!(number_back, number, "ST0");
    }
    figure("interrupts_while_away", interrupt::total() as u64);
    Ok(())
}

fn debug_registers_stay_ones_own() -> Verdict {
    let own = mark(OWN, 8) >> 17;
    // Lengths and kinds of breakpoints of which none is on; bits of which is hit.
    let (dr6, dr7) = (0xffff_0ffau64, 0x5555_0400u64);
    // SAFETY: no breakpoint is on.
    unsafe {
        asm!("mov dr0, {o}", "mov dr1, {o}", "mov dr2, {o}", "mov dr3, {o}", "mov dr6, {six}", "mov dr7, {seven}",
            "mov cr2, {o}", o = in(reg) own, six = in(reg) dr6, seven = in(reg) dr7);
    }
    go_away();
    let found: [u64; 4];
    // SAFETY: reads registers.
    unsafe {
        let (a, b, c, d);
        asm!("mov {}, dr0", "mov {}, dr1", "mov {}, dr2", "mov {}, dr3", out(reg) a, out(reg) b, out(reg) c, out(reg) d);
        found = [a, b, c, d];
    }
    same!(found, [own; 4]);
    same!((cpu::dr6(), cpu::dr7(), cpu::cr2()), (dr6, dr7, own));
    Ok(())
}

fn model_registers_stay_ones_own() -> Verdict {
    for (which, bits) in model_registers() {
        msr::write(which, mark(OWN, which.0.into()) & bits)?;
    }
    go_away();
    for (which, bits) in model_registers() {
        same!(
            msr::read(which)?,
            mark(OWN, which.0.into()) & bits,
            "{which:?}"
        );
    }
    Ok(())
}

fn there_are_no_protection_keys() -> Verdict {
    let shown = cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[ECX];
    same!(
        shown & (Leaf7Ecx::PKU | Leaf7Ecx::OSPKE | Leaf7Ecx::PKS).bits(),
        0,
        "CPUID"
    );
    // SAFETY: these fault.
    let tries = unsafe {
        [
            raised(attempt!("mov cr4, {v}", v = in(reg) cpu::cr4() | Cr4::PKE.bits())),
            raised(attempt!("rdpkru", in("ecx") 0, out("eax") _, out("edx") _)),
            raised(attempt!("wrpkru", in("ecx") 0, in("eax") 0, in("edx") 0)),
        ]
    };
    same!(tries, [GP0, UD, UD]);
    same!(raised(msr::read(Msr(0x6e1))), GP0, "IA32_PKRS");
    if vectors::has_xsave() {
        let with_keys = vectors::most() as u32 | 1 << 9;
        // SAFETY: faults.
        let by = unsafe { attempt!("xsetbv", in("ecx") 0, in("eax") with_keys, in("edx") 0) };
        same!(raised(by), GP0, "XCR0 with PKRU");
        same!(
            vectors::xcr0() & !(Xcr0::X87 | Xcr0::SSE | Xcr0::AVX | Xcr0::AVX512).bits(),
            0
        );
    }
    Ok(())
}

fn there_is_no_supervisor_state() -> Verdict {
    let read = msr::read(spec::msr::XSS);
    claim!(raised(read) == GP0 || read == Ok(0), "{read:x?}");
    for bit in [8, 11, 12, 14, 15, 16] {
        same!(
            raised(msr::write(spec::msr::XSS, 1 << bit)),
            GP0,
            "bit {bit}"
        );
    }
    same!(cpu::cpuid(leaf::XSTATE, 1)[ECX], 0, "CPUID");
    same!(
        cpu::cpuid(leaf::XSTATE, 8)[EBX],
        0,
        "where processor trace would be"
    );
    Ok(())
}

/// Leaves marks in all memory and in each register, where the next life and neighbours look for them.
fn the_guest_does_as_told() -> Verdict {
    for at in free().step_by(8) {
        // SAFETY: RAM that holds nothing else.
        unsafe { (at as *mut u64).write_volatile(mark(OWN, at)) };
    }
    let mut area = Area::new();
    area.fill(|place| mark(OWN, 8 * place as u64));
    // SAFETY: `enable` has run.
    unsafe { vectors::load(&area, widest()) };
    say!("guest: what now?");
    while uart::read(offset::LSR) & Lsr::DATA.bits() == 0 {}
    if uart::read(offset::DATA) == b'r' {
        power::reset();
    }
    Ok(())
}
