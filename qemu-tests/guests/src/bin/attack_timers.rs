//! An attacker that has its local APIC's timer and its messages to itself come in storms: every divide value, counts and deadlines at
//! their ends, entries that change in the middle. In xAPIC mode, then in x2APIC mode.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicU64, Ordering};
use guests::cpu::{self, cpuid, tsc};
use guests::interrupt::{self, count};
use guests::lapic::{self, has, read, write, write_here};
use guests::random::Random;
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{claim, guest, msr, same};
use spec::apic::{Esr, Lvt, Svr, register};

guest!(
    every_divide_value_counts_at_its_rate,
    the_shortest_period_leaves_the_others_alone,
    a_divide_value_that_changes_does_not_turn_time_back,
    the_x2apic_is_entered,
    every_divide_value_counts_at_its_rate,
    divide_values_with_reserved_bits_are_refused,
    the_longest_count_does_not_run_over,
    a_thousand_shortest_counts_come_once_each,
    the_shortest_period_leaves_the_others_alone,
    a_divide_value_that_changes_does_not_turn_time_back,
    deadlines_in_the_past_come_once_each,
    deadlines_in_the_past_with_interrupts_off_come_once,
    deadlines_at_the_end_of_time_do_not_come,
    a_deadline_before_the_tsc_runs_over_comes,
    a_vector_that_changes_leaves_what_is_pending,
    an_illegal_vector_of_the_timer_is_an_error,
    illegal_messages_to_oneself_are_errors,
    messages_of_every_vector_come_once_in_order,
    a_message_from_its_own_handler_comes_behind_it,
    any_order_of_changes_leaves_a_timer_that_works,
);

const TIMER: u8 = 0x61;
const OTHER: u8 = 0x71;
const OWN: u8 = 0x51;
/// How late an interrupt may be on a core that others use too.
const LATE: u64 = 2_000_000;
/// SDM vol. 3, "Divide Configuration Register".
const DIVIDES: [(u32, u64); 8] = [
    (0b0000, 2),
    (0b0001, 4),
    (0b0010, 8),
    (0b0011, 16),
    (0b1000, 32),
    (0b1001, 64),
    (0b1010, 128),
    (0b1011, 1),
];
const UNDIVIDED: u32 = 0b1011;

/// Ticks of the TSC to one of the timer's clock.
fn ratio() -> u64 {
    let [denominator, numerator, ..] = cpuid(0x15, 0);
    u64::from(numerator) / u64::from(denominator.max(1))
}

fn begin(mode: Lvt) -> Verdict {
    lapic::enable()?;
    write(register::TIMER_INITIAL, 0)?;
    write(register::TIMER_DIVIDE, UNDIVIDED)?;
    lapic::set_timer(mode, TIMER)?;
    interrupt::spin(TIMER, u64::MAX, 1000);
    interrupt::forget();
    Ok(())
}

fn every_divide_value_counts_at_its_rate() -> Verdict {
    for (code, divide) in DIVIDES {
        begin(Lvt::empty())?;
        write(register::TIMER_DIVIDE, code)?;
        let before = tsc();
        write(register::TIMER_INITIAL, u32::MAX)?;
        let begun = tsc();
        cpu::spin_until(begun + 100_000);
        let looks = tsc();
        let left = read(register::TIMER_CURRENT);
        let looked = tsc();
        let one = divide * ratio();
        let counted = u64::from(u32::MAX - left) * one;
        claim!(
            counted + 2 * one >= looks - begun && counted <= looked - before + 2 * one,
            "divided by {divide}: {counted} counted in {} to {}",
            looks - begun,
            looked - before
        );
    }
    write(register::TIMER_INITIAL, 0)?;
    Ok(())
}

fn the_x2apic_is_entered() -> Verdict {
    begin(Lvt::empty())?;
    lapic::enter_x2apic()?;
    Ok(())
}

fn divide_values_with_reserved_bits_are_refused() -> Verdict {
    let before = read(register::TIMER_DIVIDE);
    for bit in (2..3).chain(4..32) {
        same!(
            raised(write(register::TIMER_DIVIDE, before | 1 << bit)),
            GP0,
            "bit {bit}"
        );
    }
    let wide = msr::write(lapic::msr_of(register::TIMER_DIVIDE), 1 << 32);
    same!(raised(wide), GP0, "bit 32");
    let wide = msr::write(lapic::msr_of(register::TIMER_INITIAL), 1 << 32 | 5);
    same!(raised(wide), GP0, "a count of 33 bits");
    same!(
        raised(write(register::TIMER_CURRENT, 5)),
        GP0,
        "the current count"
    );
    same!(read(register::TIMER_DIVIDE), before);
    Ok(())
}

