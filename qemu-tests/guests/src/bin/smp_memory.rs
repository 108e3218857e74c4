//! Memory that processors share: locked instructions, translations that one takes from another, code that one changes
//! under another.
#![no_std]
#![no_main]
// UNSAFETY: instructions on memory that processors share, and code that is changed while it is there.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use guests::interrupt::{self, count_on};
use guests::smp::{self, ASSERT, OTHERS, others, until};
use guests::start::Pages;
use guests::trap::{self, raised};
use guests::verdict::{Verdict, figure};
use guests::{claim, cpu, guest, lapic, paging, same};
use spec::cpu::vector;

guest!(
    all_processors_come_up,
    locked_additions_are_not_lost,
    exchanges_of_sixteen_bytes_are_whole,
    a_lock_keeps_others_out,
    what_one_wrote_before_its_flag_is_there,
    an_unmapped_page_is_gone_after_a_shoot_down,
    a_page_that_moved_is_found_after_a_shoot_down,
    each_changes_its_own_code,
    one_changes_the_code_of_others,
);

/// How long each of the contests takes.
const CONTEST: u64 = 1_000_000;

fn all_processors_come_up() -> Verdict {
    lapic::enable()?;
    smp::start()
}

/// All begin a contest together: those that share a core have had a turn by then.
fn together() {
    let mine = STARTED.fetch_add(1, Ordering::AcqRel) / smp::count() + 1;
    until(|| STARTED.load(Ordering::Acquire) >= mine * smp::count());
}
static STARTED: AtomicUsize = AtomicUsize::new(0);

/// Runs a contest on all, each from its beginning.
#[track_caller]
fn contest(task: smp::Task) -> Result<[u64; smp::MOST], guests::verdict::Broken> {
    STARTED.store(0, Ordering::Release);
    smp::everywhere(task, cpu::tsc() + CONTEST)
}

static TOKEN: AtomicU64 = AtomicU64::new(0);
static SUM: AtomicU64 = AtomicU64::new(0);
static BITS: AtomicU64 = AtomicU64::new(0);

fn locked_additions_are_not_lost() -> Verdict {
    SUM.store(0, Ordering::Release);
    BITS.store(0, Ordering::Release);
    let mine = contest(|end| {
        together();
        let mut mine = 0;
        while cpu::tsc() < end || mine < 100 {
            SUM.fetch_add(1, Ordering::AcqRel);
            // Each has a bit of its own, and turns it over.
            BITS.fetch_xor(1 << smp::here(), Ordering::AcqRel);
            mine += 1;
        }
        mine
    })?;
    same!(
        SUM.load(Ordering::Acquire),
        mine.iter().sum::<u64>(),
        "additions"
    );
    for (n, mine) in mine.iter().enumerate() {
        same!(
            BITS.load(Ordering::Acquire) >> n & 1,
            mine & 1,
            "the bit of {n}"
        );
    }
    figure("locked_additions", SUM.load(Ordering::Acquire));
    Ok(())
}

#[repr(C, align(16))]
struct Pair(core::cell::UnsafeCell<[u64; 2]>);
// SAFETY: touched by locked instructions alone.
unsafe impl Sync for Pair {}
static PAIR: Pair = Pair(core::cell::UnsafeCell::new([0; 2]));

/// CMPXCHG16B: what was there; `new` is there now if that was `old`.
fn exchange(old: [u64; 2], new: [u64; 2]) -> [u64; 2] {
    let [mut low, mut high] = old;
    // SAFETY: the pair is aligned; RBX, which LLVM keeps for itself, is put back.
    unsafe {
        asm!("xchg rbx, {b}", "lock cmpxchg16b [{at}]", "mov rbx, {b}",
            b = inout(reg) new[0] => _, at = in(reg) PAIR.0.get(), in("rcx") new[1],
            inout("rax") low, inout("rdx") high, options(nostack));
    }
    [low, high]
}

/// The other half of a pair.
const fn half(of: u64) -> u64 {
    of.wrapping_mul(0x9e37_79b9_7f4a_7c15)
}

