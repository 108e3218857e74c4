//! A guest that behaves badly for ever, each time in the way that a word of its command line names.
#![no_std]
#![no_main]
// UNSAFETY: instructions and accesses that no good guest makes.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::{cmdline, cpu, interrupt, lapic, msr, program, say, trap};
use spec::apic::register;

program!(main);

const VECTOR: u8 = 0x60;
/// Ticks after which a halted guest is woken.
const NAP: u64 = 2_000;

/// What it can do, and by which word.
const WAYS: [(&str, fn()); 7] = [
    ("spin", spin),
    ("halt", halt),
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
    interrupt::forget();
    let _ = lapic::set_timer(spec::apic::Lvt::TSC_DEADLINE, VECTOR);
    loop {
        let _ = lapic::arm(NAP);
        cpu::sti_hlt();
        cpu::cli();
    }
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
