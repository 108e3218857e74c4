//! An attacker whose processors send each other and themselves INIT, start-up messages, NMIs and messages that are none, in storms; or,
//! with the word `bootstrap`, an INIT to the first.
#![no_std]
#![no_main]
// UNSAFETY: registers that the compiler does not know of are watched.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use guests::interrupt::{self, count, count_on};
use guests::lapic::{self, write_here};
use guests::random::Random;
use guests::smp::{self, ASSERT, INIT, NMI, OTHERS, PLACE, START_UP, until};
use guests::verdict::{self, Verdict};
use guests::{claim, cmdline, cpu, msr, same, say};
use spec::apic::{Icr, Lvt, delivery, register};

/// The claims, or what ends the machine.
extern "C" fn guest_main() {
    if cmdline::has("bootstrap") {
        say!("attack: an INIT to the first");
        let _ = lapic::enable();
        lapic::send(0, INIT);
        return;
    }
    verdict::try_all(&[
        ("all_processors_come_up", all_processors_come_up),
        (
            "nmis_to_oneself_come_one_by_one",
            nmis_to_oneself_come_one_by_one,
        ),
        (
            "nmis_in_an_nmis_handler_are_one",
            nmis_in_an_nmis_handler_are_one,
        ),
        (
            "a_storm_of_nmis_leaves_registers_alone",
            a_storm_of_nmis_leaves_registers_alone,
        ),
        ("a_storm_of_inits_is_one", a_storm_of_inits_is_one),
        (
            "start_ups_without_an_init_are_nothing",
            start_ups_without_an_init_are_nothing,
        ),
        (
            "of_a_storm_of_start_ups_the_first_counts",
            of_a_storm_of_start_ups_the_first_counts,
        ),
        (
            "an_init_ends_whatever_goes_on",
            an_init_ends_whatever_goes_on,
        ),
        (
            "one_that_sends_itself_an_init_stops",
            one_that_sends_itself_an_init_stops,
        ),
        (
            "what_is_sent_to_one_that_waits_is_lost",
            what_is_sent_to_one_that_waits_is_lost,
        ),
        (
            "messages_of_no_kind_are_nothing",
            messages_of_no_kind_are_nothing,
        ),
        (
            "messages_to_no_one_are_nothing",
            messages_to_no_one_are_nothing,
        ),
        ("all_enter_x2apic_mode", all_enter_x2apic_mode),
        (
            "nmis_to_oneself_come_one_by_one",
            nmis_to_oneself_come_one_by_one,
        ),
        (
            "nmis_in_an_nmis_handler_are_one",
            nmis_in_an_nmis_handler_are_one,
        ),
        (
            "a_storm_of_nmis_leaves_registers_alone",
            a_storm_of_nmis_leaves_registers_alone,
        ),
        ("both_storm_each_other", both_storm_each_other),
        (
            "any_order_of_inits_start_ups_and_nmis",
            any_order_of_inits_start_ups_and_nmis,
        ),
        (
            "an_init_ends_whatever_goes_on",
            an_init_ends_whatever_goes_on,
        ),
        (
            "one_that_sends_itself_an_init_stops",
            one_that_sends_itself_an_init_stops,
        ),
        (
            "messages_of_no_kind_are_nothing",
            messages_of_no_kind_are_nothing,
        ),
        (
            "messages_to_no_one_are_nothing",
            messages_to_no_one_are_nothing,
        ),
    ]);
}

guests::from_start!();
guests::at_start!();

const OTHER: usize = 1;
const FIXED: u8 = 0x51;
const TIMER: u8 = 0x61;
const START: u32 = START_UP | (PLACE >> 12) as u32;
/// SDM vol. 3, "Interrupt Command Register": a delivery mode in its place.
const fn kind(mode: u32) -> u32 {
    ASSERT | mode << 8
}

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()
}

fn all_enter_x2apic_mode() -> Verdict {
    smp::start()?;
    smp::enter_x2apic()
}

