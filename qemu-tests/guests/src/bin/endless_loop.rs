//! A guest that spins with interrupts off, while the host drains what it has printed before.
#![no_std]
#![no_main]

use guests::cpu::{spin_until, tsc};
use guests::interrupt;
use guests::verdict::Verdict;
use guests::{claim, guest, lapic, say};
use spec::apic::{Lvt, register};

guest!(a_deadline_waits_while_interrupts_are_off);

const VECTOR: u8 = 0x71;
/// Longer than the line takes for what is printed: 64 lines of 64 characters, 4,340 ticks each.
const SPIN: u64 = 64 * 64 * 4_340 + 5_000_000;

fn a_deadline_waits_while_interrupts_are_off() -> Verdict {
    lapic::enable()?;
    lapic::set_timer(Lvt::TSC_DEADLINE, VECTOR)?;
    interrupt::forget();
    for n in 0..64 {
        say!("{n:>4} abcdefghijklmnopqrstuvwxyz ABCDEFGHIJKLMNOPQRSTUVWXYZ .....");
    }
    let when = lapic::arm(SPIN / 2)?;
    spin_until(when + SPIN / 2);
    claim!(
        lapic::has(register::IRR, VECTOR),
        "the interrupt is not pending"
    );
    claim!(interrupt::count(VECTOR) == 0, "it came with interrupts off");
    claim!(
        interrupt::spin(VECTOR, 1, 10_000),
        "it did not come when they were on"
    );
    claim!(tsc() > when, "time went back");
    Ok(())
}
