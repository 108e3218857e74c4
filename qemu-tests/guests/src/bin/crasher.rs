//! A guest that looks whether its memory is as after power-on, does a bit of everything on two processors, and crashes: when and how is
//! drawn anew each time.
//!
//! ```text
//! crasher: clean seed=184467
//! ```
#![no_std]
#![no_main]
// UNSAFETY: marks in memory, and instructions that no good guest makes.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::random::Random;
use guests::{cpu, interrupt, ioapic, lapic, msr, port, program, say, second, trap};
use spec::apic::{Lvt, register};

program!(main);

/// All of RAM that is not in use: from 2 MiB on.
const FREE: core::ops::Range<u64> = 0x20_0000..0x80_0000;
const PAGE: u64 = 4096;
const VECTOR: u8 = 0x60;
/// Ticks after which it has crashed.
const LONGEST: u64 = 1_000_000;

/// When the second processor crashes, and whether it is to.
static WHEN: AtomicU64 = AtomicU64::new(u64::MAX);
static SECOND: AtomicBool = AtomicBool::new(false);

fn main() {
    let begun = cpu::tsc();
    let mut random = Random::new(begun);
    let at = FREE.step_by(8).find(|at| read(*at) != 0);
    match at {
        Some(at) => say!("crasher: dirty at={at:#x} value={:#x}", read(at)),
        None => say!("crasher: clean seed={begun}"),
    }
    for page in FREE.step_by(PAGE as usize) {
        write(page + 8 * random.below(PAGE / 8), begun | 1);
    }
    let timer = lapic::enable()
        .and_then(|()| lapic::enter_x2apic())
        .and_then(|()| lapic::set_timer(Lvt::PERIODIC, VECTOR));
    if timer.is_err() {
        say!("crasher: there is no x2APIC");
        return;
    }
    interrupt::forget();
    let _ = lapic::write(register::TIMER_INITIAL, 1 + random.below(1 << 14) as u32);
    SECOND.store(random.below(4) == 0, Ordering::Relaxed);
    WHEN.store(cpu::tsc() + random.below(LONGEST), Ordering::Release);
    // One in eight crashes while the other comes up.
    if random.below(8) != 0 {
        let _ = second::start(busy);
    }
    cpu::sti();
    while cpu::tsc() < WHEN.load(Ordering::Relaxed) || SECOND.load(Ordering::Relaxed) {
        exits(&mut random);
        if cpu::tsc() > WHEN.load(Ordering::Relaxed) + LONGEST {
            // The second has not come, or has not crashed.
            break;
        }
    }
    crash(&mut random);
}

/// The second processor's life.
fn busy() {
    let mut random = Random::new(cpu::tsc());
    loop {
        exits(&mut random);
        if SECOND.load(Ordering::Relaxed) && cpu::tsc() > WHEN.load(Ordering::Acquire) {
            crash(&mut random);
        }
    }
}

/// Something that exits.
fn exits(random: &mut Random) {
    match random.below(5) {
        0 => {
            let _ = cpu::cpuid(0, 0);
        }
        1 => {
            let others = 3u64 << 18;
            let _ = msr::write(lapic::msr_of(register::ICR), others | u64::from(VECTOR));
        }
        2 => {
            let _ = ioapic::read(1);
        }
        3 => {
            let _ = port::in8(0x3fd);
        }
        _ => {
            let _ = msr::read(spec::msr::TSC_DEADLINE);
        }
    }
}

fn crash(random: &mut Random) {
    match random.below(3) {
        0 => {
            trap::uninstall();
            // SAFETY: ends here.
            unsafe { asm!("ud2") };
        }
        1 => {
            // SAFETY: the I/O APIC's page is mapped, and its read has no effect. No driver uses such an instruction for it.
            unsafe { asm!("fild qword ptr [{}]", "fstp st(0)", in(reg) 0xfec0_0000_u64) };
        }
        _ => {
            trap::uninstall();
            // SAFETY: ends here: there is nothing that a stack could be.
            unsafe { asm!("xor esp, esp", "push 1", "int3", options(noreturn)) };
        }
    }
}

fn read(at: u64) -> u64 {
    // SAFETY: RAM that holds nothing else.
    unsafe { (at as *const u64).read_volatile() }
}

fn write(at: u64, value: u64) {
    // SAFETY: RAM that holds nothing else.
    unsafe { (at as *mut u64).write_volatile(value) };
}