/// Ticks for what is on its way, through the turns of all that share a core.
fn settles() {
    cpu::spin_until(cpu::tsc() + 500_000);
}

fn nmis_to_oneself_come_one_by_one() -> Verdict {
    interrupt::forget();
    for n in 1..=500 {
        lapic::send(0, NMI);
        claim!(until(|| count(2) == n), "{} of {n} came", count(2));
    }
    Ok(())
}

static BURSTS: AtomicU64 = AtomicU64::new(0);

fn bursts(vector: u8) {
    if vector == 2 && BURSTS.fetch_add(1, Ordering::Relaxed) == 0 {
        for _ in 0..100 {
            lapic::send(0, NMI);
        }
    }
}

fn nmis_in_an_nmis_handler_are_one() -> Verdict {
    for round in 0..20 {
        interrupt::forget();
        BURSTS.store(0, Ordering::Relaxed);
        interrupt::also(bursts);
        lapic::send(0, NMI);
        claim!(until(|| count(2) >= 2), "round {round}: {} came", count(2));
        cpu::spin_until(cpu::tsc() + 20_000);
        same!(count(2), 2, "round {round}");
    }
    interrupt::forget();
    Ok(())
}

fn sends_nmis(n: u64) -> u64 {
    for _ in 0..n {
        lapic::send(0, NMI);
    }
    0
}

fn a_storm_of_nmis_leaves_registers_alone() -> Verdict {
    const SENT: u64 = 2000;
    interrupt::forget();
    smp::begin(OTHER, sends_nmis, SENT);
    let mut rounds = 0;
    while !smp::has_ended(OTHER) && rounds < 1_000_000 {
        rounds += 1;
        let (mut a, mut b): (u64, u64);
        // SAFETY: arithmetic in registers; whatever comes in between puts them back.
        unsafe {
            asm!(
                "mov {a}, {mark}", "mov {b}, {mark}", "mov {n:e}, 64",
                "2: rol {a}, 1", "ror {b}, 1", "dec {n:e}", "jnz 2b",
                a = out(reg) a, b = out(reg) b, n = out(reg) _, mark = in(reg) 0x0123_4567_89ab_cdefu64
            );
        }
        same!(
            (a, b),
            (0x0123_4567_89ab_cdef, 0x0123_4567_89ab_cdef),
            "after {} NMIs",
            count(2)
        );
    }
    let _ = smp::end(OTHER)?;
    settles();
    let came = count(2);
    claim!((1..=SENT).contains(&came), "{came} came of {SENT}");
    settles();
    same!(count(2), came, "one came late");
    Ok(())
}

fn comes_up_once(before: u32) -> Verdict {
    claim!(until(|| smp::arrivals(OTHER) != before), "it does not come");
    settles();
    same!(smp::arrivals(OTHER), before + 1, "arrivals");
    Ok(())
}

fn a_storm_of_inits_is_one() -> Verdict {
    let before = smp::arrivals(OTHER);
    for _ in 0..1000 {
        lapic::send(OTHER as u32, INIT);
    }
    settles();
    same!(smp::arrivals(OTHER), before, "it came without a start-up");
    lapic::send(OTHER as u32, START);
    comes_up_once(before)?;
    smp::restart(OTHER)
}

fn counts_up(until: u64) -> u64 {
    while BEATS.fetch_add(1, Ordering::Relaxed) < until {
        core::hint::spin_loop();
    }
    0
}

static BEATS: AtomicU64 = AtomicU64::new(0);

fn start_ups_without_an_init_are_nothing() -> Verdict {
    let before = smp::arrivals(OTHER);
    BEATS.store(0, Ordering::Relaxed);
    smp::begin(OTHER, counts_up, 1 << 40);
    for round in 0..4 {
        for vector in 0..256 {
            lapic::send(OTHER as u32, START_UP | vector);
        }
        let beats = BEATS.load(Ordering::Relaxed);
        claim!(
            until(|| BEATS.load(Ordering::Relaxed) > beats),
            "round {round}: it stopped"
        );
    }
    same!(smp::arrivals(OTHER), before);
    BEATS.store(1 << 40, Ordering::Relaxed);
    let _ = smp::end(OTHER)?;
    // Nor are they to one that halts.
    for vector in 0..256 {
        lapic::send(OTHER as u32, START_UP | vector);
    }
    same!(smp::on(OTHER, |n| n + 1, 4)?, 5);
    same!(smp::arrivals(OTHER), before);
    Ok(())
}

