//! A watchdog counts down, is fed, stands still, and ends a machine that does not feed it; the next run sees that. It may be set to ten
//! seconds. The last countdown is of `countdown=` milliseconds, else of 50; what is not ended `longer=` milliseconds after that, else 1000,
//! has failed.
#![no_std]
#![no_main]

use guests::cpu::{spin_until, tsc, tsc_hz};
use guests::verdict::Verdict;
use guests::watchdog::{self, feed, read, write};
use guests::{claim, cmdline, guest, port, same, say};
use spec::watchdog::offset::{CONTROL, COUNTDOWN, LEFT, STATUS};

guest!(
    it_stands_still_at_first,
    it_counts_down_as_the_tsc_counts_up,
    one_that_is_fed_goes_on,
    one_that_stands_still_ends_nothing,
    what_it_cannot_be_set_to_becomes_the_next_that_it_can,
    its_registers_are_taken_as_a_whole,
    unfed_it_ends_the_machine_and_says_so_afterwards,
);

/// The longest that it may be set to, in milliseconds
const LONGEST: u32 = 10_000;

/// Ticks of a millisecond.
fn ms() -> u64 {
    tsc_hz() / 1000
}

fn spin(milliseconds: u64) {
    spin_until(tsc() + milliseconds * ms());
}

fn it_stands_still_at_first() -> Verdict {
    same!(
        (read(CONTROL), read(COUNTDOWN), read(LEFT)),
        (0, LONGEST, 0)
    );
    claim!(ms() > 0, "CPUID tells no frequency");
    Ok(())
}

fn it_counts_down_as_the_tsc_counts_up() -> Verdict {
    write(COUNTDOWN, 1000);
    let before = tsc();
    write(CONTROL, 1);
    let after = tsc();
    same!((read(CONTROL), read(COUNTDOWN)), (1, 1000));
    for step in 1..=5 {
        spin_until(after + step * 2 * ms());
        let least = (tsc() - after) / ms();
        let left = u64::from(read(LEFT));
        let most = (tsc() - before).div_ceil(ms());
        claim!(
            (1000 - most..=1000 - least).contains(&left),
            "{left} are left after {least} to {most}"
        );
    }
    write(CONTROL, 0);
    Ok(())
}

fn one_that_is_fed_goes_on() -> Verdict {
    write(COUNTDOWN, 20);
    write(CONTROL, 1);
    for _ in 0..5 {
        spin(10);
        feed();
        same!(read(LEFT), 20);
    }
    write(CONTROL, 0);
    Ok(())
}

fn one_that_stands_still_ends_nothing() -> Verdict {
    write(COUNTDOWN, 5);
    write(CONTROL, 1);
    write(CONTROL, 0);
    same!((read(CONTROL), read(LEFT)), (0, 0));
    spin(10);
    Ok(())
}

fn what_it_cannot_be_set_to_becomes_the_next_that_it_can() -> Verdict {
    for (asked, set) in [(0, 1), (LONGEST + 1, LONGEST), (u32::MAX, LONGEST)] {
        write(COUNTDOWN, asked);
        same!(read(COUNTDOWN), set);
    }
    Ok(())
}

fn its_registers_are_taken_as_a_whole() -> Verdict {
    for at in (watchdog::BASE..).take(16) {
        port::out8(at, 1);
        port::out16(at, 1);
        same!(port::in8(at), 0xff, "byte of port {at:#x}");
        same!(port::in16(at), 0xffff, "word of port {at:#x}");
    }
    same!(port::in32(watchdog::BASE + 2), u32::MAX);
    same!((read(CONTROL), read(COUNTDOWN)), (0, LONGEST));
    Ok(())
}

fn unfed_it_ends_the_machine_and_says_so_afterwards() -> Verdict {
    if read(STATUS) == 1 {
        write(STATUS, 0);
        same!(read(STATUS), 1);
        write(STATUS, 1);
        same!(read(STATUS), 0);
        return Ok(());
    }
    same!(read(STATUS), 0);
    let countdown = cmdline::number("countdown").unwrap_or(50);
    write(COUNTDOWN, countdown as u32);
    write(CONTROL, 1);
    let due = tsc() + countdown * ms();
    say!("guest: starves until={due}");
    // No exit from here on, where the local APIC is the core's own.
    spin_until(due + cmdline::number("longer").unwrap_or(1000) * ms());
    claim!(false, "nothing has ended this");
    Ok(())
}
