//! Messages between processors: whom they wake, and that none is lost. First in xAPIC mode, then in x2APIC mode.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::interrupt::{self, count_on};
use guests::smp::{self, ASSERT, NMI, OTHERS, WORK, others, until};
use guests::verdict::{Verdict, figure};
use guests::{claim, cpu, guest, lapic, same};

guest!(
    all_processors_come_up,
    a_message_wakes_a_halted_one,
    an_nmi_wakes_one_that_is_halted_with_interrupts_off,
    a_message_does_not_wake_one_that_is_halted_with_interrupts_off,
    messages_go_round_in_a_ring,
    all_send_to_all_at_once_and_none_is_lost,
    all_enter_x2apic_mode,
    a_message_wakes_a_halted_one,
    an_nmi_wakes_one_that_is_halted_with_interrupts_off,
    a_message_does_not_wake_one_that_is_halted_with_interrupts_off,
    messages_go_round_in_a_ring,
    all_send_to_all_at_once_and_none_is_lost,
    round_trips_are_measured,
);

const VECTOR: u8 = 0x51;
const FIXED: u32 = ASSERT | VECTOR as u32;

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()
}

fn all_enter_x2apic_mode() -> Verdict {
    smp::enter_x2apic()?;
    smp::settle()
}

static GO: AtomicBool = AtomicBool::new(false);
static STAMP: AtomicU64 = AtomicU64::new(0);

/// Halts with interrupts on until the vector has come so often.
fn halts(times: u64) -> u64 {
    while count_on(smp::here(), VECTOR) < times {
        cpu::sti_hlt();
    }
    0
}

fn a_message_wakes_a_halted_one() -> Verdict {
    interrupt::forget();
    for n in others() {
        smp::begin(n, halts, 20);
    }
    for times in 1..=20 {
        // Long enough that all have halted, now and then.
        if times % 4 == 0 {
            cpu::spin_until(cpu::tsc() + 50_000);
        }
        lapic::send(0, FIXED | OTHERS);
        for n in others() {
            claim!(
                until(|| count_on(n, VECTOR) >= times),
                "{n} was not woken by message {times}"
            );
        }
    }
    for n in others() {
        smp::end(n)?;
    }
    Ok(())
}

/// Halts with interrupts off once, and says how many NMIs there were after it.
fn halts_off(_: u64) -> u64 {
    GO.store(true, Ordering::Release);
    cpu::cli_hlt();
    count_on(smp::here(), 2) << 32 | count_on(smp::here(), VECTOR)
}

fn an_nmi_wakes_one_that_is_halted_with_interrupts_off() -> Verdict {
    for n in others() {
        interrupt::forget();
        GO.store(false, Ordering::Release);
        smp::begin(n, halts_off, 0);
        claim!(until(|| GO.load(Ordering::Acquire)), "{n} did not begin");
        cpu::spin_until(cpu::tsc() + 500_000);
        lapic::send(n as u32, NMI);
        same!(
            smp::end(n)?,
            1 << 32,
            "NMIs and interrupts of {n} when it woke"
        );
    }
    Ok(())
}

fn a_message_does_not_wake_one_that_is_halted_with_interrupts_off() -> Verdict {
    interrupt::forget();
    GO.store(false, Ordering::Release);
    smp::begin(1, halts_off, 0);
    claim!(until(|| GO.load(Ordering::Acquire)), "it did not begin");
    cpu::spin_until(cpu::tsc() + 500_000);
    lapic::send(1, FIXED);
    cpu::spin_until(cpu::tsc() + 1_000_000);
    same!(count_on(1, VECTOR), 0, "interrupts while halted");
    lapic::send(1, NMI);
    same!(smp::end(1)?, 1 << 32, "NMIs and interrupts when it woke");
    smp::settle()?;
    same!(count_on(1, VECTOR), 1, "when interrupts were on again");
    Ok(())
}

const LAPS: u64 = 25;

