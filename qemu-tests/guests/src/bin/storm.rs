//! A guest whose first processor sends messages without end to its second, each time in the way that a word of its command line
//! names.
#![no_std]
#![no_main]

use guests::smp::{self, ASSERT, INIT, NMI, PLACE, START_UP};
use guests::{cmdline, cpu, lapic, program, say};

program!(main);

const VECTOR: u8 = 0x51;
/// The one that is sent to, and what starts it.
const OTHER: u32 = 1;
const START: u32 = START_UP | (PLACE >> 12) as u32;

/// What the second does meanwhile, and what it is sent.
struct Way {
    word: &'static str,
    other: Option<smp::Task>,
    sent: &'static [u32],
}

const WAYS: [Way; 6] = [
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
];

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
    let Some(way) = WAYS.iter().find(|way| cmdline::has(way.word)) else {
        say!("storm: nothing to do");
        return;
    };
    if let Some(task) = way.other {
        smp::begin(OTHER as usize, task, 0);
    }
    say!("storm: begins, the other one {}", way.word);
    loop {
        for command in way.sent {
            lapic::send(OTHER, *command);
        }
    }
}
