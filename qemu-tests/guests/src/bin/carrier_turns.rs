//! What may change who carries a local APIC, while interrupts are pending and in service: the timer's modes, the APIC off and on by
//! its spurious-interrupt register, a TSC that is set, an INIT from another processor. Nothing is lost, and nothing comes twice.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::interrupt::{self, arrival, count, count_on};
use guests::lapic::{has, pend, read, read_here, write, write_here};
use guests::random::Random;
use guests::slot::Slot;
use guests::smp::{self, ASSERT, INIT, until};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, lapic, msr, same};
use spec::apic::{Lvt, Svr, register};

guest!(
    all_processors_come_up_and_enter_x2apic_mode,
    what_is_pending_stays_over_each_turn,
    what_is_in_service_stays_over_each_turn,
    an_end_over_a_turn_lets_the_next_come,
    a_turn_and_back_in_a_handler,
    a_deadline_bears_turns_that_are_none_of_its_own,
    counts_and_deadlines_take_turns,
    a_deadline_follows_a_tsc_that_is_set,
    any_order_of_turns_and_messages_loses_nothing,
    messages_of_another_bear_turns,
    an_init_takes_all_away,
);

const LOW: u8 = 0x31;
const SERVED: u8 = 0x81;
const HIGH: u8 = 0x91;
const TIMER: u8 = 0x61;
const OTHER: u8 = 0x51;
const SOON: u64 = 100_000;

fn all_processors_come_up_and_enter_x2apic_mode() -> Verdict {
    lapic::enable()?;
    smp::start()?;
    smp::enter_x2apic()
}

/// Enabled, its timer for deadlines, and the TSC as it was at power-up: what each carrier can bear.
fn begin() -> Verdict {
    lapic::enable()?;
    home();
    interrupt::forget();
    msr::write_plain(spec::msr::TSC_DEADLINE, 0);
    Ok(())
}

fn set_timer_here(mode: Lvt) {
    write_here(
        register::LVT_TIMER,
        (mode | Lvt::from_bits_retain(TIMER.into())).bits(),
    );
}

fn home() {
    msr::write_plain(spec::msr::TSC_ADJUST, 0);
    write_here(
        register::SVR,
        Svr::ENABLE.bits() | u32::from(lapic::SPURIOUS),
    );
    set_timer_here(Lvt::TSC_DEADLINE);
}

/// Away from home and back, each its own way.
const TURNS: [(&str, fn()); 7] = [
    ("one-shot", || set_timer_here(Lvt::empty())),
    ("periodic", || set_timer_here(Lvt::PERIODIC)),
    ("masked", || set_timer_here(Lvt::TSC_DEADLINE | Lvt::MASKED)),
    ("off", || write_here(register::SVR, lapic::SPURIOUS.into())),
    ("TSC ahead", || {
        msr::write_plain(spec::msr::TSC_ADJUST, 1 << 40)
    }),
    ("TSC set", || {
        let now = msr::read_plain(spec::msr::TSC);
        msr::write_plain(spec::msr::TSC, now + (1 << 30));
    }),
    ("home", home),
];

/// Whether just these come, in this order, and then no more.
fn comes(expected: &[u8]) -> Verdict {
    cpu::sti();
    cpu::spin_until(cpu::tsc() + SOON / 10);
    cpu::cli();
    came(expected)
}

fn came(expected: &[u8]) -> Verdict {
    for (at, vector) in expected.iter().enumerate() {
        same!(
            arrival(at).map(|came| came.vector),
            Some(*vector),
            "number {at}"
        );
    }
    same!(interrupt::total(), expected.len(), "interrupts");
    Ok(())
}

fn what_is_pending_stays_over_each_turn() -> Verdict {
    let vectors = [16, 31, LOW, HIGH, SERVED, 254];
    for (name, turn) in TURNS {
        begin()?;
        cpu::set_cr8(4);
        pend(&vectors);
        turn();
        for vector in vectors {
            claim!(has(register::IRR, vector), "{name}: {vector} is lost");
        }
        same!(read(register::TPR), 0x40, "{name}: TPR");
        home();
        for vector in vectors {
            claim!(
                has(register::IRR, vector),
                "{name} and back: {vector} is lost"
            );
        }
        // Vectors below 32 are those of exceptions here: they wait behind the priority, and go with INIT.
        comes(&[254, HIGH, SERVED])?;
        cpu::set_cr8(1);
        comes(&[254, HIGH, SERVED, LOW])?;
        off_and_on()?;
    }
    Ok(())
}

