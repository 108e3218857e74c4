//! A start finds nothing of what the one before it left in the local APIC: nothing requested or in service, no deadline, no NMI; and
//! nothing comes when interrupts open. The guest does as it is told by a character: it leaves all that there is, in the handler of an
//! NMI with others below it, and then resets (`r`), halts (`h`) or stays busy (`b`) until someone ends it; or it takes a storm of its
//! own messages and deadlines (`s`). Any other powers off.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU8, Ordering};
use guests::lapic::{read, write_here};
use guests::smp::NMI;
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, interrupt, ioapic, lapic, msr, power, same, say, uart};
use spec::apic::{FIRST_VECTOR, Lvt, register};
use spec::ioapic::Redirection;
use spec::uart::{Ier, Lsr, Mcr, offset};

guest!(
    nothing_is_left_in_xapic_mode,
    nothing_comes_to_an_apic_that_is_off,
    nothing_comes_in_xapic_mode,
    nothing_is_left_in_x2apic_mode,
    nothing_comes_in_x2apic_mode,
    each_vector_comes_once,
    the_guest_does_as_told,
);

/// So long each stays open; the deadline that is left lies between them.
const LONG: u64 = 3_000_000;
const TIMER: u8 = 0x61;
/// What is left in service, each of a higher class than the one before, below the NMI.
const NESTED: [u8; 3] = [0x31, 0x51, 0x71];
/// The level-triggered one, which the UART's pin raises.
const PIN: u8 = 0x91;

fn nothing_is_left() -> Verdict {
    for word in 0..8 {
        for (name, set) in [
            ("ISR", register::ISR),
            ("TMR", register::TMR),
            ("IRR", register::IRR),
        ] {
            same!(read(set + word), 0, "{name}, word {word}");
        }
    }
    same!((read(register::TPR), read(register::PPR)), (0, 0));
    same!(cpu::cr8(), 0);
    same!(read(register::ESR), 0);
    same!(read(register::TIMER_CURRENT), 0);
    same!(msr::read(spec::msr::TSC_DEADLINE)?, 0);
    same!(msr::read(spec::msr::TSC_ADJUST)?, 0);
    Ok(())
}

/// Opens interrupts for long.
fn nothing_comes() -> Verdict {
    interrupt::forget();
    cpu::sti();
    cpu::spin_until(cpu::tsc() + LONG);
    cpu::cli();
    let first = interrupt::arrival(0).map(|came| came.vector);
    same!(first, None);
    Ok(())
}

fn nothing_is_left_in_xapic_mode() -> Verdict {
    same!(read(register::SVR), 0xff);
    same!(read(register::LVT_TIMER), Lvt::MASKED.bits());
    nothing_is_left()
}

fn nothing_comes_to_an_apic_that_is_off() -> Verdict {
    nothing_comes()
}

fn nothing_comes_in_xapic_mode() -> Verdict {
    lapic::enable()?;
    nothing_comes()
}

fn nothing_is_left_in_x2apic_mode() -> Verdict {
    lapic::enter_x2apic()?;
    nothing_is_left()
}

fn nothing_comes_in_x2apic_mode() -> Verdict {
    nothing_comes()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    nothing_comes()
}

/// Requests all vectors that there are by messages to itself.
fn request_all() {
    for vector in FIRST_VECTOR..=u8::MAX {
        write_here(register::SELF_IPI, vector.into());
    }
}

/// The stubs of vectors below 32 may be those of exceptions, but what comes there is an interrupt: it is not tried with these.
fn each_vector_comes_once() -> Verdict {
    interrupt::forget();
    for vector in 32..lapic::SPURIOUS {
        write_here(register::SELF_IPI, vector.into());
    }
    cpu::sti();
    cpu::cli();
    for vector in 32..lapic::SPURIOUS {
        same!(interrupt::count(vector), 1, "vector {vector}");
    }
    nothing_is_left()
}

/// How the guest is to end.
static ORDER: AtomicU8 = AtomicU8::new(0);

fn the_guest_does_as_told() -> Verdict {
    say!("guest: what now?");
    while uart::read(offset::LSR) & Lsr::DATA.bits() == 0 {}
    let order = uart::read(offset::DATA);
    ORDER.store(order, Ordering::Relaxed);
    interrupt::forget();
    match order {
        b's' => storm(),
        b'r' | b'h' | b'b' => {}
        _ => return Ok(()),
    }
    say!("guest: leaves all");
    ioapic::route(
        uart::PIN,
        Redirection::LEVEL | Redirection::from_bits_retain(PIN.into()),
    );
    uart::write(offset::MCR, (Mcr::OUT2 | Mcr::DTR | Mcr::RTS).bits());
    interrupt::also(leave);
    write_here(register::SELF_IPI, NESTED[0].into());
    cpu::sti();
    claim!(false, "the handlers came back");
    Ok(())
}

/// Each raises the next one inside its handler, the last the pin's and an NMI, in whose handler all is requested.
fn leave(vector: u8) {
    let next = NESTED
        .iter()
        .position(|v| *v == vector)
        .map(|at| NESTED.get(at + 1));
    match next {
        Some(Some(next)) => {
            write_here(register::SELF_IPI, (*next).into());
            cpu::sti();
        }
        Some(None) => {
            // The line is empty, and so the pin is high.
            uart::write(offset::IER, Ier::TRANSMIT.bits());
            cpu::sti();
        }
        None if vector == PIN => lapic::send(0, NMI),
        // One NMI more waits for the end of this handler.
        None => {
            lapic::send(0, NMI);
            request_all();
            arm(cpu::tsc() + 2 * LONG);
            end();
        }
    }
    // The pin's or the NMI's handler does not come back.
    loop {
        core::hint::spin_loop();
    }
}

fn arm(deadline: u64) {
    msr::write_plain(spec::msr::TSC_DEADLINE, deadline);
}

fn end() -> ! {
    match ORDER.load(Ordering::Relaxed) {
        b'r' => power::reset(),
        b'h' => loop {
            cpu::cli_hlt();
        },
        _ => loop {
            core::hint::spin_loop();
        },
    }
}

/// Deadlines one after the other, messages to itself of all classes, and interrupts open now and then; without an end.
fn storm() -> ! {
    say!("guest: storms");
    interrupt::also(|vector| {
        if vector == TIMER {
            arm(cpu::tsc() + 700);
        }
    });
    arm(cpu::tsc() + 700);
    loop {
        for vector in (32..=u8::MAX).step_by(7) {
            write_here(register::SELF_IPI, vector.into());
            if vector % 4 == 0 {
                cpu::sti();
                cpu::cli();
            }
        }
        cpu::sti_hlt();
    }
}