fn messages_go_round_in_a_ring() -> Verdict {
    interrupt::forget();
    interrupt::also(|vector| {
        let here = smp::here();
        if vector == VECTOR && (here != 0 || count_on(0, VECTOR) < LAPS) {
            lapic::send(((here + 1) % smp::count()) as u32, FIXED);
        }
    });
    // All are idle, and halted.
    lapic::send(1, FIXED);
    let round = interrupt::spin(VECTOR, LAPS, smp::PATIENCE);
    claim!(round, "it is lost after {} rounds", count_on(0, VECTOR));
    for n in others() {
        same!(count_on(n, VECTOR), LAPS, "rounds by {n}");
    }
    Ok(())
}

/// Sends a vector of its own to all others, waits until all of theirs have come, and so on.
fn storm(rounds: u64) -> u64 {
    let here = smp::here();
    for round in 1..=rounds {
        lapic::send(0, ASSERT | OTHERS | (0x80 + here as u32));
        cpu::sti();
        let came = until(|| {
            (0..smp::count()).all(|n| n == here || count_on(here, 0x80 + n as u8) >= round)
        });
        cpu::cli();
        if !came {
            return round;
        }
        // No one may be two rounds ahead, or two of a vector would be one.
        READY.fetch_add(1, Ordering::AcqRel);
        let all = smp::count() as u64 * round;
        if !until(|| READY.load(Ordering::Acquire) >= all) {
            return round;
        }
    }
    0
}
static READY: AtomicU64 = AtomicU64::new(0);

fn all_send_to_all_at_once_and_none_is_lost() -> Verdict {
    const ROUNDS: u64 = 20;
    interrupt::forget();
    READY.store(0, Ordering::Release);
    let lost = smp::everywhere(storm, ROUNDS)?;
    for (to, lost) in lost.iter().enumerate().take(smp::count()) {
        same!(*lost, 0, "the round in which {to} missed one");
        for from in (0..smp::count()).filter(|from| *from != to) {
            same!(
                count_on(to, 0x80 + from as u8),
                ROUNDS,
                "from {from} to {to}"
            );
        }
    }
    Ok(())
}

/// The median of many.
fn median(mut once: impl FnMut() -> u64) -> u64 {
    let mut took = [0; 51];
    took.iter_mut().for_each(|slot| *slot = once());
    took.sort_unstable();
    took[25]
}

static HALTS: AtomicBool = AtomicBool::new(false);

/// Takes interrupts, spinning or halted, until it is told to end.
fn listens(_: u64) -> u64 {
    while !GO.load(Ordering::Acquire) {
        if HALTS.load(Ordering::Relaxed) {
            cpu::sti_hlt();
        } else {
            cpu::sti();
            core::hint::spin_loop();
            cpu::cli();
        }
    }
    0
}

fn round_trips_are_measured() -> Verdict {
    for (name, halts, back) in [
        ("ipi_to_spinning", false, false),
        ("ipi_to_halted", true, false),
        ("ipi_round_trip_spinning", false, true),
        ("ipi_round_trip_halted", true, true),
    ] {
        interrupt::forget();
        GO.store(false, Ordering::Release);
        HALTS.store(halts, Ordering::Relaxed);
        interrupt::also(|vector| {
            if vector == VECTOR && smp::here() == 1 {
                STAMP.store(cpu::tsc(), Ordering::Release);
            } else if vector == VECTOR + 0x10 {
                lapic::send(0, FIXED);
            }
        });
        smp::begin(1, listens, 0);
        let ticks = median(|| {
            cpu::spin_until(cpu::tsc() + 20_000);
            STAMP.store(0, Ordering::Release);
            let before = count_on(0, VECTOR);
            let start = cpu::tsc();
            if back {
                lapic::send(1, FIXED + 0x10);
                if halts {
                    cpu::sti_hlt();
                } else {
                    interrupt::spin(VECTOR, before + 1, smp::PATIENCE);
                }
                cpu::tsc() - start
            } else {
                lapic::send(1, FIXED);
                until(|| STAMP.load(Ordering::Acquire) != 0);
                STAMP.load(Ordering::Acquire).saturating_sub(start)
            }
        });
        figure(name, ticks);
        claim!(ticks > 0, "{name} takes no time");
        GO.store(true, Ordering::Release);
        lapic::send(1, ASSERT | u32::from(WORK));
        smp::end(1)?;
    }
    Ok(())
}
