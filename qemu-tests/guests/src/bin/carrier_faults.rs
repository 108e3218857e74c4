//! What once went wrong with a local APIC that is lent to its guest, each a claim: the second processor makes no exit while it waits, so
//! that nothing but what is claimed gets the hypervisor to look.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::interrupt::{self, count_on};
use guests::lapic::write_here;
use guests::smp::{self, ASSERT, INIT, NMI, PLACE, START_UP, until};
use guests::uart::{PIN, read, write};
use guests::verdict::Verdict;
use guests::{claim, cpu, guest, ioapic, lapic, same, say, serial};
use spec::apic::{Lvt, register};
use spec::ioapic::Redirection;
use spec::uart::{Ier, Lsr, offset};

guest!(
    all_processors_come_up_and_enter_x2apic_mode,
    a_level_that_comes_by_its_own_end_leaves_the_mailbox_open,
    an_init_to_one_that_sleeps_in_its_own_hlt_stays_one,
    a_route_stays_where_the_carrier_changed_within_a_turn,
);

const OTHER: usize = 1;
const LEVEL: u8 = 0x39;
const MESSAGE: u8 = 0x51;
const TIMER: u8 = 0x61;
/// How often the level comes before its cause ends.
const TIMES: u64 = 200;
/// Messages whose exits the test counts.
const MESSAGES: u64 = 1000;

static STOP: AtomicBool = AtomicBool::new(false);
/// How far the task of the other is.
static STAGE: AtomicU64 = AtomicU64::new(0);

fn all_processors_come_up_and_enter_x2apic_mode() -> Verdict {
    lapic::enable()?;
    smp::start()?;
    smp::enter_x2apic()
}

/// Spins with interrupts on, without an exit.
fn spins(_: u64) -> u64 {
    cpu::sti();
    STAGE.store(1, Ordering::Release);
    while !STOP.load(Ordering::Acquire) {
        core::hint::spin_loop();
    }
    0
}

fn begin(task: smp::Task) -> Verdict {
    interrupt::forget();
    STOP.store(false, Ordering::Release);
    STAGE.store(0, Ordering::Release);
    smp::begin(OTHER, task, 0);
    claim!(
        until(|| STAGE.load(Ordering::Acquire) == 1),
        "its task does not begin"
    );
    // Long enough to be out of the exits that brought it there.
    cpu::spin_until(cpu::tsc() + 200_000);
    Ok(())
}

fn end() -> Verdict {
    STOP.store(true, Ordering::Release);
    smp::end(OTHER).map(|_| ())
}

/// The pin stays asserted, so that each end of the interrupt raises it anew, until the last.
fn ends_the_last(vector: u8) {
    if vector == LEVEL && count_on(OTHER, LEVEL) >= TIMES {
        let _ = read(offset::IIR);
    }
}

fn a_level_that_comes_by_its_own_end_leaves_the_mailbox_open() -> Verdict {
    begin(spins)?;
    interrupt::also(ends_the_last);
    serial::drain();
    write(offset::IER, 0);
    let _ = read(offset::IIR);
    let entry = Redirection::from_bits_retain((OTHER as u64) << 56 | u64::from(LEVEL));
    ioapic::route(PIN, entry | Redirection::LEVEL);
    write(offset::IER, Ier::TRANSMIT.bits());
    let came = until(|| count_on(OTHER, LEVEL) >= TIMES);
    // What goes by the mailbox still reaches it.
    lapic::send(OTHER as u32, NMI);
    let nmi = until(|| count_on(OTHER, 2) == 1);
    lapic::send(OTHER as u32, ASSERT | u32::from(MESSAGE));
    let message = until(|| count_on(OTHER, MESSAGE) == 1);
    write(offset::IER, 0);
    ioapic::route(PIN, Redirection::MASKED);
    claim!(came, "the level came {} times", count_on(OTHER, LEVEL));
    claim!(nmi && message, "NMI {nmi}, message {message}");
    end()?;
    same!(count_on(OTHER, LEVEL), TIMES);
    Ok(())
}

fn an_init_to_one_that_sleeps_in_its_own_hlt_stays_one() -> Verdict {
    for round in 0..10 {
        // It has come up, and halts: at first with nothing to wait for, then with a timer.
        let before = smp::arrivals(OTHER);
        if round % 2 == 1 {
            same!(smp::on(OTHER, arms_far_ahead, 0)?, 0);
        }
        cpu::spin_until(cpu::tsc() + 300_000);
        lapic::send(OTHER as u32, INIT);
        cpu::spin_until(cpu::tsc() + 300_000);
        // A message finds its local APIC disabled, and does not end a sleep that is none any more.
        lapic::send(OTHER as u32, ASSERT | u32::from(MESSAGE));
        cpu::spin_until(cpu::tsc() + 300_000);
        same!(
            smp::arrivals(OTHER),
            before,
            "round {round}: it came by itself"
        );
        lapic::send(OTHER as u32, START_UP | (PLACE >> 12) as u32);
        claim!(
            until(|| smp::arrivals(OTHER) == before + 1),
            "round {round}: it does not start"
        );
        smp::restart(OTHER)?;
        same!(smp::on(OTHER, |n| n + 1, 1)?, 2, "round {round}");
    }
    Ok(())
}

fn arms_far_ahead(_: u64) -> u64 {
    deadlines();
    guests::msr::write_plain(spec::msr::TSC_DEADLINE, cpu::tsc() + (1 << 40));
    0
}

fn deadlines() {
    let entry = Lvt::TSC_DEADLINE | Lvt::from_bits_retain(TIMER.into());
    write_here(register::LVT_TIMER, entry.bits());
}

/// Has its local APIC carried another way and back, all in one turn: a one-shot timer is not one that can be lent.
fn changes(_: u64) -> u64 {
    write_here(
        register::LVT_TIMER,
        (Lvt::MASKED | Lvt::from_bits_retain(TIMER.into())).bits(),
    );
    cpu::sti();
    STAGE.store(2, Ordering::Release);
    // The first has this turn ended, so that the next begins with the other carrier.
    while STAGE.load(Ordering::Acquire) != 3 {
        core::hint::spin_loop();
    }
    deadlines();
    spins(0)
}

/// Until whoever counts exits has looked.
fn wait_for_key() {
    while read(offset::LSR) & Lsr::DATA.bits() == 0 {
        core::hint::spin_loop();
    }
    let _ = read(offset::DATA);
}

fn a_route_stays_where_the_carrier_changed_within_a_turn() -> Verdict {
    interrupt::forget();
    STOP.store(false, Ordering::Release);
    STAGE.store(0, Ordering::Release);
    smp::begin(OTHER, changes, 0);
    claim!(
        until(|| STAGE.load(Ordering::Acquire) == 2),
        "its task does not begin"
    );
    // An NMI is a kick, which ends a turn; so is the one behind the change.
    lapic::send(OTHER as u32, NMI);
    claim!(until(|| count_on(OTHER, 2) == 1), "no NMI");
    cpu::spin_until(cpu::tsc() + 200_000);
    STAGE.store(3, Ordering::Release);
    claim!(
        until(|| STAGE.load(Ordering::Acquire) == 1),
        "its task does not go on"
    );
    cpu::spin_until(cpu::tsc() + 200_000);
    say!("carrier: messages begin");
    wait_for_key();
    for n in 1..=MESSAGES {
        lapic::send(OTHER as u32, ASSERT | u32::from(MESSAGE));
        claim!(
            until(|| count_on(OTHER, MESSAGE) == n),
            "message {n} does not come"
        );
    }
    say!("carrier: messages came");
    wait_for_key();
    end()?;
    smp::restart(OTHER)
}
