//! A guest that sets itself up, and from then on needs no one: a tick by the TSC deadline, 250 times a second, while it computes, and
//! while it sleeps. It says when its quiet begins, and at its end what the tick was like.
//!
//! ```text
//! quiet: begins
//! quiet: done ticks=2500 of=2500 missed=0 worst_ticks=120 slept=1251
//! ```
//!
//! On the command line: `seconds=10` is how long the quiet lasts; `self_ipis` has each tick send itself a message.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use guests::lapic::write_here;
use guests::{cmdline, cpu, interrupt, lapic, msr, program, say};
use spec::apic::{Lvt, register};

program!(main);

const TICK: u8 = 0xec;
const MESSAGE: u8 = 0x51;
/// Ticks of it in a second.
const RATE: u64 = 250;
/// So many it computes, and so many it sleeps.
const PHASE: u64 = RATE / 2;

static PERIOD: AtomicU64 = AtomicU64::new(0);
static DEADLINE: AtomicU64 = AtomicU64::new(0);
static TICKS: AtomicU64 = AtomicU64::new(0);
static WORST: AtomicU64 = AtomicU64::new(0);
static MISSED: AtomicU64 = AtomicU64::new(0);
static MESSAGES: AtomicU64 = AtomicU64::new(0);

fn on_interrupt(vector: u8) {
    if vector == MESSAGE {
        MESSAGES.fetch_add(1, Ordering::Relaxed);
    }
    if vector != TICK {
        return;
    }
    let late = cpu::tsc().saturating_sub(DEADLINE.load(Ordering::Relaxed));
    WORST.fetch_max(late, Ordering::Relaxed);
    let period = PERIOD.load(Ordering::Relaxed);
    MISSED.fetch_add(late / period, Ordering::Relaxed);
    TICKS.fetch_add(1 + late / period, Ordering::Relaxed);
    let next = DEADLINE.load(Ordering::Relaxed) + period * (1 + late / period);
    DEADLINE.store(next, Ordering::Relaxed);
    msr::write_plain(spec::msr::TSC_DEADLINE, next);
}

fn main() {
    let seconds = cmdline::number("seconds").unwrap_or(10);
    let messages = cmdline::has("self_ipis");
    let prepared = lapic::enable()
        .and_then(|()| lapic::enter_x2apic())
        .and_then(|()| lapic::set_timer(Lvt::TSC_DEADLINE, TICK));
    let period = cpu::tsc_hz() / RATE;
    if prepared.is_err() || period == 0 {
        say!("quiet: there is no x2APIC, or no TSC deadline");
        return;
    }
    interrupt::also(on_interrupt);
    say!("quiet: begins");
    PERIOD.store(period, Ordering::Relaxed);
    let first = cpu::tsc() + period;
    DEADLINE.store(first, Ordering::Relaxed);
    msr::write_plain(spec::msr::TSC_DEADLINE, first);
    let all = seconds * RATE;
    let mut slept = 0u64;
    let mut sent = 0u64;
    let mut seen = 0;
    cpu::sti();
    loop {
        let ticks = TICKS.load(Ordering::Relaxed);
        if ticks >= all {
            break;
        }
        if ticks != seen && messages {
            write_here(register::SELF_IPI, MESSAGE.into());
            sent += 1;
        }
        seen = ticks;
        if ticks / PHASE % 2 == 1 {
            cpu::cli();
            if TICKS.load(Ordering::Relaxed) == ticks {
                cpu::sti_hlt();
                slept += 1;
            }
            cpu::sti();
        }
        core::hint::spin_loop();
    }
    cpu::cli();
    let [ticks, worst, missed, came] =
        [&TICKS, &WORST, &MISSED, &MESSAGES].map(|count| count.load(Ordering::Relaxed));
    say!(
        "quiet: done ticks={ticks} of={all} missed={missed} worst_ticks={worst} slept={slept} messages={came} of={sent}"
    );
}