fn exchanges_of_sixteen_bytes_are_whole() -> Verdict {
    let mine = contest(|end| {
        together();
        let (mut mine, mut seen) = (0, [0, 0]);
        while cpu::tsc() < end || mine < 100 {
            let next = seen[0] + 1;
            let was = exchange(seen, [next, half(next)]);
            if was[1] != half(was[0]) {
                return u64::MAX;
            }
            if was == seen {
                mine += 1;
                seen = [next, half(next)];
            } else {
                seen = was;
            }
        }
        mine
    })?;
    claim!(
        !mine.contains(&u64::MAX),
        "one has seen two halves of different pairs"
    );
    same!(
        exchange([0; 2], [0; 2])[0],
        mine.iter().sum::<u64>(),
        "exchanges"
    );
    Ok(())
}

static LOCK: AtomicU64 = AtomicU64::new(0);
/// Changed by plain instructions, under the lock.
static PLAIN: AtomicU64 = AtomicU64::new(0);

fn a_lock_keeps_others_out() -> Verdict {
    PLAIN.store(0, Ordering::Relaxed);
    let mine = contest(|end| {
        together();
        let mut mine = 0;
        while cpu::tsc() < end || mine < 10 {
            while LOCK.swap(1, Ordering::Acquire) != 0 {
                core::hint::spin_loop();
            }
            let value = PLAIN.load(Ordering::Relaxed);
            core::hint::spin_loop();
            PLAIN.store(value + 1, Ordering::Relaxed);
            LOCK.store(0, Ordering::Release);
            mine += 1;
        }
        mine
    })?;
    same!(PLAIN.load(Ordering::Relaxed), mine.iter().sum::<u64>());
    Ok(())
}

fn what_one_wrote_before_its_flag_is_there() -> Verdict {
    const ROUNDS: u64 = 50;
    TOKEN.store(0, Ordering::Release);
    // The last one writes plainly, and tells by a flag; the first looks.
    smp::begin(
        smp::count() - 1,
        |rounds| {
            for round in 1..=rounds {
                PLAIN.store(half(round), Ordering::Relaxed);
                TOKEN.store(2 * round - 1, Ordering::Release);
                until(|| TOKEN.load(Ordering::Acquire) == 2 * round);
            }
            0
        },
        ROUNDS,
    );
    for round in 1..=ROUNDS {
        claim!(
            until(|| TOKEN.load(Ordering::Acquire) == 2 * round - 1),
            "round {round} does not come"
        );
        same!(PLAIN.load(Ordering::Relaxed), half(round));
        TOKEN.store(2 * round, Ordering::Release);
    }
    smp::end(smp::count() - 1)?;
    Ok(())
}

/// The vector of a shoot-down.
const SHOOT: u8 = 0x61;
const PAGE: usize = 7;
static FRAMES: Pages<{ 2 * 4096 }> = Pages::new();

fn frame(n: u64) -> u64 {
    FRAMES.address() + n * 4096
}

/// Writes a byte of a frame.
fn mark(n: u64, byte: u8) {
    // SAFETY: of a page that nothing else uses.
    unsafe { (frame(n) as *mut u8).write_volatile(byte) };
}

/// What a processor reads in the window's page: its byte, or the address of the page fault.
fn touch(_: u64) -> u64 {
    match trap::read8(paging::WINDOW + PAGE as u64 * 4096) {
        Ok(byte) => byte.into(),
        Err(trap) if raised::<()>(Err(trap)) == Some((vector::PF.0, 0)) => trap.cr2,
        Err(_) => u64::MAX,
    }
}

/// Changes the entry of the page, and has all others forget what they have of it.
fn shoot_down(entry: u64) -> Verdict {
    interrupt::forget();
    interrupt::also(|vector| {
        if vector == SHOOT {
            paging::forget(PAGE);
        }
    });
    paging::map(PAGE, entry);
    lapic::send(0, ASSERT | OTHERS | u32::from(SHOOT));
    for n in others() {
        claim!(until(|| count_on(n, SHOOT) == 1), "{n} does not answer");
    }
    // An interrupt is counted before its handler does what it has to.
    smp::settle()
}

