//! The time that all processors have in common, and how each can move its own.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use guests::smp::{self, others, until};
use guests::verdict::{Broken, Verdict};
use guests::{claim, cpu, guest, lapic, msr, same};
use spec::Msr;

guest!(
    all_processors_come_up,
    time_is_the_same_for_all,
    each_has_a_tsc_adjust_of_its_own,
    time_is_the_same_for_all,
);

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()
}

static TOKEN: AtomicU64 = AtomicU64::new(0);
static LATEST: AtomicU64 = AtomicU64::new(0);
static BACKWARDS: AtomicU64 = AtomicU64::new(0);

fn time_is_the_same_for_all() -> Verdict {
    TOKEN.store(0, Ordering::Release);
    LATEST.store(0, Ordering::Release);
    BACKWARDS.store(0, Ordering::Release);
    smp::everywhere(pass_the_time, 0)?;
    same!(
        BACKWARDS.load(Ordering::Acquire),
        0,
        "times at which time went back, or ticks that it did"
    );
    same!(
        TOKEN.load(Ordering::Acquire),
        ROUNDS * smp::count() as u64,
        "turns"
    );
    Ok(())
}
const ROUNDS: u64 = 100;

/// In its turn each reads the TSC, which must not be less than what the one before it has read.
fn pass_the_time(_: u64) -> u64 {
    let (here, count) = (smp::here() as u64, smp::count() as u64);
    for round in 0..ROUNDS {
        if !until(|| TOKEN.load(Ordering::Acquire) == round * count + here) {
            return 1;
        }
        let now = cpu::tsc();
        let before = LATEST.swap(now, Ordering::AcqRel);
        if now < before {
            BACKWARDS.fetch_max(before - now, Ordering::AcqRel);
        }
        TOKEN.fetch_add(1, Ordering::AcqRel);
    }
    0
}

const AHEAD: u64 = 1 << 40;

/// Sets an MSR on a processor, and gives its TSC_ADJUST and, much later or not at all, its TSC.
fn adjusted(n: usize) -> Result<(u64, [u64; 3]), Broken> {
    let before = cpu::tsc();
    let there = smp::on(n, |_| cpu::tsc(), 0)?;
    let adjust = smp::on(n, |_| msr::read_plain(spec::msr::TSC_ADJUST), 0)?;
    Ok((adjust, [before, there, cpu::tsc()]))
}

fn each_has_a_tsc_adjust_of_its_own() -> Verdict {
    let in_step = |ahead: u64, [before, there, after]: [u64; 3]| {
        before + ahead <= there && there <= after + ahead
    };
    for n in others() {
        smp::on(n, |_| set(spec::msr::TSC_ADJUST, AHEAD), 0)?;
        let (adjust, times) = adjusted(n)?;
        claim!(
            adjust == AHEAD && in_step(AHEAD, times),
            "of {n}: {adjust:#x}, {times:#x?}"
        );
        same!(msr::read(spec::msr::TSC_ADJUST)?, 0, "of the first");
        smp::on(n, |_| set(spec::msr::TSC, cpu::tsc() + AHEAD), 0)?;
        let (adjust, times) = adjusted(n)?;
        let near = adjust.wrapping_sub(2 * AHEAD).cast_signed().unsigned_abs() < 100_000;
        claim!(
            near && in_step(adjust, times),
            "of {n}, by its TSC: {adjust:#x}, {times:#x?}"
        );
        smp::on(n, |_| set(spec::msr::TSC_ADJUST, 0), 0)?;
        let (adjust, times) = adjusted(n)?;
        claim!(
            adjust == 0 && in_step(0, times),
            "of {n}, afterwards: {adjust:#x}, {times:#x?}"
        );
    }
    Ok(())
}

fn set(msr: Msr, value: u64) -> u64 {
    msr::write_plain(msr, value);
    0
}
