//! The processor as judge of the instruction emulator.
//!
//! Memory that is not there reads as ones and loses what is written. So an instruction is run twice, at the same linear address: once where
//! a page of RAM is mapped that holds nothing but ones, which is the processor's work, and once where nothing is, which is the emulator's.
//! Registers, flags and faults have to be the same.

use crate::paging::{PRESENT, USER, WRITE, entry_at, map_at};
use crate::probe::{Found, OWN_STACK, PLACE, State, gpr, put};
use crate::segments::{CODE, USER_CODE, USER_DATA};
use crate::start::Pages;
use crate::trap::UD;
use crate::verdict::Verdict;
use crate::{claim, say};
use core::sync::atomic::{AtomicU64, Ordering};
use spec::cpu::vector;

/// An entry of a page that all may use
pub const ALL: u64 = PRESENT | WRITE | USER;
const ACCESSED: u64 = 1 << 5;
const DIRTY: u64 = 1 << 6;

/// Where the operand lies: the first of two pages. Another operand lies at a distance of 64 KiB, and is always in RAM.
pub const WINDOW: u64 = 0x4000_0000;
/// See [`WINDOW`]
pub const OTHER: u64 = 0x1_0000;
/// No memory is there.
const NOWHERE: u64 = 0x5000_0000;

/// The pages that hold ones
pub static ONES: [Pages<4096>; 2] = [const { Pages::new() }; 2];
static THIRD: [Pages<4096>; 2] = [const { Pages::new() }; 2];

/// Where things are, and with what rights.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    /// Where the first page is
    pub window: u64,
    /// Its entry, but for the address
    pub first: u64,
    /// That of the second page
    pub second: u64,
    /// That of the other operand's
    pub other: u64,
    /// Where the code's segment begins
    pub base: u64,
    /// Whether nothing may be written behind the code
    pub bare: bool,
    /// Whether the emulator has to know the instruction
    pub must: bool,
}

/// As most tests have it
pub const SETUP: Setup = Setup {
    window: WINDOW,
    first: ALL,
    second: ALL,
    other: ALL,
    base: 0,
    bare: false,
    must: true,
};

/// How many instructions were carried out by the emulator, and how many it did not know.
static DONE: AtomicU64 = AtomicU64::new(0);
static UNKNOWN: AtomicU64 = AtomicU64::new(0);

fn fill(at: u64, len: u64) {
    for n in 0..len / 8 {
        put(at + 8 * n, &[0xff; 8]);
    }
}

impl Setup {
    /// Runs with the first page in RAM or nowhere; gives also the flags that the entries have then.
    fn run(&self, state: State, code: &[u8], ram: bool) -> (Found, [u64; 3]) {
        for page in &ONES {
            fill(page.address(), 0x80);
            fill(page.address() + 0xf80, 0x80);
        }
        fill(THIRD[0].address(), 0x80);
        fill(THIRD[1].address() + 0xf80, 0x80);
        fill(OWN_STACK.address() + 0x780, 0x100);
        let first = if ram { ONES[0].address() } else { NOWHERE };
        let places = [
            (self.window, first | self.first),
            (self.window + 0x1000, ONES[1].address() | self.second),
            (self.window + OTHER, THIRD[0].address() | self.other),
            (self.window + OTHER + 0xf000, THIRD[1].address() | ALL),
        ];
        for (at, entry) in places {
            map_at(at, entry);
        }
        let found = if self.bare {
            put(self.base + state.rip, code);
            state.go()
        } else {
            state.run_at(self.base, state.rip, code)
        };
        let flags = |n: usize| entry_at(places[n].0) & (ACCESSED | DIRTY);
        (found, [flags(0), flags(1), flags(2)])
    }

    /// Whether the emulator does as the processor.
    ///
    /// # Errors
    /// When it does not.
    pub fn judge(&self, state: State, code: &[u8]) -> Verdict {
        let (right, right_flags) = self.run(state, code, true);
        let (found, found_flags) = self.run(state, code, false);
        if !self.must && found.raised() == UD && found.rip == state.rip {
            UNKNOWN.fetch_add(1, Ordering::Relaxed);
            return Ok(());
        }
        DONE.fetch_add(1, Ordering::Relaxed);
        // CR2 counts where it was written. Bochs keeps more of EIP than there is, where it wraps.
        let cr2 = if right.vector == vector::PF.0 {
            found.cr2
        } else {
            right.cr2
        };
        let wraps = right.rip == found.rip | 1 << 32 && is_narrow(right.cs);
        let rip = if wraps { right.rip } else { found.rip };
        claim!(
            Found { cr2, rip, ..found } == right,
            "{code:x?} of {state:x?}: {found:x?} is not {right:x?}"
        );
        claim!(
            right.raised().is_some() || found_flags == right_flags,
            "{code:x?}: flags {found_flags:x?} are not {right_flags:x?}"
        );
        Ok(())
    }