/// Forgets what is pending.
fn off_and_on() -> Verdict {
    lapic::leave_x2apic()?;
    lapic::enter_x2apic()?;
    Ok(())
}

static TURN: Slot<fn()> = Slot::new(home);
static WELL: AtomicBool = AtomicBool::new(false);

fn has_here(set: u8, vector: u8) -> bool {
    read_here(set + (vector >> 5)) & 1 << (vector & 31) != 0
}

fn what_is_in_service_stays_over_each_turn() -> Verdict {
    for (name, turn) in TURNS {
        begin()?;
        TURN.set(turn);
        WELL.store(false, Ordering::Relaxed);
        interrupt::also(|vector| {
            if vector != SERVED {
                return;
            }
            pend(&[SERVED, LOW]);
            TURN.get()();
            let well = has_here(register::ISR, SERVED)
                && has_here(register::IRR, SERVED)
                && has_here(register::IRR, LOW)
                && read_here(register::PPR) == 0x80;
            home();
            pend(&[HIGH]);
            // Only the higher one comes in between.
            cpu::sti();
            cpu::spin_until(cpu::tsc() + 1000);
            cpu::cli();
            let between = (count(HIGH), count(SERVED), count(LOW));
            let well = well && has_here(register::ISR, SERVED) && between == (1, 1, 0);
            WELL.store(well, Ordering::Relaxed);
            interrupt::also(|_| ());
        });
        pend(&[SERVED]);
        comes(&[SERVED, HIGH, SERVED, LOW])?;
        claim!(
            WELL.load(Ordering::Relaxed),
            "{name}: not as it was in the handler"
        );
        same!(read(register::PPR), 0, "{name}");
    }
    Ok(())
}

fn an_end_over_a_turn_lets_the_next_come() -> Verdict {
    for (name, turn) in TURNS {
        begin()?;
        TURN.set(turn);
        // The turn comes first, and the end of interrupt behind it.
        interrupt::also(|vector| {
            if vector == HIGH {
                pend(&[SERVED, LOW]);
                TURN.get()();
            }
        });
        pend(&[HIGH]);
        cpu::sti();
        cpu::spin_until(cpu::tsc() + 2000);
        cpu::cli();
        home();
        comes(&[HIGH, SERVED, LOW])?;
        for word in 0..8 {
            same!(read(register::ISR + word), 0, "{name}: ISR, word {word}");
            same!(read(register::IRR + word), 0, "{name}: IRR, word {word}");
        }
    }
    Ok(())
}

fn a_turn_and_back_in_a_handler() -> Verdict {
    for round in 0..20u32 {
        begin()?;
        interrupt::also(|vector| {
            for (_, turn) in TURNS {
                turn();
                home();
            }
            if vector == LOW {
                pend(&[SERVED, HIGH]);
                cpu::sti();
                cpu::cli();
            }
        });
        pend(&[LOW]);
        comes(&[LOW, HIGH, SERVED]).inspect_err(|_| guests::say!("guest: in round {round}"))?;
    }
    Ok(())
}

fn a_deadline_bears_turns_that_are_none_of_its_own() -> Verdict {
    begin()?;
    let when = lapic::arm(5_000_000)?;
    for _ in 0..10 {
        pend(&[LOW]);
        claim!(interrupt::spin(LOW, 1, SOON), "a message does not come");
        interrupt::forget();
        // Another vector, masked and not: the deadline stays.
        lapic::set_timer(Lvt::TSC_DEADLINE | Lvt::MASKED, TIMER)?;
        lapic::set_timer(Lvt::TSC_DEADLINE, TIMER + 1)?;
        same!(msr::read(spec::msr::TSC_DEADLINE)?, when);
    }
    claim!(interrupt::spin(TIMER + 1, 1, 6_000_000), "it did not come");
    claim!(cpu::tsc() >= when, "it came early");
    same!(interrupt::total(), 1);
    Ok(())
}