fn of_a_storm_of_start_ups_the_first_counts() -> Verdict {
    for _ in 0..10 {
        let before = smp::arrivals(OTHER);
        lapic::send(OTHER as u32, INIT);
        lapic::send(OTHER as u32, START);
        for vector in 0..256 {
            lapic::send(OTHER as u32, START_UP | vector);
        }
        comes_up_once(before)?;
    }
    smp::restart(OTHER)
}

/// What one may be at when an INIT comes.
const TASKS: [(&str, smp::Task); 9] = [
    ("spins", |_| {
        loop {
            core::hint::spin_loop();
        }
    }),
    ("halts", |_| {
        loop {
            cpu::sti_hlt();
        }
    }),
    ("is deaf", |_| {
        loop {
            cpu::cli_hlt();
        }
    }),
    ("exits", |_| {
        loop {
            let _ = cpu::cpuid(0, 0);
        }
    }),
    ("sends itself messages", |_| {
        loop {
            cpu::sti();
            lapic::send(OTHER as u32, ASSERT | u32::from(FIXED));
        }
    }),
    ("sends itself NMIs", |_| {
        loop {
            lapic::send(OTHER as u32, NMI);
        }
    }),
    ("arms its timer", |_| {
        let entry = Lvt::TSC_DEADLINE | Lvt::from_bits_retain(TIMER.into());
        write_here(register::LVT_TIMER, entry.bits());
        cpu::sti();
        loop {
            msr::write_plain(spec::msr::TSC_DEADLINE, 1);
        }
    }),
    ("flushes its caches", |_| {
        loop {
            // SAFETY: memory is as it was.
            unsafe { asm!("wbinvd") };
        }
    }),
    ("sends the first messages", |_| {
        loop {
            lapic::send(0, ASSERT | u32::from(FIXED));
        }
    }),
];

fn an_init_ends_whatever_goes_on() -> Verdict {
    let mut random = Random::new(13);
    for (name, task) in TASKS {
        for _ in 0..8 {
            smp::begin(OTHER, task, 0);
            cpu::spin_until(cpu::tsc() + random.below(150_000));
            claim!(smp::restart(OTHER).is_ok(), "one that {name}");
            // Nothing of the former life comes in the next, which takes all interrupts.
            same!(smp::on(OTHER, comes_late, 0)?, 0, "one that {name}");
        }
    }
    Ok(())
}

/// How many come that none has sent.
fn comes_late(_: u64) -> u64 {
    let here = || count(FIXED) + count(TIMER) + count(2);
    let before = here();
    cpu::sti();
    cpu::spin_until(cpu::tsc() + 20_000);
    cpu::cli();
    here() - before
}

fn one_that_sends_itself_an_init_stops() -> Verdict {
    for _ in 0..20 {
        let before = smp::arrivals(OTHER);
        smp::begin(
            OTHER,
            |_| {
                for _ in 0..10 {
                    lapic::send(OTHER as u32, INIT);
                }
                7
            },
            0,
        );
        settles();
        claim!(!smp::has_ended(OTHER), "it went on");
        same!(smp::arrivals(OTHER), before, "it started by itself");
        smp::restart(OTHER)?;
    }
    Ok(())
}

fn what_is_sent_to_one_that_waits_is_lost() -> Verdict {
    for _ in 0..10 {
        interrupt::forget();
        lapic::send(OTHER as u32, INIT);
        // Its local APIC is disabled by software until it starts ("Local APIC State After It Has Been Software Disabled").
        for _ in 0..100 {
            lapic::send(OTHER as u32, ASSERT | u32::from(FIXED));
        }
        smp::restart(OTHER)?;
        same!(smp::on(OTHER, comes_late, 0)?, 0);
        same!(count_on(OTHER, FIXED), 0);
    }
    Ok(())
}

