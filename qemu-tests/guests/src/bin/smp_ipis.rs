//! Messages between processors, and whom they reach. First in xAPIC mode, then in x2APIC mode.
#![no_std]
#![no_main]

use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::interrupt::{self, count_on};
use guests::smp::{self, ASSERT, MOST, NMI, OTHERS, others, until};
use guests::verdict::Verdict;
use guests::{claim, guest, lapic, same};
use spec::apic::{Icr, delivery, register, shorthand};

guest!(
    all_processors_come_up,
    a_message_by_id_reaches_that_one_alone,
    a_message_to_everyone_and_the_shorthands_reach_those_they_name,
    a_flat_logical_message_reaches_those_it_names,
    a_cluster_message_reaches_those_it_names,
    lowest_priority_reaches_one_of_those_addressed,
    an_nmi_by_id_reaches_that_one_alone,
    an_nmi_to_all_others_reaches_each_once,
    the_task_priority_holds_back_on_its_own_processor_alone,
    what_is_in_service_on_one_comes_on_the_other,
    all_enter_x2apic_mode,
    a_message_by_id_reaches_that_one_alone,
    a_message_to_everyone_and_the_shorthands_reach_those_they_name,
    an_x2apic_cluster_message_reaches_those_it_names,
    lowest_priority_reaches_one_of_those_addressed_in_x2apic_mode,
    an_nmi_by_id_reaches_that_one_alone,
    an_nmi_to_all_others_reaches_each_once,
    the_task_priority_holds_back_on_its_own_processor_alone,
);

const LOGICAL: u32 = Icr::LOGICAL.bits();
const LOWEST: u32 = (delivery::LOWEST_PRIORITY as u32) << 8;
const VECTOR: u8 = 0x51;
const FIXED: u32 = ASSERT | VECTOR as u32;

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()
}

fn all_enter_x2apic_mode() -> Verdict {
    smp::enter_x2apic()?;
    smp::settle()
}

/// Sends, lets all processors take what they have, and looks whether the vector came once on those of the set and on no other.
fn reaches(destination: u32, command: u32, vector: u8, set: u32) -> Verdict {
    interrupt::forget();
    lapic::send(destination, command);
    smp::settle()?;
    for n in 0..smp::count() {
        let expected = u64::from(set >> n & 1);
        same!(
            count_on(n, vector),
            expected,
            "{command:#x} to {destination:#x}: on {n}"
        );
    }
    Ok(())
}

/// A bit for each processor.
fn all() -> u32 {
    (1 << smp::count()) - 1
}

/// Sends from another processor, in place of the first.
fn sends(message: u64) -> u64 {
    lapic::send((message >> 32) as u32, message as u32);
    0
}

fn a_message_by_id_reaches_that_one_alone() -> Verdict {
    for n in 0..smp::count() {
        reaches(n as u32, FIXED, VECTOR, 1 << n)?;
    }
    reaches(smp::count() as u32, FIXED, VECTOR, 0)?;
    for from in others() {
        for to in 0..smp::count() {
            interrupt::forget();
            smp::on(from, sends, (to as u64) << 32 | u64::from(FIXED))?;
            smp::settle()?;
            for n in 0..smp::count() {
                same!(
                    count_on(n, VECTOR),
                    u64::from(n == to),
                    "from {from} to {to}: on {n}"
                );
            }
        }
    }
    Ok(())
}

fn a_message_to_everyone_and_the_shorthands_reach_those_they_name() -> Verdict {
    let everyone = if lapic::is_x2apic() { u32::MAX } else { 0xff };
    reaches(everyone, FIXED, VECTOR, all())?;
    reaches(0, FIXED | u32::from(shorthand::SELF) << 18, VECTOR, 1)?;
    reaches(0, FIXED | u32::from(shorthand::ALL) << 18, VECTOR, all())?;
    reaches(0, FIXED | OTHERS, VECTOR, all() & !1)?;
    for from in others() {
        for (how, set) in [
            (shorthand::SELF, 1u32 << from),
            (shorthand::ALL_BUT_SELF, all() & !(1 << from)),
        ] {
            interrupt::forget();
            smp::on(from, sends, u64::from(FIXED | u32::from(how) << 18))?;
            smp::settle()?;
            for n in 0..smp::count() {
                same!(
                    count_on(n, VECTOR),
                    u64::from(set >> n & 1),
                    "shorthand {how} of {from}: on {n}"
                );
            }
        }
    }
    Ok(())
}

/// Gives each processor its logical address: `address` computes it from the number.
fn set_logical(format: u32, address: fn(u32) -> u32) -> Verdict {
    ADDRESS.set(address);
    FORMAT.store(format.into(), Ordering::Relaxed);
    smp::everywhere(
        |_| {
            lapic::write_here(register::DFR, FORMAT.load(Ordering::Relaxed) as u32);
            lapic::write_here(register::LDR, ADDRESS.get()(smp::here() as u32) << 24);
            0
        },
        0,
    )?;
    Ok(())
}
static ADDRESS: guests::slot::Slot<fn(u32) -> u32> = guests::slot::Slot::new(flat);
static FORMAT: AtomicU64 = AtomicU64::new(0);