fn counts_and_deadlines_take_turns() -> Verdict {
    begin()?;
    write(register::TIMER_DIVIDE, 0b1011)?;
    let mut expected = 0;
    for round in 0..30u64 {
        match round % 3 {
            0 => {
                set_timer_here(Lvt::TSC_DEADLINE);
                let _ = lapic::arm(5_000)?;
            }
            1 => {
                set_timer_here(Lvt::empty());
                write(register::TIMER_INITIAL, 500)?;
            }
            _ => {
                set_timer_here(Lvt::PERIODIC);
                // Long enough for more than its interrupts.
                write(register::TIMER_INITIAL, 20_000)?;
            }
        }
        expected += 1;
        if round % 2 == 0 {
            // It is pending when the next turn comes.
            claim!(
                until(|| has(register::IRR, TIMER)),
                "round {round}: it is not requested"
            );
            write(register::TIMER_INITIAL, 0)?;
            set_timer_here(Lvt::TSC_DEADLINE);
        }
        claim!(
            interrupt::spin(TIMER, expected, SOON * 10),
            "round {round}: it did not come"
        );
        write(register::TIMER_INITIAL, 0)?;
        set_timer_here(Lvt::TSC_DEADLINE);
        cpu::sti();
        cpu::cli();
        // Of a short period more than one may have come.
        claim!(
            round % 3 == 2 || count(TIMER) == expected,
            "round {round}: it came twice"
        );
        expected = count(TIMER);
    }
    claim!(!interrupt::spin(TIMER, expected + 1, SOON), "one more came");
    Ok(())
}

fn a_deadline_follows_a_tsc_that_is_set() -> Verdict {
    const AHEAD: u64 = 1 << 34;
    for in_service in [false, true] {
        begin()?;
        let when = cpu::tsc() + AHEAD + 50_000;
        msr::write(spec::msr::TSC_DEADLINE, when)?;
        pend(&[LOW]);
        let jump = || msr::write_plain(spec::msr::TSC_ADJUST, AHEAD);
        if in_service {
            interrupt::also(|vector| {
                if vector == LOW {
                    msr::write_plain(spec::msr::TSC_ADJUST, AHEAD);
                }
            });
            cpu::sti();
            cpu::cli();
        } else {
            claim!(!interrupt::spin(TIMER, 1, SOON), "it came early");
            jump();
        }
        claim!(interrupt::spin(TIMER, 1, SOON), "it did not come");
        claim!(cpu::tsc() >= when, "it came early");
        same!(interrupt::total(), 2);
        msr::write(spec::msr::TSC_ADJUST, 0)?;
        // And a new one by the old time.
        let when = lapic::arm(20_000)?;
        claim!(interrupt::spin(TIMER, 2, SOON), "the next did not come");
        claim!(
            (when..when + SOON).contains(&cpu::tsc()),
            "the next came at another time"
        );
    }
    Ok(())
}

fn any_order_of_turns_and_messages_loses_nothing() -> Verdict {
    begin()?;
    let mut random = Random::new(6);
    let mut expected = [0u64; 256];
    let mut pending = [false; 256];
    for step in 0..1500 {
        match random.below(8) {
            0..=3 => {
                let vector = 32 + random.below(224) as u8;
                if matches!(vector, TIMER | lapic::SPURIOUS) {
                    continue;
                }
                let slot = usize::from(vector);
                expected[slot] += u64::from(!pending[slot]);
                pending[slot] = true;
                // Two ways to send it, and to none that is disabled.
                home();
                if random.below(2) == 0 {
                    pend(&[vector]);
                } else {
                    lapic::send(0, ASSERT | 1 << 18 | u32::from(vector));
                }
                claim!(has(register::IRR, vector), "step {step}: {vector} is lost");
            }
            4 | 5 => TURNS[random.below(TURNS.len() as u64) as usize].1(),
            6 => {
                home();
                cpu::sti();
                cpu::cli();
                pending = [false; 256];
            }
            _ => {
                if random.below(4) == 0 {
                    cpu::set_cr8(random.below(3));
                }
                cpu::set_cr8(0);
            }
        }
    }
    home();
    cpu::sti();
    cpu::cli();
    for (vector, expected) in expected.iter().enumerate() {
        same!(count(vector as u8), *expected, "vector {vector}");
    }
    for word in 0..8 {
        same!(
            read(register::ISR + word) | read(register::IRR + word),
            0,
            "word {word}"
        );
    }
    Ok(())
}

