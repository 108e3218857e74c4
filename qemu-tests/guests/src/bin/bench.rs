//! What exits cost, in ticks, from the guest's side. `cargo xtask bench` runs this same file under the hypervisor and
//! bare, where the instructions cost what they cost.
//!
//! Each row is the least and the median of many repetitions, less what an empty measurement takes; lateness is counted
//! from the deadline to the handler's first words. The row `icr_other` needs a second processor, and is missing where
//! there is none.
#![no_std]
#![no_main]
// UNSAFETY: instructions between two reads of the TSC.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, Ordering};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, interrupt, ioapic, lapic, mmio, msr, port, say, second, uart};
use spec::apic::{Lvt, register};

guest!(exits_are_measured);

const TIMES: usize = 201;
/// Repetitions that nobody counts: they fill what is cached.
const WARM_UP: usize = 4;

/// Vectors, each of a priority class of its own.
const SELF: u8 = 0x52;
const TIMER: u8 = 0x62;
const PING: u8 = 0x72;

/// From arming to the deadline, enough for the slowest way to HLT.
const AHEAD: u64 = 20_000;
/// Ticks until the other processor has surely halted.
const SETTLED: u64 = 20_000;
/// An answer that has not come after so long never comes.
const PATIENCE: u64 = 10_000_000;

/// What came of many repetitions.
#[derive(Clone, Copy)]
struct Spread {
    least: u64,
    median: u64,
}

/// Repeats `once`, which says how long it took.
#[inline(always)]
fn repeat(mut once: impl FnMut() -> u64) -> Spread {
    let mut took = [0; TIMES];
    for _ in 0..WARM_UP {
        once();
    }
    for slot in &mut took {
        *slot = once();
    }
    took.sort_unstable();
    Spread {
        least: took[0],
        median: took[TIMES / 2],
    }
}

/// Repeats `body` between two reads of the TSC.
#[inline(always)]
fn spans(mut body: impl FnMut()) -> Spread {
    repeat(|| {
        let start = cpu::tsc();
        body();
        cpu::tsc() - start
    })
}

/// Prints a row; `nothing` is what was measured beside.
fn show(name: &str, spread: Spread, nothing: u64) {
    let (least, median) = (
        spread.least.saturating_sub(nothing),
        spread.median.saturating_sub(nothing),
    );
    say!("bench: {name} least={least} median={median}");
}

/// WRMSR of a register where no fault is expected.
#[inline(always)]
fn wrmsr(msr: spec::Msr, value: u64) {
    // SAFETY: of the local APIC's registers and of one that only takes zero; handlers keep to their own memory.
    unsafe {
        asm!("wrmsr", in("ecx") msr.0, in("eax") value as u32, in("edx") (value >> 32) as u32, options(nostack))
    };
}

const ICR: spec::Msr = lapic::msr_of(register::ICR);
/// Fixed, to oneself by shorthand.
const TO_SELF: u64 = 1 << 18 | 1 << 14 | SELF as u64;

fn exits_are_measured() -> Verdict {
    lapic::enable()?;
    let nothing = spans(|| {}).least;
    say!("bench: nothing {nothing}");
    plain(nothing)?;
    lapic::enter_x2apic()?;
    own_interrupts(nothing);
    timer()?;
    other_processor(nothing)
}

/// Instructions that are answered at once.
fn plain(nothing: u64) -> Verdict {
    let row = |name, spread| show(name, spread, nothing);
    row(
        "cpuid",
        spans(|| {
            // SAFETY: reads registers; RBX is put back.
            unsafe {
                asm!("mov {b}, rbx", "cpuid", "mov rbx, {b}", b = out(reg) _, inout("eax") 1 => _, inout("ecx") 0 => _, out("edx") _, options(nostack))
            };
        }),
    );
    row(
        "rdmsr",
        spans(|| {
            // SAFETY: reads a register.
            unsafe {
                asm!("rdmsr", in("ecx") spec::msr::APIC_BASE.0, out("eax") _, out("edx") _, options(nostack))
            };
        }),
    );
    // The revision of the microcode takes only zero.
    msr::write(spec::msr::BIOS_SIGN_ID, 0)?;
    row("wrmsr", spans(|| wrmsr(spec::msr::BIOS_SIGN_ID, 0)));
    row(
        "port_uart",
        spans(|| {
            let _ = uart::read(spec::uart::offset::LSR);
        }),
    );
    row(
        "port_absent",
        spans(|| {
            let _ = port::in8(0x80);
        }),
    );
    row(
        "ioapic_read",
        spans(|| {
            let _ = mmio::read32(ioapic::BASE);
        }),
    );
    row(
        "xapic_read",
        spans(|| {
            let _ = mmio::read32(lapic::address_of(register::VERSION));
        }),
    );
    Ok(())
}

