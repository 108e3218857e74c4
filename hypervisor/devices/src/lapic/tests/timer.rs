//! "APIC Timer" and "TSC-Deadline Mode".

use super::machine::{CARRIERS, Machine};
use super::*;
use proptest::prelude::*;

const ONE_SHOT: u32 = 0x0_0040;
const PERIODIC: u32 = 0x2_0040;
const DEADLINE: u32 = 0x4_0040;
const MASKED: u32 = 0x1_0000;
/// Divide configuration: by 1
const BY_1: u32 = 0b1011;

fn timer(entry: u32) -> Lapic {
    let mut apic = x2apic(0);
    put(&mut apic, register::LVT_TIMER, entry);
    put(&mut apic, register::TIMER_DIVIDE, BY_1);
    apic
}

/// On each carrier
fn timers(entry: u32) -> [Machine; 3] {
    CARRIERS.map(|carrier| Machine::new(timer(entry), carrier))
}

/// Lets time pass; what the guest can take then, and that it ends it.
fn comes(apic: &mut Machine, now: u64) -> Option<u8> {
    apic.pass(now - apic.now.0);
    let vector = apic.take()?;
    assert_eq!(apic.eoi(), Effect::None);
    assert_eq!(apic.take(), None);
    Some(vector.0)
}

/// Lets time pass, takes and ends the timer's interrupt; whether there was one.
fn fires(apic: &mut Lapic, now: u64) -> bool {
    apic.expire(Ticks(now));
    let Some(vector) = apic.deliverable() else {
        return false;
    };
    assert_eq!(vector, Vector(0x40));
    apic.acknowledge(vector);
    assert_eq!(eoi(apic), Effect::None);
    true
}

#[test]
fn one_shot_fires_once_at_its_count() {
    for mut apic in timers(ONE_SHOT) {
        apic.put(register::TIMER_INITIAL, 500);
        assert_eq!(apic.apic.next_deadline(), Some(Ticks(1500)));
        assert_eq!(comes(&mut apic, 1499), None);
        assert_eq!(comes(&mut apic, 1500), Some(0x40));
        assert_eq!(apic.apic.next_deadline(), None);
        assert_eq!(comes(&mut apic, u64::MAX), None);
        assert_eq!(apic.get(register::TIMER_INITIAL), 500);
    }
}

#[test]
fn a_count_of_zero_stops_the_timer() {
    for mut apic in [ONE_SHOT, PERIODIC].map(timers).into_iter().flatten() {
        apic.put(register::TIMER_INITIAL, 500);
        apic.put(register::TIMER_INITIAL, 0);
        assert_eq!(apic.apic.next_deadline(), None);
        assert_eq!(apic.get(register::TIMER_CURRENT), 0);
        assert_eq!(comes(&mut apic, u64::MAX), None);
    }
}

#[test]
fn each_divider_slows_the_count() {
    for (code, divider) in [
        (0b0000, 2),
        (0b0001, 4),
        (0b0010, 8),
        (0b0011, 16),
        (0b1000, 32),
        (0b1001, 64),
        (0b1010, 128),
        (0b1011, 1),
    ] {
        for shift in [0, 3, MAX_CLOCK_SHIFT, u8::MAX] {
            let mut apic = Lapic::new(0, true, shift);
            put(&mut apic, register::SVR, ENABLED);
            put(&mut apic, register::LVT_TIMER, ONE_SHOT);
            put(&mut apic, register::TIMER_DIVIDE, code);
            put(&mut apic, register::TIMER_INITIAL, u32::MAX);
            let tick = divider << shift.min(MAX_CLOCK_SHIFT);
            let end = 1000 + u64::from(u32::MAX) * tick;
            assert_eq!(apic.next_deadline(), Some(Ticks(end)));
            assert_eq!(
                get_at(&mut apic, register::TIMER_CURRENT, Ticks(1000 + 10 * tick)),
                u32::MAX - 10
            );
        }
    }
}