fn the_longest_count_does_not_run_over() -> Verdict {
    for (code, divide) in DIVIDES {
        for mode in [Lvt::empty(), Lvt::PERIODIC] {
            begin(mode)?;
            write(register::TIMER_DIVIDE, code)?;
            write(register::TIMER_INITIAL, u32::MAX)?;
            claim!(
                !interrupt::spin(TIMER, 1, 50_000),
                "divided by {divide} it came"
            );
            claim!(
                read(register::TIMER_CURRENT) > u32::MAX / 2,
                "divided by {divide}"
            );
        }
    }
    Ok(())
}

fn a_thousand_shortest_counts_come_once_each() -> Verdict {
    begin(Lvt::empty())?;
    for n in 1..=1000 {
        write(register::TIMER_INITIAL, 1)?;
        claim!(interrupt::spin(TIMER, n, LATE), "number {n} did not come");
    }
    claim!(
        !interrupt::spin(TIMER, 1001, 10_000),
        "{} came",
        count(TIMER)
    );
    same!(read(register::TIMER_CURRENT), 0);
    Ok(())
}

/// Masks the timer once it has come often enough: behind each handler the next may be due, and nothing else get its turn.
fn stops_after_500(vector: u8) {
    if vector == TIMER && count(TIMER) >= 500 {
        let masked = Lvt::PERIODIC | Lvt::MASKED | Lvt::from_bits_retain(TIMER.into());
        write_here(register::LVT_TIMER, masked.bits());
    }
}

fn the_shortest_period_leaves_the_others_alone() -> Verdict {
    for period in [1, 2, 3, 10] {
        begin(Lvt::PERIODIC)?;
        interrupt::also(stops_after_500);
        let start = tsc();
        write(register::TIMER_INITIAL, period)?;
        claim!(
            interrupt::spin(TIMER, 500, 500 * LATE),
            "{} came",
            count(TIMER)
        );
        let most = (tsc() - start) / (u64::from(period) * ratio()) + 1;
        claim!(
            count(TIMER) <= most,
            "{} came where {most} are due",
            count(TIMER)
        );
        // One may have been pending when it was masked.
        claim!(
            !interrupt::spin(TIMER, 502, 20_000),
            "{} came",
            count(TIMER)
        );
        write(register::TIMER_INITIAL, 0)?;
    }
    Ok(())
}

fn a_divide_value_that_changes_does_not_turn_time_back() -> Verdict {
    let mut random = Random::new(14);
    begin(Lvt::empty())?;
    write(register::TIMER_INITIAL, 3_000_000)?;
    let mut last = 3_000_000;
    for n in 0..500 {
        let (code, divide) = DIVIDES[random.below(8) as usize];
        write(register::TIMER_DIVIDE, code)?;
        let left = read(register::TIMER_CURRENT);
        // A change counts from here on, or the prescaler begins anew: no count comes back in either case.
        claim!(
            left <= last,
            "{n}: {left} after {last}, now divided by {divide}"
        );
        last = left;
    }
    write(register::TIMER_DIVIDE, UNDIVIDED)?;
    claim!(
        interrupt::spin(TIMER, 1, 3_000_000 * ratio() + LATE),
        "it does not end"
    );
    claim!(!interrupt::spin(TIMER, 2, 50_000), "it came twice");
    Ok(())
}

fn deadlines_in_the_past_come_once_each() -> Verdict {
    begin(Lvt::TSC_DEADLINE)?;
    let mut random = Random::new(3);
    for n in 1..=2000 {
        let past = tsc() - random.below(1000);
        msr::write_plain(
            spec::msr::TSC_DEADLINE,
            [1, past, past >> 1][n as usize % 3],
        );
        claim!(interrupt::spin(TIMER, n, LATE), "number {n} did not come");
        same!(
            msr::read_plain(spec::msr::TSC_DEADLINE),
            0,
            "number {n} is still armed"
        );
    }
    claim!(
        !interrupt::spin(TIMER, 2001, 10_000),
        "{} came",
        count(TIMER)
    );
    Ok(())
}

fn deadlines_in_the_past_with_interrupts_off_come_once() -> Verdict {
    begin(Lvt::TSC_DEADLINE)?;
    for _ in 0..5000 {
        msr::write_plain(spec::msr::TSC_DEADLINE, 1);
    }
    claim!(has(register::IRR, TIMER), "none is pending");
    claim!(interrupt::spin(TIMER, 1, LATE), "it did not come");
    claim!(!interrupt::spin(TIMER, 2, 10_000), "{} came", count(TIMER));
    Ok(())
}

