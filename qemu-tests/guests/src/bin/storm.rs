//! A guest whose first processor sends messages without end to its second, each time in the way that a word of its command line
//! names; or, with the word `told`, the character that is typed to it.
#![no_std]
#![no_main]

use guests::lapic::write_here;
use guests::smp::{self, ASSERT, INIT, NMI, PLACE, START_UP};
use guests::{cmdline, cpu, lapic, msr, program, say, uart};
use spec::apic::{Lvt, register};
use spec::uart::{Lsr, offset};

program!(main);

const VECTOR: u8 = 0x51;
const TIMER: u8 = 0x61;
const OWN: u8 = 0x71;
/// The one that is sent to, and what starts it.
const OTHER: u32 = 1;
const START: u32 = START_UP | (PLACE >> 12) as u32;

/// What the second does meanwhile, and what it is sent; where that is nothing, the first does the same.
struct Way {
    word: &'static str,
    other: Option<smp::Task>,
    sent: &'static [u32],
}

static WAYS: [Way; 8] = [
    // Halted, it takes each.
    Way {
        word: "halted",
        other: None,
        sent: &[ASSERT | VECTOR as u32],
    },
    // Halted for good: each waits for ever.
    Way {
        word: "deaf",
        other: Some(halts_for_good),
        sent: &[ASSERT | VECTOR as u32],
    },
    // Each ends its halt, though its interrupts are off.
    Way {
        word: "nmi",
        other: Some(halts_for_good),
        sent: &[NMI],
    },
    Way {
        word: "spinning",
        other: Some(spins),
        sent: &[ASSERT | VECTOR as u32, NMI],
    },
    // It waits for its start-up, which does not come.
    Way {
        word: "init",
        other: None,
        sent: &[INIT],
    },
    Way {
        word: "startup",
        other: None,
        sent: &[INIT, START],
    },
    Way {
        word: "timers",
        other: Some(arms),
        sent: &[],
    },
    // All at once.
    Way {
        word: "mixed",
        other: Some(arms),
        sent: &[ASSERT | VECTOR as u32, NMI],
    },
];

/// Arms its timer anew all the while, for a time long past, for now, for soon, and sends itself messages; now and then it halts.
fn arms(_: u64) -> u64 {
    write_here(
        register::LVT_TIMER,
        (Lvt::TSC_DEADLINE | Lvt::from_bits_retain(TIMER.into())).bits(),
    );
    let arm = |when| msr::write_plain(spec::msr::TSC_DEADLINE, when);
    loop {
        arm(1);
        for soon in [0, 1, 10, 100, 1000] {
            cpu::cli();
            arm(cpu::tsc() + soon);
            write_here(register::SELF_IPI, OWN.into());
            cpu::sti();
        }
        // The deadline lies before it or behind it: one of them wakes it.
        cpu::cli();
        arm(cpu::tsc() + 500);
        cpu::sti_hlt();
    }
}

/// Whether a way is the one that is wanted: by its word, or by its number.
fn choose() -> Option<&'static Way> {
    if !cmdline::has("told") {
        return WAYS.iter().find(|way| cmdline::has(way.word));
    }
    say!("storm: what now?");
    while uart::read(offset::LSR) & Lsr::DATA.bits() == 0 {}
    let number = uart::read(offset::DATA).checked_sub(b'0')?;
    WAYS.get(usize::from(number))
}

fn halts_for_good(_: u64) -> u64 {
    loop {
        cpu::cli_hlt();
    }
}

fn spins(_: u64) -> u64 {
    cpu::sti();
    loop {
        core::hint::spin_loop();
    }
}

fn main() {
    if lapic::enable().is_err() || smp::start().is_err() || smp::enter_x2apic().is_err() {
        say!("storm: there is no second processor");
        return;
    }
    let Some(way) = choose() else {
        say!("storm: nothing to do");
        return;
    };
    if let Some(task) = way.other {
        smp::begin(OTHER as usize, task, 0);
    }
    say!("storm: begins, the other one {}", way.word);
    if way.sent.is_empty() {
        arms(0);
    }
    loop {
        for command in way.sent {
            lapic::send(OTHER, *command);
        }
    }
}
