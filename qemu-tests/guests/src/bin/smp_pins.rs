//! The I/O APIC's messages to each of several processors.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicUsize, Ordering};
use guests::interrupt::{self, count_on};
use guests::smp::{self, MOST, others, until};
use guests::uart::{PIN, read, write};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, ioapic, lapic, same, serial};
use spec::apic::delivery;
use spec::ioapic::Redirection;
use spec::uart::{Ier, offset};

guest!(
    all_processors_come_up,
    an_edge_goes_where_its_entry_says,
    a_level_comes_again_until_its_processor_ends_it,
    a_pin_moves_from_one_to_another_while_it_is_asserted,
    a_logical_message_reaches_all_that_it_names,
    lowest_priority_reaches_one,
    an_nmi_by_a_pin_reaches_its_processor,
    a_pin_wakes_a_halted_processor,
    all_enter_x2apic_mode,
    an_edge_goes_where_its_entry_says,
    a_level_comes_again_until_its_processor_ends_it,
);

const VECTOR: u8 = 0x39;

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()
}

fn all_enter_x2apic_mode() -> Verdict {
    smp::enter_x2apic()
}

/// To a processor by its id, with these bits.
fn to(n: usize, bits: Redirection) -> Redirection {
    Redirection::from_bits_retain((n as u64) << 56 | u64::from(VECTOR)) | bits
}

/// Has the transmitter, which is empty, interrupt by an entry, and lets all processors take what they have.
fn fire(entry: Redirection) -> Verdict {
    serial::drain();
    write(offset::IER, 0);
    let _ = read(offset::IIR);
    ioapic::route(PIN, entry);
    write(offset::IER, Ier::TRANSMIT.bits());
    smp::settle()
}

/// Ends it.
fn quiet() {
    write(offset::IER, 0);
    ioapic::route(PIN, Redirection::MASKED);
}

/// Whether the vector came so often on one processor, and on no other.
fn on_alone(n: usize, vector: u8, times: u64) -> Verdict {
    for other in 0..smp::count() {
        let expected = if other == n { times } else { 0 };
        same!(count_on(other, vector), expected, "for {n}: on {other}");
    }
    Ok(())
}

fn an_edge_goes_where_its_entry_says() -> Verdict {
    for _ in 0..2 {
        for n in 0..smp::count() {
            interrupt::forget();
            fire(to(n, Redirection::empty()))?;
            quiet();
            on_alone(n, VECTOR, 1)?;
        }
    }
    interrupt::forget();
    fire(to(smp::count(), Redirection::empty()))?;
    quiet();
    on_alone(MOST, VECTOR, 0)
}

fn a_level_comes_again_until_its_processor_ends_it() -> Verdict {
    for n in 0..smp::count() {
        interrupt::forget();
        interrupt::also(|vector| {
            if vector == VECTOR && count_on(smp::here(), VECTOR) == 3 {
                let _ = read(offset::IIR);
            }
        });
        fire(to(n, Redirection::LEVEL))?;
        cpu::sti();
        let came = until(|| count_on(n, VECTOR) >= 3);
        cpu::cli();
        smp::settle()?;
        let entry = ioapic::entry(PIN);
        quiet();
        claim!(came, "it came {} times on {n}", count_on(n, VECTOR));
        on_alone(n, VECTOR, 3)?;
        same!(entry & Redirection::REMOTE_IRR.bits(), 0, "remote IRR");
    }
    Ok(())
}

static NEXT: AtomicUsize = AtomicUsize::new(0);

fn a_pin_moves_from_one_to_another_while_it_is_asserted() -> Verdict {
    for n in others() {
        interrupt::forget();
        NEXT.store(n, Ordering::Relaxed);
        // The first sends it elsewhere, and only there its cause ends.
        interrupt::also(|vector| {
            if vector == VECTOR && smp::here() == 0 {
                ioapic::route(PIN, to(NEXT.load(Ordering::Relaxed), Redirection::LEVEL));
            } else if vector == VECTOR {
                let _ = read(offset::IIR);
            }
        });
        fire(to(0, Redirection::LEVEL))?;
        let there = until(|| count_on(n, VECTOR) > 0);
        smp::settle()?;
        quiet();
        claim!(there, "it did not come on {n}");
        same!(
            (count_on(0, VECTOR), count_on(n, VECTOR)),
            (1, 1),
            "on the first and on {n}"
        );
    }
    Ok(())
}

fn a_logical_message_reaches_all_that_it_names() -> Verdict {
    logical_addresses()?;
    interrupt::forget();
    fire(to(0xfe, Redirection::LOGICAL))?;
    quiet();
    for n in 0..smp::count() {
        same!(count_on(n, VECTOR), u64::from(n != 0), "on {n}");
    }
    Ok(())
}

fn logical_addresses() -> Verdict {
    smp::everywhere(
        |_| {
            lapic::write_here(spec::apic::register::LDR, 1 << (24 + (smp::here() & 7)));
            0
        },
        0,
    )?;
    Ok(())
}

fn lowest_priority_reaches_one() -> Verdict {
    logical_addresses()?;
    let lowest = Redirection::from_bits_retain(u64::from(delivery::LOWEST_PRIORITY) << 8);
    for _ in 0..8 {
        interrupt::forget();
        fire(to(0xff, Redirection::LOGICAL | lowest))?;
        quiet();
        same!(
            (0..MOST).map(|n| count_on(n, VECTOR)).sum::<u64>(),
            1,
            "takers"
        );
    }
    Ok(())
}

fn an_nmi_by_a_pin_reaches_its_processor() -> Verdict {
    let nmi = Redirection::from_bits_retain(u64::from(delivery::NMI) << 8);
    for n in 0..smp::count() {
        interrupt::forget();
        fire(to(n, nmi))?;
        quiet();
        on_alone(n, 2, 1)?;
        on_alone(n, VECTOR, 0)?;
    }
    Ok(())
}

fn a_pin_wakes_a_halted_processor() -> Verdict {
    for n in others() {
        interrupt::forget();
        smp::begin(
            n,
            |_| {
                while count_on(smp::here(), VECTOR) == 0 {
                    cpu::sti_hlt();
                }
                0
            },
            0,
        );
        cpu::spin_until(cpu::tsc() + 500_000);
        serial::drain();
        ioapic::route(PIN, to(n, Redirection::empty()));
        write(offset::IER, Ier::TRANSMIT.bits());
        let ended = smp::end(n);
        quiet();
        ended?;
        on_alone(n, VECTOR, 1)?;
    }
    Ok(())
}