proptest! {
    /// However late and however irregularly it is asked, the n-th end of a period is at n periods, and each call
    /// raises at most one interrupt.
    #[test]
    fn periods_do_not_drift(count in 1..5000u32, shift in 0..4u8, steps in prop::collection::vec(0..40_000u64, 1..60)) {
        let mut apic = Lapic::new(0, true, shift);
        put(&mut apic, register::SVR, ENABLED);
        put(&mut apic, register::TIMER_DIVIDE, BY_1);
        put(&mut apic, register::LVT_TIMER, PERIODIC);
        put(&mut apic, register::TIMER_INITIAL, count);
        let period = u64::from(count) << shift;
        let (mut elapsed, mut seen) = (0, 0);
        for step in steps {
            elapsed += step;
            let ended = elapsed / period;
            prop_assert_eq!(fires(&mut apic, 1000 + elapsed), ended > seen);
            seen = ended;
            prop_assert_eq!(apic.next_deadline(), Some(Ticks(1000 + (ended + 1) * period)));
            let left = (period - elapsed % period).div_ceil(1 << shift);
            prop_assert_eq!(u64::from(get_at(&mut apic, register::TIMER_CURRENT, Ticks(1000 + elapsed))), left);
        }
    }

    /// The current count is right before anyone has let the timer fire, too.
    #[test]
    fn the_count_is_what_is_left(count: u32, mode in prop::sample::select(&[ONE_SHOT, PERIODIC][..]), elapsed in 0..1u64 << 40) {
        let mut apic = timer(mode);
        put(&mut apic, register::TIMER_INITIAL, count);
        let expected = match (u64::from(count), mode) {
            (0, _) => 0,
            (count, PERIODIC) => count - elapsed % count,
            (count, _) => count.saturating_sub(elapsed),
        };
        prop_assert_eq!(u64::from(get_at(&mut apic, register::TIMER_CURRENT, Ticks(1000 + elapsed))), expected);
    }

    #[test]
    fn a_new_divider_goes_on_from_the_same_count(count in 1..u32::MAX, elapsed: u32) {
        let mut apic = timer(ONE_SHOT);
        put(&mut apic, register::TIMER_INITIAL, count);
        let now = Ticks(1000 + u64::from(elapsed));
        let left = count.saturating_sub(elapsed);
        put_at(&mut apic, register::TIMER_DIVIDE, 0b1010, now);
        prop_assert_eq!(get_at(&mut apic, register::TIMER_CURRENT, now), left);
        let end = now.after(Ticks(128 * u64::from(left)));
        apic.expire(end);
        prop_assert_eq!(apic.deliverable(), Some(Vector(0x40)));
    }
}

#[test]
fn a_deadline_fires_once_and_reads_zero_afterwards() {
    for mut apic in timers(DEADLINE) {
        apic.set_deadline(2000);
        assert_eq!(comes(&mut apic, 1999), None);
        assert_eq!(apic.deadline(), 2000);
        assert_eq!(comes(&mut apic, 2000), Some(0x40));
        assert_eq!(apic.deadline(), 0);
        assert_eq!(comes(&mut apic, u64::MAX), None);
    }
    let mut apic = timer(DEADLINE);
    apic.set_tsc_deadline(2000, NOW);
    assert_eq!(apic.next_deadline(), Some(Ticks(2000)));
    assert_eq!(
        apic.tsc_deadline(Ticks(2000)),
        0,
        "passed, though nobody let it fire yet"
    );
}

#[test]
fn a_deadline_in_the_past_fires_at_once_and_zero_disarms() {
    for past in [1, 999, 1000] {
        for mut apic in timers(DEADLINE) {
            apic.set_deadline(past);
            assert_eq!(comes(&mut apic, 1000), Some(0x40));
        }
    }
    for mut apic in timers(DEADLINE) {
        apic.set_deadline(2000);
        apic.set_deadline(0);
        assert_eq!(apic.apic.next_deadline(), None);
        assert_eq!(comes(&mut apic, u64::MAX), None);
    }
}

#[test]
fn each_mode_ignores_the_others_registers() {
    for mut apic in timers(DEADLINE) {
        apic.put(register::TIMER_INITIAL, 500);
        assert_eq!(apic.get(register::TIMER_INITIAL), 0);
        assert_eq!(apic.get(register::TIMER_CURRENT), 0);
        assert_eq!(apic.apic.next_deadline(), None);
    }
    for mut apic in [ONE_SHOT, PERIODIC].map(timers).into_iter().flatten() {
        apic.set_deadline(2000);
        assert_eq!(apic.deadline(), 0);
        assert_eq!(apic.apic.next_deadline(), None);
    }
}

#[test]
fn going_to_or_from_deadline_mode_disarms_and_other_changes_do_not() {
    for (from, to, disarms) in [
        (ONE_SHOT, DEADLINE, true),
        (PERIODIC, DEADLINE, true),
        (DEADLINE, ONE_SHOT, true),
        (DEADLINE, PERIODIC, true),
        (ONE_SHOT, PERIODIC, false),
        (PERIODIC, ONE_SHOT, false),
        (DEADLINE, DEADLINE | 1, false),
    ] {
        for mut apic in timers(from) {
            apic.put(register::TIMER_INITIAL, 500);
            apic.set_deadline(1500);
            apic.put(register::LVT_TIMER, to);
            let vector = (!disarms).then_some(to as u8);
            assert_eq!(comes(&mut apic, 1499), None);
            assert_eq!(comes(&mut apic, 1500), vector, "{from:#x} to {to:#x}");
        }
    }
}

#[test]
fn a_masked_timer_runs_on_without_interrupt() {
    for mut apic in timers(ONE_SHOT | MASKED) {
        apic.put(register::TIMER_INITIAL, 500);
        assert_eq!(apic.apic.next_deadline(), None, "nothing to wake up for");
        apic.pass(400);
        assert_eq!(apic.get(register::TIMER_CURRENT), 100);
        apic.pass(200);
        apic.put(register::LVT_TIMER, ONE_SHOT);
        assert_eq!(apic.take(), None, "it ended while masked");

        apic.put(register::LVT_TIMER, ONE_SHOT | MASKED);
        apic.put(register::TIMER_INITIAL, 500);
        apic.pass(400);
        apic.put(register::LVT_TIMER, ONE_SHOT);
        assert_eq!(comes(&mut apic, 2099), None);
        assert_eq!(comes(&mut apic, 2100), Some(0x40), "unmasked in time");
    }
}