    /// The same for each instruction of a list.
    ///
    /// # Errors
    /// When one is not.
    pub fn judge_all(&self, state: State, codes: &[&[u8]]) -> Verdict {
        codes.iter().try_for_each(|code| self.judge(state, code))
    }
}

/// Whether code in this segment has 32 bits or fewer.
fn is_narrow(cs: u64) -> bool {
    ![CODE, USER_CODE].map(u64::from).contains(&cs)
}

/// Code in its page, all that may be an address pointing at the operand.
#[must_use]
pub fn at(cs: u16, data: u16, operand: u64) -> State {
    let state = State {
        rip: PLACE.address() + 0x100,
        ..State::new()
    };
    let state = state.within(cs, data).with(gpr::RCX, 3);
    // As the number of a bit it stays within what is filled.
    let state = state.with(gpr::RDX, 0x11);
    [gpr::RAX, gpr::RBX, gpr::RSI, gpr::RDI, gpr::RBP]
        .into_iter()
        .fold(state, |state, register| state.with(register, operand))
}

/// The same in ring 3.
#[must_use]
pub fn user(cs: u16, operand: u64) -> State {
    at(cs, USER_DATA, operand)
}

/// Whatever the code jumps to ends it.
pub fn trap_everywhere() {
    for n in 0..4096 {
        put(PLACE.address() + n, &[0xcc]);
    }
}

/// Tells how many instructions were alike.
///
/// # Errors
/// When one was not, or next to none was emulated.
pub fn told(verdict: Verdict) -> Verdict {
    let (done, unknown) = (
        DONE.swap(0, Ordering::Relaxed),
        UNKNOWN.swap(0, Ordering::Relaxed),
    );
    say!("guest: {done} alike, {unknown} unknown");
    verdict?;
    claim!(2 * done > unknown, "the emulator knows next to nothing");
    Ok(())
}

/// Opcodes whose operation is in the middle bits of the next byte.
const GROUPS: &[(bool, u8)] = &[
    (false, 0x80),
    (false, 0x81),
    (false, 0x83),
    (false, 0x8f),
    (false, 0xc0),
    (false, 0xc1),
    (false, 0xc6),
    (false, 0xc7),
    (false, 0xd1),
    (false, 0xd3),
    (false, 0xf6),
    (false, 0xf7),
    (false, 0xfe),
    (false, 0xff),
    (true, 0x00),
    (true, 0x01),
    (true, 0xba),
    (true, 0xc7),
];

/// What is left out: x87, whose exceptions may come later, and RDTSC.
const fn is_left_out(two: bool, opcode: u8) -> bool {
    matches!((two, opcode), (false, 0x9b | 0xd8..=0xdf) | (true, 0x31))
}

/// Each opcode of one byte and of two behind a prefix, its operand where `rm` says.
///
/// # Errors
/// When the emulator does not do as the processor with one.
pub fn every_opcode(setup: &Setup, state: State, prefix: &[u8], rm: u8) -> Verdict {
    let all = [false, true].into_iter();
    for (two, opcode) in all.flat_map(|two| (0..=0xff).map(move |n| (two, n))) {
        if is_left_out(two, opcode) {
            continue;
        }
        let group = GROUPS.contains(&(two, opcode));
        for middle in if group { 0..8 } else { 2..3 } {
            let mut code = [0x90; 16];
            let mut len = prefix.len();
            code[..len].copy_from_slice(prefix);
            if two {
                code[len] = 0x0f;
                len += 1;
            }
            code[len] = opcode;
            code[len + 1] = middle << 3 | rm;
            setup.judge(state, &code)?;
        }
    }
    Ok(())
}

/// Prefixes that all sizes of code have.
pub const PREFIXES: &[&[u8]] = &[
    &[],
    &[0x66],
    &[0x67],
    &[0xf0],
    &[0xf2],
    &[0xf3],
    &[0x66, 0xf3],
    &[0x36],
    &[0x66, 0x67, 0xf2, 0x3e],
];
/// Some that 64-bit code alone has
pub const WIDE: &[&[u8]] = &[
    &[0x48],
    &[0x4c],
    &[0xf3, 0x48],
    &[0xf0, 0x48],
    &[0x64, 0x66, 0x48],
    &[0x48, 0x66],
];

/// The emulator need not know it
pub const ANY: Setup = Setup {
    must: false,
    ..SETUP
};