fn deadlines_at_the_end_of_time_do_not_come() -> Verdict {
    for when in [u64::MAX, 1 << 63, (1 << 63) - 1, u64::MAX - 1, 1 << 62] {
        begin(Lvt::TSC_DEADLINE)?;
        for _ in 0..100 {
            msr::write_plain(spec::msr::TSC_DEADLINE, when);
            same!(msr::read_plain(spec::msr::TSC_DEADLINE), when);
        }
        claim!(!interrupt::spin(TIMER, 1, 50_000), "{when:#x} came");
        msr::write_plain(spec::msr::TSC_DEADLINE, 0);
        same!(msr::read_plain(spec::msr::TSC_DEADLINE), 0);
    }
    Ok(())
}

fn a_deadline_before_the_tsc_runs_over_comes() -> Verdict {
    for (ahead, first) in [(400_000u64, true), (400_000, false)] {
        begin(Lvt::TSC_DEADLINE)?;
        let before = msr::read(spec::msr::TSC_ADJUST)?;
        let start = tsc();
        msr::write(
            spec::msr::TSC_ADJUST,
            before.wrapping_sub(start).wrapping_sub(ahead),
        )?;
        // Before the TSC runs over, or so small that it has passed already.
        let when = if first { u64::MAX - ahead / 2 } else { 5 };
        msr::write_plain(spec::msr::TSC_DEADLINE, when);
        cpu::sti();
        let mut turns = 0;
        while count(TIMER) == 0 && turns < 2_000_000 {
            turns += 1;
            core::hint::spin_loop();
        }
        cpu::cli();
        msr::write(spec::msr::TSC_ADJUST, before)?;
        same!(count(TIMER), 1, "{when:#x}");
    }
    Ok(())
}

fn a_vector_that_changes_leaves_what_is_pending() -> Verdict {
    begin(Lvt::TSC_DEADLINE)?;
    msr::write_plain(spec::msr::TSC_DEADLINE, 1);
    lapic::set_timer(Lvt::TSC_DEADLINE, OTHER)?;
    claim!(has(register::IRR, TIMER), "it is lost");
    msr::write_plain(spec::msr::TSC_DEADLINE, 1);
    claim!(has(register::IRR, OTHER), "the new one is not pending");
    claim!(
        interrupt::spin(OTHER, 1, LATE) && interrupt::spin(TIMER, 1, LATE),
        "one did not come"
    );
    // Armed under the one, due under the other; masked in the middle it does not come.
    interrupt::forget();
    let _ = lapic::arm(20_000)?;
    lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
    claim!(interrupt::spin(TIMER, 1, LATE), "it did not come");
    same!((count(OTHER), count(TIMER)), (0, 1));
    interrupt::forget();
    let _ = lapic::arm(20_000)?;
    lapic::set_timer(Lvt::TSC_DEADLINE | Lvt::MASKED, TIMER)?;
    claim!(!interrupt::spin(TIMER, 1, 60_000), "it came though masked");
    Ok(())
}

/// The errors since the last look ("Error Status Register": a write makes the register tell them).
fn errors() -> Esr {
    write_here(register::ESR, 0);
    Esr::from_bits_retain(read(register::ESR))
}

fn an_illegal_vector_of_the_timer_is_an_error() -> Verdict {
    for vector in 0..16 {
        begin(Lvt::TSC_DEADLINE)?;
        let _ = errors();
        lapic::set_timer(Lvt::TSC_DEADLINE, vector)?;
        msr::write_plain(spec::msr::TSC_DEADLINE, 1);
        interrupt::spin(TIMER, 1, 5_000);
        same!(interrupt::total(), 0, "vector {vector}");
        claim!(!has(register::IRR, vector), "vector {vector} is pending");
        claim!(
            errors().contains(Esr::RECEIVE_ILLEGAL_VECTOR),
            "vector {vector}: no error"
        );
    }
    Ok(())
}