fn messages_of_no_kind_are_nothing() -> Verdict {
    interrupt::forget();
    let before = smp::arrivals(OTHER);
    BEATS.store(0, Ordering::Relaxed);
    smp::begin(OTHER, counts_up, 1 << 40);
    for _ in 0..200 {
        // Remote read and ExtINT are not for processors to send, and there is no system management mode.
        for mode in [delivery::SMI.into(), 3, 7] {
            lapic::send(OTHER as u32, kind(mode) | u32::from(FIXED));
        }
        // INIT level de-assert
        lapic::send(OTHER as u32, INIT & !ASSERT | Icr::LEVEL.bits());
        lapic::send(0, OTHERS | INIT & !ASSERT | Icr::LEVEL.bits());
    }
    let beats = BEATS.load(Ordering::Relaxed);
    claim!(
        until(|| BEATS.load(Ordering::Relaxed) > beats),
        "it stopped"
    );
    BEATS.store(1 << 40, Ordering::Relaxed);
    let _ = smp::end(OTHER)?;
    same!(smp::on(OTHER, comes_late, 0)?, 0);
    same!((count_on(OTHER, FIXED), count_on(OTHER, 2)), (0, 0));
    same!(smp::arrivals(OTHER), before);
    Ok(())
}

fn messages_to_no_one_are_nothing() -> Verdict {
    interrupt::forget();
    let before = smp::arrivals(OTHER);
    let all = if lapic::is_x2apic() {
        u32::MAX - 1
    } else {
        0xfe
    };
    for to in (2..80)
        .chain([0x80, all, all - 1, 1 << 16 & all, 0x100 & all])
        .filter(|to| *to > 1)
    {
        for command in [ASSERT | u32::from(FIXED), NMI, INIT, START] {
            lapic::send(to, command);
        }
        // By logical id: of no cluster, or of one without a member.
        if lapic::is_x2apic() {
            for command in [ASSERT | u32::from(FIXED), NMI, INIT] {
                lapic::send(to << 16, Icr::LOGICAL.bits() | command);
            }
        }
    }
    same!(smp::on(OTHER, comes_late, 0)?, 0);
    same!((count(FIXED), count(2)), (0, 0));
    same!(smp::arrivals(OTHER), before);
    Ok(())
}

fn storms(n: u64) -> u64 {
    let to = 1 - smp::here() as u32;
    cpu::sti();
    for _ in 0..n {
        lapic::send(to, ASSERT | u32::from(FIXED));
        lapic::send(to, NMI);
    }
    0
}

fn both_storm_each_other() -> Verdict {
    interrupt::forget();
    let _ = smp::everywhere(storms, 3000)?;
    smp::settle()?;
    settles();
    for n in 0..2 {
        for vector in [FIXED, 2] {
            let came = count_on(n, vector);
            claim!(
                (1..=3000).contains(&came),
                "{came} of vector {vector} came to {n}"
            );
        }
    }
    Ok(())
}

fn any_order_of_inits_start_ups_and_nmis() -> Verdict {
    let mut random = Random::new(7);
    for round in 0..20 {
        for _ in 0..40 {
            // An NMI to one that has just started would find no table, and end the machine: by the manual too.
            let command =
                [INIT, START, INIT, START, ASSERT | u32::from(FIXED)][random.below(5) as usize];
            lapic::send(OTHER as u32, command);
            if random.below(4) == 0 {
                cpu::spin_until(cpu::tsc() + random.below(60_000));
            }
        }
        smp::restart(OTHER)?;
        same!(smp::on(OTHER, |n| n * 3, 5)?, 15, "round {round}");
    }
    // Its mode is x2APIC's still, which INIT leaves.
    smp::enter_x2apic()
}