fn flat(n: u32) -> u32 {
    1 << (n & 7)
}

/// Two to a cluster.
fn clusters(n: u32) -> u32 {
    (n / 2) << 4 | 1 << (n % 2)
}

fn a_flat_logical_message_reaches_those_it_names() -> Verdict {
    set_logical(u32::MAX, flat)?;
    for set in [1, 2, 3, 0x55, 0xaa, 0xfe, 0xff] {
        reaches(set, FIXED | LOGICAL, VECTOR, set & all())?;
    }
    Ok(())
}

fn a_cluster_message_reaches_those_it_names() -> Verdict {
    set_logical(0x0fff_ffff, clusters)?;
    for n in 0..smp::count() as u32 {
        reaches(clusters(n), FIXED | LOGICAL, VECTOR, 1 << n)?;
        reaches(
            (n / 2) << 4 | 3,
            FIXED | LOGICAL,
            VECTOR,
            3 << (n & !1) & all(),
        )?;
    }
    // A member of every cluster.
    reaches(0xf2, FIXED | LOGICAL, VECTOR, 0xaaaa & all())?;
    reaches(0x71, FIXED | LOGICAL, VECTOR, 0)?;
    set_logical(u32::MAX, flat)
}

fn an_x2apic_cluster_message_reaches_those_it_names() -> Verdict {
    for set in [1, 2, 3, 0x55, 0xaa, 0xfe, 0xff] {
        reaches(set, FIXED | LOGICAL, VECTOR, set & all())?;
    }
    reaches(0x1_0001, FIXED | LOGICAL, VECTOR, 0)?;
    reaches(u32::MAX, FIXED | LOGICAL, VECTOR, all())
}

/// Sends 32 of them to a set, of which one takes each.
fn lowest(set: u32) -> Verdict {
    for vector in 0x60..0x80u8 {
        interrupt::forget();
        lapic::send(set, ASSERT | LOWEST | LOGICAL | u32::from(vector));
        smp::settle()?;
        let took = |n: usize| count_on(n, vector);
        same!(
            (0..MOST).map(took).sum::<u64>(),
            1,
            "takers of {vector:#x} to {set:#x}"
        );
        claim!(
            (0..MOST).all(|n| took(n) == 0 || set >> n & 1 == 1),
            "one that was not addressed took {vector:#x} to {set:#x}"
        );
    }
    Ok(())
}

fn lowest_priority_reaches_one_of_those_addressed() -> Verdict {
    lowest(all() & 0xff)?;
    lowest(2)
}

fn lowest_priority_reaches_one_of_those_addressed_in_x2apic_mode() -> Verdict {
    lowest(all())?;
    lowest(all() & !1)
}

fn an_nmi_by_id_reaches_that_one_alone() -> Verdict {
    for n in 0..smp::count() {
        reaches(n as u32, NMI, 2, 1 << n)?;
    }
    Ok(())
}

fn an_nmi_to_all_others_reaches_each_once() -> Verdict {
    reaches(0, NMI | OTHERS, 2, all() & !1)?;
    interrupt::forget();
    smp::on(1, sends, u64::from(NMI | OTHERS))?;
    smp::settle()?;
    for n in 0..smp::count() {
        same!(count_on(n, 2), u64::from(n != 1), "NMIs on {n}");
    }
    Ok(())
}

fn the_task_priority_holds_back_on_its_own_processor_alone() -> Verdict {
    let set = |priority: u64| {
        smp::on(
            1,
            |priority| {
                lapic::write_here(register::TPR, priority as u32);
                0
            },
            priority,
        )
    };
    set(0x50)?;
    reaches(
        0,
        FIXED | u32::from(shorthand::ALL) << 18,
        VECTOR,
        all() & !2,
    )?;
    same!(
        smp::on(1, |_| lapic::read_here(register::PPR).into(), 0)?,
        0x50,
        "PPR of 1"
    );
    set(0x40)?;
    smp::settle()?;
    same!(count_on(1, VECTOR), 1, "after its priority fell");
    set(0)?;
    Ok(())
}

static GO: AtomicBool = AtomicBool::new(false);

fn what_is_in_service_on_one_comes_on_the_other() -> Verdict {
    interrupt::forget();
    GO.store(false, Ordering::Release);
    interrupt::also(|vector| {
        if vector == VECTOR && smp::here() == 1 {
            until(|| GO.load(Ordering::Acquire));
        }
    });
    lapic::send(1, FIXED);
    let serves = until(|| count_on(1, VECTOR) == 1);
    // A second one waits there, and comes here.
    lapic::send(0, FIXED | u32::from(shorthand::ALL) << 18);
    let here = interrupt::spin(VECTOR, 1, smp::PATIENCE);
    let there = count_on(1, VECTOR);
    GO.store(true, Ordering::Release);
    claim!(serves && here, "there {serves}, here {here}");
    same!(there, 1, "there, inside the first");
    claim!(
        until(|| count_on(1, VECTOR) == 2),
        "the second did not come there"
    );
    Ok(())
}
