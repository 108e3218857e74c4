//! Two processors that take turns on one core: how long a change takes, and that each has its share.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::interrupt;
use guests::smp::{self, ASSERT, PATIENCE, WORK, others};
use guests::verdict::{Verdict, figure};
use guests::{claim, cpu, guest, lapic};

guest!(
    all_processors_come_up,
    those_that_spin_take_turns,
    a_message_hands_over,
    a_change_back_and_forth_is_measured,
);

const VECTOR: u8 = 0x51;
const TIMES: usize = 51;

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()?;
    smp::enter_x2apic()
}

/// The time at which a processor was last seen, and which it was.
static SEEN: AtomicU64 = AtomicU64::new(0);
static DONE: AtomicBool = AtomicBool::new(false);

/// Says all the time that it is here.
fn shows_up(_: u64) -> u64 {
    let mut turns = 0;
    while !DONE.load(Ordering::Acquire) {
        let here = smp::here() as u64;
        if SEEN.swap(cpu::tsc() << 4 | here, Ordering::AcqRel) & 0xf != here {
            turns += 1;
        }
        core::hint::spin_loop();
    }
    turns
}

fn those_that_spin_take_turns() -> Verdict {
    DONE.store(false, Ordering::Release);
    SEEN.store(cpu::tsc() << 4, Ordering::Release);
    for n in others() {
        smp::begin(n, shows_up, 0);
    }
    let mut took = [u64::MAX; TIMES];
    let mut turns = 0;
    let end = cpu::tsc() + PATIENCE;
    while turns < TIMES && cpu::tsc() < end {
        let now = cpu::tsc();
        let before = SEEN.swap(now << 4, Ordering::AcqRel);
        // Its turn may have ended between the two.
        if before & 0xf != 0 && before >> 4 < now {
            took[turns] = now - (before >> 4);
            turns += 1;
        }
    }
    DONE.store(true, Ordering::Release);
    for n in others() {
        // Those that spin do not keep each other out.
        let theirs = smp::end(n)?;
        claim!(theirs as usize >= TIMES / 4, "{n} had {theirs} turns");
    }
    claim!(turns == TIMES, "the first had {turns} turns");
    took.sort_unstable();
    figure("change_by_timer_least", took[0]);
    figure("change_by_timer", took[TIMES / 2]);
    Ok(())
}

static STAMP: AtomicU64 = AtomicU64::new(0);

/// Halts, time and again, until it is told to end.
fn halts(_: u64) -> u64 {
    while !DONE.load(Ordering::Acquire) {
        cpu::sti_hlt();
    }
    0
}

fn wake_up(name: &str, measure: impl Fn(u64) -> u64) -> Verdict {
    interrupt::forget();
    DONE.store(false, Ordering::Release);
    interrupt::also(|vector| {
        if vector == VECTOR && smp::here() == 1 {
            STAMP.store(cpu::tsc(), Ordering::Release);
            lapic::send(0, ASSERT | u32::from(VECTOR));
        }
    });
    smp::begin(1, halts, 0);
    let mut took = [0; TIMES];
    for slot in &mut took {
        // It is halted by then.
        cpu::spin_until(cpu::tsc() + 200_000);
        STAMP.store(0, Ordering::Release);
        let start = cpu::tsc();
        lapic::send(1, ASSERT | u32::from(VECTOR));
        cpu::sti_hlt();
        *slot = measure(start);
        claim!(
            STAMP.load(Ordering::Acquire) > start,
            "it woke for something else"
        );
    }
    DONE.store(true, Ordering::Release);
    lapic::send(1, ASSERT | u32::from(WORK));
    smp::end(1)?;
    took.sort_unstable();
    figure(name, took[TIMES / 2]);
    Ok(())
}

/// From just before the message on the one to the first words of the handler on the other.
fn a_message_hands_over() -> Verdict {
    wake_up("change_by_message", |start| {
        STAMP.load(Ordering::Acquire) - start
    })
}

/// To the end of the HLT in which the one has waited for the answer of the other.
fn a_change_back_and_forth_is_measured() -> Verdict {
    wake_up("change_back_and_forth", |start| cpu::tsc() - start)
}
