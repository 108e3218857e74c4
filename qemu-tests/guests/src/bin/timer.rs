//! The local APIC's timer: three modes, in xAPIC and in x2APIC mode.
#![no_std]
#![no_main]

use guests::cpu::{cpuid, spin_until, sti_hlt, tsc};
use guests::interrupt::{self, arrival};
use guests::verdict::{Verdict, figure};
use guests::{claim, guest, lapic, msr, same};
use spec::apic::{Lvt, register};
use spec::cpuid::{EAX, EBX, leaf};

guest!(
    one_shot_in_xapic_mode,
    periodic_in_xapic_mode,
    deadline_in_xapic_mode,
    the_count_runs_down_at_the_rate_of_leaf_0x15,
    the_x2apic_is_entered,
    one_shot_in_x2apic_mode,
    periodic_in_x2apic_mode,
    deadline_in_x2apic_mode,
    a_masked_timer_stays_silent,
    a_deadline_that_has_passed_comes_at_once,
    a_deadline_of_zero_disarms,
    a_deadline_outside_its_mode_is_ignored,
    going_to_another_mode_disarms,
    a_deadline_moves_with_the_tsc,
    hlt_sleeps_until_the_deadline,
    a_processor_asleep_wakes_for_each_period,
    how_late_the_timer_is,
);

const VECTOR: u8 = 0x61;
/// How late an interrupt may be, in ticks.
const LATE: u64 = 5_000;

fn set_up(mode: Lvt) -> Verdict {
    lapic::enable()?;
    lapic::write(register::TIMER_INITIAL, 0)?;
    lapic::set_timer(mode, VECTOR)?;
    interrupt::forget();
    Ok(())
}

/// Ticks of the TSC in one of the timer's clock, undivided.
fn ratio() -> u64 {
    let leaf = cpuid(leaf::TSC, 0);
    u64::from(leaf[EBX] / leaf[EAX])
}

fn one_shot() -> Verdict {
    // Divide by 1, 2, 16, 128 ("Divide Configuration Register").
    for (code, divider) in [(0b1011, 1), (0b0000, 2), (0b0011, 16), (0b1010, 128)] {
        set_up(Lvt::empty())?;
        lapic::write(register::TIMER_DIVIDE, code)?;
        let count = 1_000_000 / divider;
        let start = tsc();
        lapic::write(register::TIMER_INITIAL, count as u32)?;
        claim!(
            interrupt::spin(VECTOR, 1, 10_000_000),
            "divided by {divider}, it never came"
        );
        let Some(came) = arrival(0) else {
            return Ok(());
        };
        let after = came.tsc - start;
        let due = count * divider * ratio();
        claim!(
            (due..due + LATE).contains(&after),
            "divided by {divider}: after {after}, due after {due}"
        );
        same!(lapic::read(register::TIMER_CURRENT), 0);
        claim!(!interrupt::spin(VECTOR, 2, 3 * due), "it came twice");
    }
    Ok(())
}

fn one_shot_in_xapic_mode() -> Verdict {
    claim!(!lapic::is_x2apic(), "it is in x2APIC mode");
    one_shot()
}

fn one_shot_in_x2apic_mode() -> Verdict {
    one_shot()
}

fn periodic() -> Verdict {
    const PERIOD: u64 = 200_000;
    set_up(Lvt::PERIODIC)?;
    lapic::write(register::TIMER_DIVIDE, 0b1011)?;
    let start = tsc();
    lapic::write(register::TIMER_INITIAL, PERIOD as u32)?;
    claim!(
        interrupt::spin(VECTOR, 20, 30 * PERIOD * ratio()),
        "{} came",
        interrupt::count(VECTOR)
    );
    lapic::write(register::TIMER_INITIAL, 0)?;
    for n in 0..20 {
        let Some(came) = arrival(n) else { break };
        let due = (n as u64 + 1) * PERIOD * ratio();
        let after = came.tsc - start;
        // Lateness does not add up.
        claim!(
            (due..due + LATE).contains(&after),
            "number {n}: after {after}, due after {due}"
        );
    }
    let count = interrupt::count(VECTOR);
    claim!(
        !interrupt::spin(VECTOR, count + 1, 3 * PERIOD),
        "it goes on when stopped"
    );
    Ok(())
}

fn periodic_in_xapic_mode() -> Verdict {
    periodic()
}

fn periodic_in_x2apic_mode() -> Verdict {
    periodic()
}

fn deadline() -> Verdict {
    for ticks in [10_000, 100_000, 3_000_000] {
        set_up(Lvt::TSC_DEADLINE)?;
        let when = lapic::arm(ticks)?;
        same!(
            msr::read(spec::msr::TSC_DEADLINE)?,
            when,
            "the deadline reads back"
        );
        claim!(interrupt::spin(VECTOR, 1, 2 * ticks), "it never came");
        let Some(came) = arrival(0) else {
            return Ok(());
        };
        claim!(
            (when..when + LATE).contains(&came.tsc),
            "{ticks}: at {}, due {when}",
            came.tsc
        );
        same!(msr::read(spec::msr::TSC_DEADLINE)?, 0, "it is spent");
        claim!(!interrupt::spin(VECTOR, 2, ticks), "it came twice");
    }
    Ok(())
}

fn deadline_in_xapic_mode() -> Verdict {
    deadline()
}

fn deadline_in_x2apic_mode() -> Verdict {
    deadline()
}