fn an_unmapped_page_is_gone_after_a_shoot_down() -> Verdict {
    mark(0, 0x5a);
    for _ in 0..20 {
        shoot_down(frame(0) | paging::PRESENT | paging::WRITE)?;
        for n in others() {
            same!(smp::on(n, touch, 0)?, 0x5a, "what {n} reads");
        }
        shoot_down(0)?;
        for n in others() {
            let gone = paging::WINDOW + PAGE as u64 * 4096;
            same!(smp::on(n, touch, 0)?, gone, "where {n} faults");
        }
    }
    Ok(())
}

fn a_page_that_moved_is_found_after_a_shoot_down() -> Verdict {
    mark(0, 0x5a);
    mark(1, 0xa5);
    for round in 0..20 {
        shoot_down(frame(round & 1) | paging::PRESENT | paging::WRITE)?;
        let expected = if round & 1 == 0 { 0x5a } else { 0xa5 };
        for n in others() {
            same!(
                smp::on(n, touch, 0)?,
                expected,
                "what {n} reads in round {round}"
            );
        }
    }
    shoot_down(0)
}

static CODE: Pages<{ smp::MOST * 4096 }> = Pages::new();

/// Puts a function into a page of code: MOV EAX of a number, by one of two registers, and RET.
fn write_code(page: usize, number: u32, by_way: bool) {
    let at = (CODE.address() + page as u64 * 4096) as *mut u8;
    let [a, b, c, d] = number.to_le_bytes();
    // MOV EAX, number; RET; or MOV EDX, number; XCHG EAX, EDX; RET
    let code = if by_way {
        [0xba, a, b, c, d, 0x92, 0xc3]
    } else {
        [0xb8, a, b, c, d, 0x90, 0xc3]
    };
    for (n, byte) in code.into_iter().enumerate() {
        // SAFETY: within the page, which nothing else uses.
        unsafe { at.add(n).write_volatile(byte) };
    }
}

/// Calls it.
fn call_code(page: usize) -> u32 {
    let value: u32;
    let at = CODE.address() + page as u64 * 4096;
    // SAFETY: `write_code` has put a function there that changes these registers.
    unsafe { asm!("call {at}", at = in(reg) at, out("eax") value, out("edx") _) };
    value
}

fn each_changes_its_own_code() -> Verdict {
    let wrong = smp::everywhere(
        |_| {
            let here = smp::here();
            for round in 0..200u32 {
                let number = round * 0x0101_0101 + here as u32;
                write_code(here, number, round % 3 == 0);
                // A jump is all that this takes (SDM vol. 3, "Handling Self- and Cross-Modifying Code"), and the call is one.
                if call_code(here) != number {
                    return u64::from(round) + 1;
                }
            }
            0
        },
        0,
    )?;
    for (n, wrong) in wrong.iter().enumerate() {
        same!(*wrong, 0, "the round in which {n} ran old code");
    }
    Ok(())
}

static WRITTEN: AtomicU64 = AtomicU64::new(0);

fn one_changes_the_code_of_others() -> Verdict {
    interrupt::forget();
    WRITTEN.store(0, Ordering::Release);
    SUM.store(0, Ordering::Release);
    write_code(0, 0, false);
    for n in others() {
        smp::begin(n, runs_what_is_there, 100);
    }
    for round in 1..=100u32 {
        // They run it by now, or wait for the flag: none runs it while it is changed.
        let waits = others().len() as u64 * u64::from(round - 1);
        claim!(
            until(|| SUM.load(Ordering::Acquire) >= waits),
            "round {round}"
        );
        write_code(0, round, round % 2 == 0);
        WRITTEN.store(round.into(), Ordering::Release);
        lapic::send(0, ASSERT | OTHERS | u32::from(SHOOT));
    }
    for n in others() {
        same!(smp::end(n)?, 0, "the round in which {n} ran old code");
    }
    Ok(())
}

fn runs_what_is_there(rounds: u64) -> u64 {
    for round in 1..=rounds {
        while WRITTEN.load(Ordering::Acquire) < round {
            cpu::sti();
            core::hint::spin_loop();
            cpu::cli();
        }
        // Serialises (SDM vol. 3, "Handling Self- and Cross-Modifying Code").
        let _ = cpu::cpuid(0, 0);
        let is = call_code(0);
        SUM.fetch_add(1, Ordering::AcqRel);
        if u64::from(is) != round {
            return round;
        }
    }
    0
}