/// Interrupts to oneself, in x2APIC mode.
fn own_interrupts(nothing: u64) {
    let row = |name, spread| show(name, spread, nothing);
    row("icr_self_write", spans(|| wrmsr(ICR, TO_SELF)));
    let self_ipi = lapic::msr_of(register::SELF_IPI);
    row("self_ipi_write", spans(|| wrmsr(self_ipi, SELF.into())));
    cpu::sti();
    cpu::cli();
    row(
        "icr_self",
        spans(|| {
            // SAFETY: the handler counts.
            unsafe {
                asm!("sti", "wrmsr", "nop", "cli", in("ecx") ICR.0, in("eax") TO_SELF as u32, in("edx") 0)
            };
        }),
    );
    row(
        "self_ipi",
        spans(|| {
            // SAFETY: the handler counts.
            unsafe {
                asm!("sti", "wrmsr", "nop", "cli", in("ecx") self_ipi.0, in("eax") u32::from(SELF), in("edx") 0)
            };
        }),
    );
    // Nothing is in service.
    row("eoi", spans(|| wrmsr(lapic::msr_of(register::EOI), 0)));
    row(
        "hlt_pending",
        repeat(|| {
            wrmsr(ICR, TO_SELF);
            let start = cpu::tsc();
            cpu::sti_hlt();
            cpu::tsc() - start
        }),
    );
}

/// The timer: arming it, and how late it comes.
fn timer() -> Verdict {
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    let deadline = spec::msr::TSC_DEADLINE;
    let nothing = spans(|| {}).least;
    let far = cpu::tsc() + (1 << 40);
    show("tsc_deadline", spans(|| wrmsr(deadline, far)), nothing);
    wrmsr(deadline, 0);
    let mut came = true;
    let mut lateness = |wait: fn(u64)| {
        repeat(|| {
            interrupt::forget();
            let when = cpu::tsc() + AHEAD;
            wrmsr(deadline, when);
            wait(when);
            let arrival = interrupt::arrival(0);
            came &= arrival.is_some_and(|a| a.vector == TIMER && a.tsc >= when);
            arrival.map_or(0, |a| a.tsc.saturating_sub(when))
        })
    };
    let spinning = lateness(|_| {
        let _ = interrupt::spin(TIMER, 1, PATIENCE);
    });
    let halted = lateness(|_| cpu::sti_hlt());
    claim!(came, "a timer's interrupt did not come, or before its time");
    // A deadline is a moment, and no empty measurement stands between it and the handler.
    show("timer_spin", spinning, 0);
    show("timer_halt", halted, 0);
    Ok(())
}

/// Whether the other processor is to halt between its interrupts.
static HALT: AtomicBool = AtomicBool::new(false);
/// Whether it is to go.
static GO: AtomicBool = AtomicBool::new(false);
/// Its answer.
static ANSWER: AtomicBool = AtomicBool::new(false);

fn answer(vector: u8) {
    if vector == PING {
        ANSWER.store(true, Ordering::Release);
    }
}

/// What the other processor does: it waits for interrupts, spinning or halted.
fn wait_for_interrupts() {
    while !GO.load(Ordering::Acquire) {
        if HALT.load(Ordering::Acquire) {
            cpu::sti_hlt();
        } else {
            cpu::sti();
            core::hint::spin_loop();
            cpu::cli();
        }
    }
}

/// An IPI to another processor, until what its handler writes is seen.
fn other_processor(nothing: u64) -> Verdict {
    interrupt::forget();
    interrupt::also(answer);
    let Some(id) = second::start(wait_for_interrupts) else {
        say!("bench: one processor");
        return Ok(());
    };
    let ping = u64::from(id) << 32 | 1 << 14 | u64::from(PING);
    let mut answered = true;
    let mut round_trip = || {
        ANSWER.store(false, Ordering::Release);
        let start = cpu::tsc();
        wrmsr(ICR, ping);
        while !ANSWER.load(Ordering::Acquire) {
            if cpu::tsc() > start + PATIENCE {
                answered = false;
                break;
            }
        }
        cpu::tsc() - start
    };
    let spinning = repeat(&mut round_trip);
    HALT.store(true, Ordering::Release);
    let halted = repeat(|| {
        cpu::spin_until(cpu::tsc() + SETTLED);
        round_trip()
    });
    GO.store(true, Ordering::Release);
    round_trip();
    claim!(answered, "the other processor did not answer");
    show("icr_other", spinning, nothing);
    show("icr_other_halted", halted, nothing);
    Ok(())
}
