//! More processors: each waits, halted, for a task, and runs one at a time on a stack of its own.
//!
//! A processor's number is its APIC id. The first runs the claims; what a claim may use ([`crate::attempt!`],
//! [`crate::say!`]) is the first's alone, and tasks say by their result, or by atomics, what they have found. Tasks and
//! idle processors differ in one thing: tasks begin with interrupts off.
// UNSAFETY: start-up code, and where it is put.
#![allow(unsafe_code)]

use crate::slot::Slot;
use crate::start::Pages;
use crate::verdict::{Broken, Verdict};
use crate::{cpu, lapic, paging, trap, verdict};
use core::arch::{asm, global_asm};
use core::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use spec::apic::{Icr, delivery, shorthand};

/// The most processors there are.
pub const MOST: usize = 16;
/// The vector that tells an idle one of its task: in the highest class, which no task priority holds back but the last.
pub const WORK: u8 = 0xf0;
/// The level of an ordinary message.
pub const ASSERT: u32 = Icr::ASSERT.bits();
/// What starts a processor, in place of its vector.
pub const START_UP: u32 = ASSERT | (delivery::START_UP as u32) << 8;
/// INIT
pub const INIT: u32 = ASSERT | (delivery::INIT as u32) << 8;
/// NMI
pub const NMI: u32 = ASSERT | (delivery::NMI as u32) << 8;
/// The shorthand for all others.
pub const OTHERS: u32 = (shorthand::ALL_BUT_SELF as u32) << 18;
/// What has not happened after so many ticks never will: processors that share a core take turns of 50,000.
pub const PATIENCE: u64 = 40_000_000;
/// The page at which they start: below 1 MiB, away from the loader's tables.
pub const PLACE: u64 = 0x8_0000;

const STACK_SIZE: usize = 16 << 10;
static STACKS: Pages<{ (MOST - 1) * STACK_SIZE }> = Pages::new();

/// What a processor is asked to do.
pub type Task = fn(u64) -> u64;

mod state {
    pub(super) const IDLE: u32 = 0;
    pub(super) const ASKED: u32 = 1;
    pub(super) const DONE: u32 = 2;
}

/// What the first processor and one other share.
struct Seat {
    state: AtomicU32,
    task: Slot<Task>,
    argument: AtomicU64,
    result: AtomicU64,
    /// How often it has come up
    arrivals: AtomicU32,
}

static SEATS: [Seat; MOST] = [const {
    Seat {
        state: AtomicU32::new(state::IDLE),
        task: Slot::new(nothing),
        argument: AtomicU64::new(0),
        result: AtomicU64::new(0),
        arrivals: AtomicU32::new(0),
    }
}; MOST];

fn nothing(_: u64) -> u64 {
    0
}

global_asm!(
    ".balign 16",
    "{begin}:",
    ".code16",
    "cli",
    "cld",
    // LGDT of a 32-bit base, from CS, which is this page
    ".byte 0x2e, 0x66, 0x0f, 0x01, 0x16",
    ".word smp_pointer - {begin}",
    // CR4.PAE, the tables, EFER.LME, and paging and protection at once (SDM vol. 3, "Initializing IA-32e Mode").
    "mov eax, 0x20",
    "mov cr4, eax",
    "mov eax, offset {tables}",
    "mov cr3, eax",
    "mov ecx, 0xc0000080",
    "mov eax, 0x100",
    "xor edx, edx",
    "wrmsr",
    "mov eax, 0x80000031",
    "mov cr0, eax",
    ".byte 0x66, 0xea",
    ".long smp_long",
    ".word 8",
    ".balign 8",
    // Its selectors are those of the first's table, so the gates of interrupts hold for all.
    "smp_table:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "smp_pointer:",
    ".word 23",
    ".long {place} + smp_table - {begin}",
    "{end}:",
    ".code64",
    "smp_long:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    // The APIC id that each was born with (SDM vol. 2, "CPUID", leaf 1).
    "mov eax, 1",
    "cpuid",
    "shr ebx, 24",
    "jz 2f",
    "cmp ebx, {most}",
    "jae 2f",
    "imul eax, ebx, {size}",
    "lea rsp, [rip + {stacks}]",
    "add rsp, rax",
    "mov edi, ebx",
    "xor ebp, ebp",
    "call {run}",
    "2:",
    "cli",
    "hlt",
    "jmp 2b",
    begin = sym smp_begin,
    end = sym smp_end,
    tables = sym paging::PML4,
    place = const PLACE,
    most = const MOST,
    size = const STACK_SIZE,
    stacks = sym STACKS,
    run = sym run,
);

unsafe extern "C" {
    fn smp_begin();
    fn smp_end();
}

extern "C" fn run(id: u64) -> ! {
    trap::load();
    lapic::join();
    let seat = &SEATS[id as usize];
    seat.arrivals.fetch_add(1, Ordering::Release);
    loop {
        if seat.state.load(Ordering::Acquire) == state::ASKED {
            let result = seat.task.get()(seat.argument.load(Ordering::Relaxed));
            cpu::cli();
            seat.result.store(result, Ordering::Relaxed);
            seat.state.store(state::DONE, Ordering::Release);
        }
        cpu::sti_hlt();
    }
}

/// How many processors there are, by CPUID ("Extended Topology Enumeration Leaf").
#[must_use]
pub fn count() -> usize {
    (cpu::cpuid(0xb, 1)[1] as usize & 0xffff).clamp(1, MOST)
}

/// The numbers of all but the first.
pub fn others() -> core::ops::Range<usize> {
    1..count()
}

