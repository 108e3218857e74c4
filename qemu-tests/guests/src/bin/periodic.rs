//! A control loop: it wakes once a millisecond by the TSC deadline, and says once a second how late it was.
//!
//! ```text
//! periodic: cycles=1000 period_ns=1000000 worst_ns=4180 mean_ns=4020 worst_ticks=209 mean_ticks=201 missed=0
//! periodic: so far cycles=3000 worst_ns=4180 mean_ns=4020 worst_ticks=209 mean_ticks=201 missed=0
//! ```
//!
//! Lateness is counted from the deadline to the handler's first words; a period that is over before it was noticed is
//! missed. On the command line: `seconds=10` ends it after so many; `period_us=` is another period; `work=5000` has it compute in
//! each period until it has had its core for so many ticks, and say of these jobs how many were not done by the next deadline,
//! and the longest time from a deadline to its job's end; `spin` has it read the TSC without a pause for half
//! of each period, and say the widest gap between two reads, which is how long it was kept from running; `tsc_hz=N`
//! is for machines whose CPUID leaf 0x15 does not tell the TSC's frequency.
//!
//! What it says goes out a few characters a period, so that its own words do not make it late.
#![no_std]
#![no_main]

use core::fmt::{self, Write};
use core::sync::atomic::{AtomicU64, Ordering};
use guests::slot::Slot;
use guests::{cmdline, cpu, interrupt, lapic, msr, power, program, say, uart};
use spec::apic::Lvt;
use spec::uart::{Lsr, offset};

program!(main);

const VECTOR: u8 = 0x60;
/// Periods in a second, unless said.
const RATE: u64 = 1000;
const NANOS: u64 = 1_000_000_000;
/// Two reads of the TSC lie no further apart but for an exit between them.
const GAP: u64 = 100;

/// What happened in some time.
#[derive(Clone, Copy)]
struct Tally {
    cycles: u64,
    missed: u64,
    /// Of lateness, in ticks
    sum: u64,
    worst: u64,
    /// What was computed, how often past the next deadline, and the longest from a deadline to the end
    jobs: u64,
    over: u64,
    longest: u64,
}

const NONE: Tally = Tally {
    cycles: 0,
    missed: 0,
    sum: 0,
    worst: 0,
    jobs: 0,
    over: 0,
    longest: 0,
};

impl Tally {
    fn with(self, other: Tally) -> Tally {
        Tally {
            cycles: self.cycles + other.cycles,
            missed: self.missed + other.missed,
            sum: self.sum + other.sum,
            worst: self.worst.max(other.worst),
            jobs: self.jobs + other.jobs,
            over: self.over + other.over,
            longest: self.longest.max(other.longest),
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
        ..NONE
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

/// What the command line says, or else CPUID.
fn frequency() -> u64 {
    let hz = cmdline::number("tsc_hz").unwrap_or_else(cpu::tsc_hz);
    if hz < RATE * RATE {
        fail(format_args!(
            "neither `tsc_hz=` nor CPUID 0x15 tells the frequency of the TSC"
        ));
    }
    hz
}

/// Words on their way out.
struct Words {
    text: [u8; 1024],
    /// What has gone out, and what was said
    out: usize,
    said: usize,
}

impl Write for Words {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let room = self.text.get_mut(self.said..self.said + text.len());
        room.ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.said += text.len();
        Ok(())
    }
}

impl Words {
    /// Lets go of what has gone out; what does not fit behind the rest is lost, a line at a time.
    fn say(&mut self, line: fmt::Arguments<'_>) {
        self.text.copy_within(self.out..self.said, 0);
        self.said -= self.out;
        self.out = 0;
        let before = self.said;
        if write!(self, "periodic: {line}\r\n").is_err() {
            self.said = before;
        }
    }

    /// Lets `count` characters go, if the line takes them.
    fn trickle(&mut self, count: u64) {
        for _ in 0..count {
            if self.out == self.said || uart::read(offset::LSR) & Lsr::THR_EMPTY.bits() == 0 {
                return;
            }
            uart::write(offset::DATA, self.text[self.out]);
            self.out += 1;
        }
    }

    fn show(&mut self, what: &str, tally: Tally, hz: u64) {
        let mean = tally.sum.checked_div(tally.cycles).unwrap_or(0);
        self.say(format_args!(
            "{what}cycles={} period_ns={} worst_ns={} mean_ns={} worst_ticks={} mean_ticks={mean} missed={}",
            tally.cycles,
            nanos(PERIOD.load(Ordering::Relaxed), hz),
            nanos(tally.worst, hz),
            nanos(mean, hz),
            tally.worst,
            tally.missed,
        ));
    }
}

/// Without numbers of 128 bits, whose division would take a good part of a period's budget.
fn nanos(ticks: u64, hz: u64) -> u64 {
    ticks / hz * NANOS + ticks % hz * NANOS / hz
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

/// Computes until this core was had for `ticks`; says when that was.
fn compute(ticks: u64) -> u64 {
    let mut last = cpu::tsc();
    let mut had = 0;
    while had < ticks {
        let now = cpu::tsc();
        if now - last <= GAP {
            had += now - last;
        }
        last = now;
    }
    last
}

fn main() {
    let hz = frequency();
    let seconds = cmdline::number("seconds");
    let spins = cmdline::has("spin");
    let work = cmdline::number("work");
    let period =
        cmdline::number("period_us").map_or(hz / RATE, |us| (hz * us / 1_000_000).max(RATE));
    // A character in each 1000th of a second.
    let pace = (period * RATE).div_ceil(hz);
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

    let mut words = Words {
        text: [0; 1024],
        out: 0,
        said: 0,
    };
    let mut all = NONE;
    let mut gap = 0;
    let mut shown = 0;
    // Each line is made in a period of its own.
    let mut owes = false;
    while seconds.is_none_or(|seconds| shown < seconds) {
        let before = WOKEN.load(Ordering::Relaxed);
        cpu::sti_hlt();
        if WOKEN.load(Ordering::Relaxed) == before {
            continue;
        }
        // The next deadline is at the end of this period.
        let next = DEADLINE.load(Ordering::Relaxed);
        if let Some(work) = work {
            let end = compute(work);
            NOW.set(NOW.get().with(Tally {
                jobs: 1,
                over: u64::from(end >= next),
                longest: end - (next - period),
                ..NONE
            }));
        }
        if spins {
            gap = widest_gap(next - period / 2).max(gap);
        }
        words.trickle(pace);
        if core::mem::take(&mut owes) {
            words.show("so far ", all, hz);
        }
        let tally = NOW.get();
        if tally.cycles + tally.missed >= hz / period {
            NOW.set(NONE);
            all = all.with(tally);
            shown += 1;
            words.show("", tally, hz);
            owes = true;
            if work.is_some() {
                words.say(format_args!(
                    "jobs={} over={} longest_ticks={} until={next}",
                    tally.jobs, tally.over, tally.longest
                ));
            }
            if spins {
                let nanos = nanos(gap, hz);
                words.say(format_args!(
                    "spin worst_gap_ns={nanos} worst_gap_ticks={gap}"
                ));
            }
        }
    }
    if owes {
        words.show("so far ", all, hz);
    }
    while words.out < words.said {
        words.trickle(1);
    }
}
