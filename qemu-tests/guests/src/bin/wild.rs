//! A guest that behaves badly for ever, each time in the way that a word of its command line names.
//!
//! `nap=` is for how many ticks one that halts sleeps; `on_us=` and `off_us=` are how long one that dozes spins and halts.
#![no_std]
#![no_main]
// UNSAFETY: instructions and accesses that no good guest makes.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::{cmdline, cpu, interrupt, lapic, msr, power, program, say, trap};
use spec::apic::{Lvt, register};

program!(main);

const VECTOR: u8 = 0x60;
/// Divide by one (SDM vol. 3, "Divide Configuration Register").
const UNDIVIDED: u32 = 0b1011;
/// Ticks after which a halted guest is woken.
const NAP: u64 = 2_000;

/// What it can do, and by which word.
const WAYS: [(&str, fn()); 12] = [
    ("spin", spin),
    ("halt", halt),
    ("doze", doze),
    ("timer", timer),
    ("deaf_timer", deaf_timer),
    ("tick", tick),
    ("reset", reset),
    ("ipi", send_to_itself),
    ("exit", exit),
    ("chatter", chatter),
    ("triple", shut_down),
    ("unsupported", unsupported),
];

fn main() {
    let prepared = lapic::enable().and_then(|()| lapic::enter_x2apic());
    if prepared.is_err() {
        say!("wild: there is no x2APIC");
        return;
    }
    for (word, way) in WAYS {
        if cmdline::has(word) {
            say!("wild: begins to {word}");
            way();
        }
    }
    say!("wild: nothing to do");
}

/// Interrupts off, and no exit.
fn spin() {
    loop {
        core::hint::spin_loop();
    }
}

/// Sleeps for as little as it can, without end.
fn halt() {
    deadlines();
    let nap = cmdline::number("nap").unwrap_or(NAP);
    loop {
        arm(nap);
        cpu::sti_hlt();
    }
}

/// Spins and halts by turns.
fn doze() {
    deadlines();
    let micros =
        |name, otherwise| cpu::tsc_hz() / 1_000_000 * cmdline::number(name).unwrap_or(otherwise);
    let (on, off) = (micros("on_us", 20_000), micros("off_us", 20_000));
    loop {
        cpu::spin_until(cpu::tsc() + on);
        arm(off);
        cpu::sti_hlt();
    }
}

fn deadlines() {
    interrupt::forget();
    let _ = lapic::set_timer(Lvt::TSC_DEADLINE, VECTOR);
}

fn arm(ticks: u64) {
    msr::write_plain(spec::msr::TSC_DEADLINE, cpu::tsc() + ticks);
}

/// Arms its timer anew all the while: for a time long past, for now, for soon.
fn timer() {
    deadlines();
    cpu::sti();
    arm_without_end();
}

/// The same, and takes none of its interrupts.
fn deaf_timer() {
    deadlines();
    arm_without_end();
}

fn arm_without_end() {
    loop {
        msr::write_plain(spec::msr::TSC_DEADLINE, 1);
        for soon in [0, 1, 10, 100, 1000] {
            arm(soon);
        }
    }
}

/// Has its timer fire as often as it can, by itself.
fn tick() {
    let _ = lapic::write(register::TIMER_DIVIDE, UNDIVIDED);
    let _ = lapic::set_timer(Lvt::PERIODIC, VECTOR);
    let _ = lapic::write(register::TIMER_INITIAL, 1);
    cpu::sti();
    loop {
        core::hint::spin_loop();
    }
}

/// Begins anew, as soon as it has begun.
fn reset() {
    power::reset();
}

/// Interrupts itself, NMIs among them.
fn send_to_itself() {
    cpu::sti();
    let icr = lapic::msr_of(register::ICR);
    let to_self = 1u64 << 18;
    let nmi = 4u64 << 8;
    loop {
        let _ = msr::write(icr, to_self | u64::from(VECTOR));
        let _ = msr::write(icr, to_self | nmi);
    }
}

/// Exits with every other instruction.
fn exit() {
    loop {
        let _ = cpu::cpuid(0, 0);
    }
}

/// Writes to its console without end, which the machine's one line cannot carry.
fn chatter() {
    loop {
        say!("wild: {:~<60}", "");
    }
}

/// A fault with no handler for it.
fn shut_down() {
    trap::uninstall();
    // SAFETY: ends here.
    unsafe { asm!("ud2") };
}

/// Reads a device by an instruction that no driver uses for that.
fn unsupported() {
    // SAFETY: the I/O APIC's page is mapped, and its read has no effect.
    unsafe { asm!("fild qword ptr [{}]", "fstp st(0)", in(reg) 0xfec0_0000_u64) };
}