fn the_count_runs_down_at_the_rate_of_leaf_0x15() -> Verdict {
    set_up(Lvt::MASKED)?;
    lapic::write(register::TIMER_DIVIDE, 0b1011)?;
    lapic::write(register::TIMER_INITIAL, u32::MAX)?;
    let (count, time) = (lapic::read(register::TIMER_CURRENT), tsc());
    spin_until(time + 5_000_000);
    let (less, later) = (lapic::read(register::TIMER_CURRENT), tsc());
    lapic::write(register::TIMER_INITIAL, 0)?;
    let (counted, passed) = (u64::from(count - less) * ratio(), later - time);
    claim!(
        counted.abs_diff(passed) < LATE,
        "{counted} counted while {passed} passed"
    );
    Ok(())
}

fn the_x2apic_is_entered() -> Verdict {
    lapic::enter_x2apic()?;
    same!(lapic::read(register::ID), 0);
    Ok(())
}

fn a_masked_timer_stays_silent() -> Verdict {
    set_up(Lvt::TSC_DEADLINE | Lvt::MASKED)?;
    let _ = lapic::arm(10_000)?;
    claim!(!interrupt::spin(VECTOR, 1, 100_000), "it came");
    claim!(!lapic::has(register::IRR, VECTOR), "it is pending");
    Ok(())
}

fn a_deadline_that_has_passed_comes_at_once() -> Verdict {
    for when in [1, tsc() - 1] {
        set_up(Lvt::TSC_DEADLINE)?;
        msr::write(spec::msr::TSC_DEADLINE, when)?;
        claim!(
            lapic::has(register::IRR, VECTOR),
            "deadline {when} is not pending"
        );
        claim!(
            interrupt::spin(VECTOR, 1, LATE),
            "deadline {when} did not come"
        );
    }
    Ok(())
}

fn a_deadline_of_zero_disarms() -> Verdict {
    set_up(Lvt::TSC_DEADLINE)?;
    let _ = lapic::arm(100_000)?;
    msr::write(spec::msr::TSC_DEADLINE, 0)?;
    claim!(!interrupt::spin(VECTOR, 1, 300_000), "it came");
    Ok(())
}

fn a_deadline_outside_its_mode_is_ignored() -> Verdict {
    set_up(Lvt::empty())?;
    let _ = lapic::arm(50_000)?;
    same!(msr::read(spec::msr::TSC_DEADLINE)?, 0);
    claim!(!interrupt::spin(VECTOR, 1, 200_000), "it came");
    Ok(())
}

fn going_to_another_mode_disarms() -> Verdict {
    set_up(Lvt::TSC_DEADLINE)?;
    let _ = lapic::arm(100_000)?;
    lapic::set_timer(Lvt::empty(), VECTOR)?;
    lapic::set_timer(Lvt::TSC_DEADLINE, VECTOR)?;
    same!(msr::read(spec::msr::TSC_DEADLINE)?, 0);
    claim!(!interrupt::spin(VECTOR, 1, 300_000), "it came");
    Ok(())
}

fn a_deadline_moves_with_the_tsc() -> Verdict {
    const JUMP: u64 = 1 << 40;
    set_up(Lvt::TSC_DEADLINE)?;
    let adjustment = msr::read(spec::msr::TSC_ADJUST)?;
    msr::write(spec::msr::TSC_DEADLINE, tsc() + JUMP + 1_000_000)?;
    claim!(
        !interrupt::spin(VECTOR, 1, 100_000),
        "it came before its time"
    );
    msr::write(spec::msr::TSC_ADJUST, adjustment.wrapping_add(JUMP))?;
    let came = interrupt::spin(VECTOR, 1, 2_000_000);
    msr::write(spec::msr::TSC_ADJUST, adjustment)?;
    claim!(came, "it did not come when the TSC had jumped");
    Ok(())
}

fn hlt_sleeps_until_the_deadline() -> Verdict {
    for ticks in [20_000, 1_000_000, 20_000_000] {
        set_up(Lvt::TSC_DEADLINE)?;
        let when = lapic::arm(ticks)?;
        sti_hlt();
        same!(interrupt::count(VECTOR), 1, "interrupts when HLT came back");
        let now = tsc();
        claim!(
            (when..when + LATE).contains(&now),
            "{ticks}: awake at {now}, due {when}"
        );
    }
    Ok(())
}

fn a_processor_asleep_wakes_for_each_period() -> Verdict {
    set_up(Lvt::PERIODIC)?;
    lapic::write(register::TIMER_DIVIDE, 0b1011)?;
    lapic::write(register::TIMER_INITIAL, 1_000_000)?;
    for n in 1..=10 {
        sti_hlt();
        same!(interrupt::count(VECTOR), n);
    }
    lapic::write(register::TIMER_INITIAL, 0)?;
    Ok(())
}

fn how_late_the_timer_is() -> Verdict {
    let mut latest = (0, 0);
    for _ in 0..20 {
        set_up(Lvt::TSC_DEADLINE)?;
        let when = lapic::arm(50_000)?;
        let _ = interrupt::spin(VECTOR, 1, 100_000);
        latest.0 = latest
            .0
            .max(arrival(0).map_or(u64::MAX, |came| came.tsc - when));
        set_up(Lvt::TSC_DEADLINE)?;
        let when = lapic::arm(50_000)?;
        sti_hlt();
        latest.1 = latest
            .1
            .max(arrival(0).map_or(u64::MAX, |came| came.tsc - when));
    }
    figure("timer_lateness_spinning", latest.0);
    figure("timer_lateness_halted", latest.1);
    Ok(())
}