#[test]
fn a_masked_deadline_passes_without_interrupt() {
    for mut apic in timers(DEADLINE | MASKED) {
        apic.set_deadline(1500);
        assert_eq!(apic.apic.next_deadline(), None);
        assert_eq!(apic.deadline(), 1500);
        apic.pass(500);
        assert_eq!(apic.deadline(), 0);
        apic.put(register::LVT_TIMER, DEADLINE);
        assert_eq!(comes(&mut apic, u64::MAX), None);
    }
}

#[test]
fn a_pending_timer_interrupt_asks_for_no_further_exit() {
    let mut apic = timer(PERIODIC);
    put(&mut apic, register::TIMER_INITIAL, 1);
    apic.expire(Ticks(1001));
    assert_eq!(apic.next_deadline(), None);
    apic.acknowledge(Vector(0x40));
    assert_eq!(apic.next_deadline(), Some(Ticks(1002)));
}

#[test]
fn the_deadline_is_in_the_guests_time() {
    for mut apic in timers(DEADLINE) {
        // The guest's TSC began at the host's 600.
        apic.set_offset(600u64.wrapping_neg());
        apic.set_deadline(500);
        assert_eq!(apic.apic.next_deadline(), Some(Ticks(1100)));
        assert_eq!(apic.deadline(), 500);
        // IA32_TSC_ADJUST moves the guest's TSC on by 50.
        apic.set_offset(550u64.wrapping_neg());
        assert_eq!(apic.apic.next_deadline(), Some(Ticks(1050)));
        apic.set_offset(0);
        assert_eq!(
            comes(&mut apic, 1000),
            Some(0x40),
            "now it lies in the past"
        );
        apic.set_deadline(u64::MAX);
        assert_eq!(apic.deadline(), u64::MAX);
        apic.set_offset(600u64.wrapping_neg());
        assert_eq!(apic.deadline(), u64::MAX, "also one that the processor had");
    }
}

#[test]
fn what_was_due_before_a_change_still_comes() {
    // The owner has not let the timer fire yet when the guest changes it.
    let late = Ticks(1700);
    for (number, value) in [
        (register::LVT_TIMER, ONE_SHOT | MASKED),
        (register::LVT_TIMER, DEADLINE),
        (register::LVT_TIMER, ONE_SHOT | 1),
        (register::TIMER_INITIAL, 0),
        (register::TIMER_INITIAL, 500),
        (register::TIMER_DIVIDE, 0),
        (register::SVR, 0xff),
    ] {
        let mut apic = timer(ONE_SHOT);
        put(&mut apic, register::TIMER_INITIAL, 500);
        put_at(&mut apic, number, value, late);
        assert_eq!(
            apic.deliverable(),
            Some(Vector(0x40)),
            "{number:#x} = {value:#x}"
        );
    }
}

/// A guest that writes the next deadline just after the last one has passed still gets its interrupt.
#[test]
fn a_deadline_that_was_due_comes_before_the_next_is_set() {
    for next in [0, 2001, u64::MAX] {
        let mut apic = timer(DEADLINE);
        apic.set_tsc_deadline(2000, NOW);
        apic.set_tsc_deadline(next, Ticks(2000));
        assert_eq!(apic.deliverable(), Some(Vector(0x40)), "{next}");
    }
    let mut apic = timer(DEADLINE);
    apic.set_tsc_deadline(2000, NOW);
    apic.set_tsc_offset(1500u64.wrapping_neg(), Ticks(2000));
    assert_eq!(apic.deliverable(), Some(Vector(0x40)));
}

#[test]
fn a_deadline_that_fired_does_not_come_back() {
    for mut apic in timers(DEADLINE) {
        apic.set_deadline(2000);
        assert_eq!(comes(&mut apic, 2000), Some(0x40));
        apic.set_offset(1500u64.wrapping_neg());
        assert_eq!(apic.apic.next_deadline(), None);
        assert_eq!(comes(&mut apic, u64::MAX), None);
    }
}

/// However often the guest's deadline passes while it cannot take the interrupt: it takes one.
#[test]
fn deadlines_that_pass_while_one_is_pending_count_as_one() {
    for mut apic in timers(DEADLINE) {
        for at in [1100, 1200, 1300] {
            apic.set_deadline(at);
            apic.pass(100);
        }
        assert_eq!(comes(&mut apic, 1300), Some(0x40));
        assert_eq!(comes(&mut apic, u64::MAX), None);
    }
}

#[test]
fn going_to_or_from_deadline_mode_forgets_the_count() {
    for mut apic in timers(ONE_SHOT) {
        apic.put(register::TIMER_INITIAL, 500);
        apic.put(register::LVT_TIMER, DEADLINE);
        assert_eq!(apic.get(register::TIMER_INITIAL), 0);
        apic.put(register::LVT_TIMER, PERIODIC);
        assert_eq!(apic.get(register::TIMER_INITIAL), 0);
    }
}
