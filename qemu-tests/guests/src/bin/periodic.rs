//! A control loop: it wakes once a millisecond by the TSC deadline, and says once a second how late it was.
//!
//! ```text
//! periodic: cycles=1000 period_ns=1000000 worst_ns=4180 mean_ns=4020 worst_ticks=209 mean_ticks=201 missed=0
//! periodic: so far cycles=3000 worst_ns=4180 mean_ns=4020 worst_ticks=209 mean_ticks=201 missed=0
//! ```
//!
//! Lateness is counted from the deadline to the handler's first words; a period that is over before it was noticed is
//! missed. On the command line: `seconds=10` ends it after so many; `spin` has it read the TSC without a pause for half
//! of each period, and say the widest gap between two reads, which is how long it was kept from running; `tsc_hz=N`
//! is for machines whose CPUID leaf 0x15 does not tell the TSC's frequency.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use guests::slot::Slot;
use guests::{cmdline, cpu, interrupt, lapic, msr, power, program, say};
use spec::apic::Lvt;

program!(main);

const VECTOR: u8 = 0x60;
/// Periods in a second.
const RATE: u64 = 1000;
const NANOS: u128 = 1_000_000_000;

/// What happened in some time.
#[derive(Clone, Copy)]
struct Tally {
    cycles: u64,
    missed: u64,
    /// Of lateness, in ticks
    sum: u64,
    worst: u64,
}

const NONE: Tally = Tally {
    cycles: 0,
    missed: 0,
    sum: 0,
    worst: 0,
};

impl Tally {
    fn with(self, other: Tally) -> Tally {
        Tally {
            cycles: self.cycles + other.cycles,
            missed: self.missed + other.missed,
            sum: self.sum + other.sum,
            worst: self.worst.max(other.worst),
        }
    }
}

/// Of the second under way. The handler writes it, and others only while interrupts are off.
static NOW: Slot<Tally> = Slot::new(NONE);
static PERIOD: AtomicU64 = AtomicU64::new(0);
static DEADLINE: AtomicU64 = AtomicU64::new(0);
/// How often the handler ran.
static WOKEN: AtomicU64 = AtomicU64::new(0);

fn on_deadline(vector: u8) {
    if vector != VECTOR {
        return;
    }
    let late = cpu::tsc().saturating_sub(DEADLINE.load(Ordering::Relaxed));
    let period = PERIOD.load(Ordering::Relaxed);
    let missed = late / period;
    NOW.set(NOW.get().with(Tally {
        cycles: 1,
        missed,
        sum: late,
        worst: late,
    }));
    WOKEN.fetch_add(1, Ordering::Relaxed);
    let next = DEADLINE.load(Ordering::Relaxed) + period * (missed + 1);
    DEADLINE.store(next, Ordering::Relaxed);
    arm(next);
}

fn arm(deadline: u64) {
    if let Err(trap) = msr::write(spec::msr::TSC_DEADLINE, deadline) {
        fail(format_args!("this machine has no TSC deadline: {trap:x?}"));
    }
}

fn fail(why: core::fmt::Arguments<'_>) -> ! {
    cpu::cli();
    say!("periodic: {why}");
    power::off()
}

/// What the command line says, or else CPUID leaf 0x15: crystal times numerator by denominator.
fn frequency() -> u64 {
    let by_cpuid = || {
        let [denominator, numerator, crystal, _] = if cpu::cpuid(0, 0)[0] < 0x15 {
            [0; 4]
        } else {
            cpu::cpuid(0x15, 0)
        };
        (u64::from(crystal) * u64::from(numerator)).checked_div(denominator.into())
    };
    match cmdline::number("tsc_hz").or_else(by_cpuid) {
        Some(hz) if hz >= RATE * RATE => hz,
        _ => fail(format_args!(
            "neither `tsc_hz=` nor CPUID 0x15 tells the frequency of the TSC"
        )),
    }
}

fn show(what: &str, tally: Tally, hz: u64) {
    let nanos = |ticks: u64| u128::from(ticks) * NANOS / u128::from(hz);
    let mean = tally.sum.checked_div(tally.cycles).unwrap_or(0);
    say!(
        "periodic: {what}cycles={} period_ns={} worst_ns={} mean_ns={} worst_ticks={} mean_ticks={mean} missed={}",
        tally.cycles,
        nanos(PERIOD.load(Ordering::Relaxed)),
        nanos(tally.worst),
        nanos(mean),
        tally.worst,
        tally.missed,
    );
}

/// The widest gap between two reads of the TSC, until it is `when`.
fn widest_gap(when: u64) -> u64 {
    let mut last = cpu::tsc();
    let mut widest = 0;
    while last < when {
        let now = cpu::tsc();
        widest = widest.max(now - last);
        last = now;
    }
    widest
}

fn main() {
    let hz = frequency();
    let seconds = cmdline::number("seconds");
    let spins = cmdline::has("spin");
    let period = hz / RATE;
    PERIOD.store(period, Ordering::Relaxed);
    say!("periodic: start tsc_hz={hz}");
    if lapic::enable()
        .and_then(|()| lapic::enter_x2apic())
        .and_then(|()| lapic::set_timer(Lvt::TSC_DEADLINE, VECTOR))
        .is_err()
    {
        fail(format_args!("this machine has no x2APIC"));
    }
    interrupt::also(on_deadline);
    let first = cpu::tsc() + period;
    DEADLINE.store(first, Ordering::Relaxed);
    arm(first);

    let mut all = NONE;
    let mut gap = 0;
    let mut shown = 0;
    while seconds.is_none_or(|seconds| shown < seconds) {
        let before = WOKEN.load(Ordering::Relaxed);
        cpu::sti_hlt();
        if spins && WOKEN.load(Ordering::Relaxed) != before {
            // The next deadline is at the end of this period.
            let half = DEADLINE.load(Ordering::Relaxed) - period / 2;
            gap = widest_gap(half).max(gap);
        }
        let tally = NOW.get();
        if tally.cycles + tally.missed >= RATE {
            NOW.set(NONE);
            all = all.with(tally);
            shown += 1;
            // The line is slow, and the loop goes on meanwhile.
            cpu::sti();
            show("", tally, hz);
            show("so far ", all, hz);
            if spins {
                let nanos = u128::from(gap) * NANOS / u128::from(hz);
                say!("periodic: spin worst_gap_ns={nanos} worst_gap_ticks={gap}");
            }
            cpu::cli();
        }
    }
}