fn illegal_messages_to_oneself_are_errors() -> Verdict {
    begin(Lvt::TSC_DEADLINE)?;
    let _ = errors();
    cpu::sti();
    // More than there are exits after which a guest without progress is stopped: each of these is an instruction that is done.
    for n in 0..70_000 {
        write_here(register::SELF_IPI, n % 16);
    }
    cpu::cli();
    same!(interrupt::total(), 0);
    claim!(
        errors().intersects(Esr::SEND_ILLEGAL_VECTOR | Esr::RECEIVE_ILLEGAL_VECTOR),
        "no error"
    );
    for bit in 8..32 {
        same!(
            raised(write(register::SELF_IPI, 0x51 | 1 << bit)),
            GP0,
            "bit {bit}"
        );
    }
    same!(interrupt::total(), 0);
    Ok(())
}

static LAST: AtomicU64 = AtomicU64::new(0);
static DISORDER: AtomicU64 = AtomicU64::new(0);

fn comes_in_order(vector: u8) {
    if u64::from(vector) >= LAST.swap(vector.into(), Ordering::Relaxed) {
        DISORDER.fetch_add(1, Ordering::Relaxed);
    }
}

fn messages_of_every_vector_come_once_in_order() -> Verdict {
    for round in 0..20 {
        begin(Lvt::TSC_DEADLINE)?;
        interrupt::also(comes_in_order);
        LAST.store(256, Ordering::Relaxed);
        DISORDER.store(0, Ordering::Relaxed);
        // Each twice: what is pending already stays one.
        for vector in (32..=255).chain(32..=255) {
            write_here(register::SELF_IPI, vector);
        }
        cpu::sti();
        cpu::spin_until(tsc() + 100_000);
        cpu::cli();
        for vector in 32..=255 {
            same!(count(vector), 1, "round {round}: vector {vector}");
        }
        same!(
            DISORDER.load(Ordering::Relaxed),
            0,
            "round {round}: out of order"
        );
    }
    Ok(())
}

fn sends_itself(vector: u8) {
    if count(vector) < 3000 {
        write_here(register::SELF_IPI, vector.into());
    }
}

fn a_message_from_its_own_handler_comes_behind_it() -> Verdict {
    begin(Lvt::TSC_DEADLINE)?;
    interrupt::also(sends_itself);
    lapic::pend(&[OWN]);
    claim!(
        interrupt::spin(OWN, 3000, 3000 * LATE),
        "{} came",
        count(OWN)
    );
    claim!(!interrupt::spin(OWN, 3001, 10_000), "{} came", count(OWN));
    Ok(())
}

fn any_order_of_changes_leaves_a_timer_that_works() -> Verdict {
    let mut random = Random::new(2026);
    for round in 0..10 {
        begin(Lvt::TSC_DEADLINE)?;
        interrupt::also(stops_after_500);
        for _ in 0..300 {
            let value = random.below(1 << 31) as u32;
            match random.below(12) {
                0 => lapic::set_timer(Lvt::empty(), TIMER)?,
                1 => lapic::set_timer(Lvt::PERIODIC, TIMER)?,
                2 | 3 => lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?,
                4 => lapic::set_timer(Lvt::PERIODIC | Lvt::MASKED, OTHER)?,
                5 => write(register::TIMER_DIVIDE, DIVIDES[value as usize % 8].0)?,
                6 => write(register::TIMER_INITIAL, value % 2000)?,
                7 => write(register::TIMER_INITIAL, value)?,
                8 => msr::write_plain(spec::msr::TSC_DEADLINE, tsc() + u64::from(value % 3000)),
                9 => msr::write_plain(spec::msr::TSC_DEADLINE, u64::from(value)),
                10 => lapic::pend(&[OWN, TIMER]),
                _ => {
                    cpu::sti();
                    cpu::cli();
                }
            }
        }
        write(register::TIMER_INITIAL, 0)?;
        lapic::set_timer(Lvt::TSC_DEADLINE | Lvt::MASKED, TIMER)?;
        cpu::sti();
        cpu::spin_until(tsc() + 5_000);
        cpu::cli();
        claim!(
            !has(register::IRR, TIMER) && !has(register::ISR, TIMER),
            "round {round}: one is stuck"
        );
        same!(read(register::SVR) & Svr::ENABLE.bits(), Svr::ENABLE.bits());
        interrupt::forget();
        lapic::set_timer(Lvt::TSC_DEADLINE, TIMER)?;
        let when = lapic::arm(10_000)?;
        claim!(
            interrupt::spin(TIMER, 1, LATE),
            "round {round}: it did not come"
        );
        claim!(
            interrupt::arrival(0).is_some_and(|came| came.tsc >= when),
            "round {round}: too early"
        );
        claim!(
            !interrupt::spin(TIMER, 2, 10_000),
            "round {round}: it came twice"
        );
    }
    Ok(())
}