/// The number of the processor that asks: its stack tells.
#[inline(always)]
#[must_use]
pub fn here() -> usize {
    let pointer: u64;
    // SAFETY: reads a register.
    unsafe { asm!("mov {}, rsp", out(reg) pointer, options(nomem, nostack, preserves_flags)) };
    of_stack(pointer)
}

/// Whose stack an address lies on; what is on none of ours is the first's.
pub(crate) fn of_stack(address: u64) -> usize {
    let offset = address.wrapping_sub(STACKS.address()) as usize / STACK_SIZE;
    if offset < MOST - 1 { offset + 1 } else { 0 }
}

/// Puts code at a page below 1 MiB.
pub fn place(page: u64, begin: unsafe extern "C" fn(), end: unsafe extern "C" fn()) {
    let (begin, end) = (begin as *const () as u64, end as *const () as u64);
    assert!((0x5_0000..0xa_0000).contains(&page) && (begin..begin + 4096).contains(&end));
    for offset in 0..end - begin {
        // SAFETY: low memory that neither the loader nor the guest uses; every VM has it.
        unsafe {
            let byte = ((begin + offset) as *const u8).read_volatile();
            ((page + offset) as *mut u8).write_volatile(byte);
        }
    }
}

/// Starts all others by INIT and one start-up IPI to all of them at once, and waits until they have come up: once more than before.
///
/// # Errors
/// There are none, or one does not come; that has been reported.
#[track_caller]
pub fn start() -> Verdict {
    place(PLACE, smp_begin, smp_end);
    let before: [u32; MOST] = core::array::from_fn(arrivals);
    for seat in &SEATS {
        seat.state.store(state::IDLE, Ordering::Relaxed);
    }
    if count() < 2 {
        return Err(missing("there is one processor"));
    }
    lapic::send(0, OTHERS | INIT);
    lapic::send(0, OTHERS | START_UP | (PLACE >> 12) as u32);
    if until(|| others().all(|n| arrivals(n) == before[n] + 1)) {
        Ok(())
    } else {
        Err(missing("a processor does not come up"))
    }
}

/// Starts one again.
///
/// # Errors
/// It does not come; that has been reported.
#[track_caller]
pub fn restart(n: usize) -> Verdict {
    let before = arrivals(n);
    SEATS[n].state.store(state::IDLE, Ordering::Relaxed);
    lapic::send(n as u32, INIT);
    lapic::send(n as u32, START_UP | (PLACE >> 12) as u32);
    if until(|| arrivals(n) == before + 1) {
        Ok(())
    } else {
        Err(missing("it does not come up again"))
    }
}

/// How often one has come up.
#[must_use]
pub fn arrivals(n: usize) -> u32 {
    SEATS[n].arrivals.load(Ordering::Acquire)
}

/// Spins until something is so, or for so long that it never will be.
pub fn until(mut so: impl FnMut() -> bool) -> bool {
    let end = cpu::tsc() + PATIENCE;
    loop {
        if so() {
            return true;
        }
        if cpu::tsc() > end {
            return false;
        }
        core::hint::spin_loop();
    }
}

/// Has an idle processor begin a task.
pub fn begin(n: usize, task: Task, argument: u64) {
    let seat = &SEATS[n];
    seat.task.set(task);
    seat.argument.store(argument, Ordering::Relaxed);
    seat.state.store(state::ASKED, Ordering::Release);
    lapic::send(n as u32, ASSERT | u32::from(WORK));
}

/// Whether its task has ended.
#[must_use]
pub fn has_ended(n: usize) -> bool {
    SEATS[n].state.load(Ordering::Acquire) == state::DONE
}

/// Waits for the end of its task, and gives what came of it.
///
/// # Errors
/// It does not end; that has been reported.
#[track_caller]
pub fn end(n: usize) -> Result<u64, Broken> {
    let seat = &SEATS[n];
    if !until(|| has_ended(n)) {
        return Err(missing("a task does not end"));
    }
    seat.state.store(state::IDLE, Ordering::Relaxed);
    Ok(seat.result.load(Ordering::Relaxed))
}

/// Both.
///
/// # Errors
/// As for [`end`].
#[track_caller]
pub fn on(n: usize, task: Task, argument: u64) -> Result<u64, Broken> {
    begin(n, task, argument);
    end(n)
}

/// Runs a task on all, the first one too, at the same time; gives what came of each.
///
/// # Errors
/// As for [`end`].
#[track_caller]
pub fn everywhere(task: Task, argument: u64) -> Result<[u64; MOST], Broken> {
    others().for_each(|n| begin(n, task, argument));
    let mut results = [0; MOST];
    results[0] = task(argument);
    cpu::cli();
    for n in others() {
        results[n] = end(n)?;
    }
    Ok(results)
}

/// Lets every processor, this one too, take all interrupts that it can take.
///
/// # Errors
/// As for [`end`].
#[track_caller]
pub fn settle() -> Verdict {
    everywhere(
        |_| {
            cpu::sti();
            cpu::cli();
            0
        },
        0,
    )
    .map(|_| ())
}

/// Takes all local APICs over to x2APIC mode.
///
/// # Errors
/// As for [`end`], or an exception.
#[track_caller]
pub fn enter_x2apic() -> Verdict {
    for n in others() {
        on(
            n,
            |_| {
                lapic::enter_x2apic_here();
                0
            },
            0,
        )?;
    }
    lapic::enter_x2apic()?;
    Ok(())
}

#[track_caller]
fn missing(what: &str) -> Broken {
    let at = core::panic::Location::caller();
    verdict::broken(at.file(), at.line(), format_args!("{what}"))
}