static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Sends so many, each when the one before it was taken; says how many were not.
fn sends(times: u64) -> u64 {
    for n in 1..=times {
        lapic::send(0, ASSERT | u32::from(OTHER));
        if !until(|| TAKEN.load(Ordering::Acquire) >= n) {
            return times - n + 1;
        }
    }
    0
}

fn messages_of_another_bear_turns() -> Verdict {
    const TIMES: u64 = 100;
    begin()?;
    TAKEN.store(0, Ordering::Release);
    interrupt::also(|vector| {
        if vector == OTHER {
            TAKEN.fetch_add(1, Ordering::AcqRel);
        }
    });
    smp::begin(1, sends, TIMES);
    let mut at = 0;
    // No time that is its own bounds this: its TSC jumps.
    while !smp::has_ended(1) && at < 200_000 {
        // An APIC that is off takes no message.
        let (name, turn) = TURNS[at % TURNS.len()];
        if name != "off" {
            turn();
        }
        at += 1;
        if at % 3 == 0 {
            home();
            cpu::sti();
            cpu::cli();
        }
    }
    home();
    cpu::sti();
    cpu::cli();
    same!(smp::end(1)?, 0, "messages that were not taken");
    same!(
        (count(OTHER), TAKEN.load(Ordering::Relaxed)),
        (TIMES, TIMES)
    );
    Ok(())
}

static READY: AtomicBool = AtomicBool::new(false);

/// Has one in service, others pending, and its timer armed, for ever.
fn is_full(_: u64) -> u64 {
    interrupt::also(|vector| {
        if vector == SERVED && smp::here() == 1 {
            pend(&[LOW, HIGH, SERVED]);
            set_timer_here(Lvt::TSC_DEADLINE);
            msr::write_plain(spec::msr::TSC_DEADLINE, cpu::tsc() + 1_000_000);
            READY.store(true, Ordering::Release);
            loop {
                core::hint::spin_loop();
            }
        }
    });
    pend(&[SERVED]);
    cpu::sti();
    loop {
        core::hint::spin_loop();
    }
}

/// What its APIC holds: how many bits in all three sets, but for the message by which it is asked, which may come after it has seen the
/// question; and the deadline.
fn holds(_: u64) -> u64 {
    let bits: u32 = (0..24)
        .map(|word| read_here(register::ISR + word).count_ones())
        .sum();
    let bits = bits - u32::from(has_here(register::IRR, smp::WORK));
    u64::from(bits) + u64::from(msr::read_plain(spec::msr::TSC_DEADLINE) != 0) * 1000
}

fn an_init_takes_all_away() -> Verdict {
    for round in 0..5 {
        begin()?;
        READY.store(false, Ordering::Release);
        smp::begin(1, is_full, 0);
        claim!(until(|| READY.load(Ordering::Acquire)), "it is not ready");
        // Even rounds have it wait for its start-up a while, with its deadline over.
        if round % 2 == 0 {
            lapic::send(1, INIT);
            lapic::send(1, ASSERT | u32::from(OTHER));
            cpu::spin_until(cpu::tsc() + 2_000_000);
        }
        interrupt::forget();
        smp::restart(1)?;
        same!(smp::on(1, holds, 0)?, 0, "round {round}: what it holds");
        smp::settle()?;
        cpu::spin_until(cpu::tsc() + 2_000_000);
        for vector in [LOW, HIGH, SERVED, OTHER, TIMER] {
            same!(count_on(1, vector), 0, "round {round}: vector {vector}");
        }
        lapic::send(1, ASSERT | u32::from(OTHER));
        claim!(
            until(|| count_on(1, OTHER) == 1),
            "round {round}: a message does not come"
        );
    }
    Ok(())
}
