//! A second processor, for what takes two: it is started, runs one function, and halts.
//!
//! It has a stack and a local APIC of its own and shares all else, so its function and the handlers that it runs keep
//! to atomics; what a claim may use ([`crate::attempt!`], [`crate::say!`]) is the first's alone.
// UNSAFETY: start-up code, and where it is put.
#![allow(unsafe_code)]

use crate::slot::Slot;
use crate::start::{Pages, zero_page};
use crate::{cpu, lapic, msr, paging, trap};
use core::arch::global_asm;
use core::sync::atomic::{AtomicU32, Ordering};
use spec::apic::{delivery, register, shorthand};
use spec::linux::E820Kind;

/// The page that start-up IPIs name: below 1 MiB, away from the loader's tables.
const PLACE: u64 = 0x8_0000;
/// Ticks that an INIT takes, and that a processor gets to come up.
const INIT_TICKS: u64 = 500_000;
const PATIENCE: u64 = 5_000_000;

const STACK_SIZE: usize = 16 << 10;
static STACK: Pages<STACK_SIZE> = Pages::new();

/// The number of those that have come, each of which takes one: the first goes on, others halt.
static TICKET: AtomicU32 = AtomicU32::new(0);
/// The APIC id of the one that goes on, and one more.
static ID: AtomicU32 = AtomicU32::new(0);
static TASK: Slot<fn()> = Slot::new(nothing);

fn nothing() {}

global_asm!(
    ".balign 16",
    "{begin}:",
    ".code16",
    "cli",
    "cld",
    // LGDT of a 32-bit base, from CS, which is this page
    ".byte 0x2e, 0x66, 0x0f, 0x01, 0x16",
    ".word second_pointer - {begin}",
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
    ".long second_long",
    ".word 8",
    ".balign 8",
    // Its selectors are those of the first's table, so the gates of interrupts hold for both.
    "second_table:",
    ".quad 0, 0x00af9b000000ffff, 0x00cf93000000ffff",
    "second_pointer:",
    ".word 23",
    ".long {place} + second_table - {begin}",
    "{end}:",
    ".code64",
    "second_long:",
    "mov eax, 16",
    "mov ds, eax",
    "mov es, eax",
    "mov ss, eax",
    "mov eax, 1",
    "lock xadd dword ptr [rip + {ticket}], eax",
    "test eax, eax",
    "jnz 2f",
    "lea rsp, [rip + {stack}]",
    "add rsp, {size}",
    "xor ebp, ebp",
    "call {run}",
    "2:",
    "cli",
    "hlt",
    "jmp 2b",
    begin = sym second_begin,
    end = sym second_end,
    tables = sym paging::PML4,
    place = const PLACE,
    ticket = sym TICKET,
    stack = sym STACK,
    size = const STACK_SIZE,
    run = sym run,
);

unsafe extern "C" {
    fn second_begin();
    fn second_end();
}

extern "C" fn run() {
    trap::load();
    // The first is in x2APIC mode.
    lapic::join();
    let id = msr::read_plain(lapic::msr_of(register::ID));
    ID.store(id as u32 + 1, Ordering::Release);
    TASK.get()();
}

/// Starts a second processor, if the machine has one, which runs `task` in x2APIC mode with interrupts off; says its
/// APIC id. To be called once, in x2APIC mode.
#[must_use]
pub fn start(task: fn()) -> Option<u32> {
    if !is_ram(PLACE) {
        return None;
    }
    TASK.set(task);
    let (begin, end) = (
        second_begin as *const () as u64,
        second_end as *const () as u64,
    );
    for offset in 0..end - begin {
        // SAFETY: the memory map calls the page RAM, and nothing of ours is below 1 MiB.
        unsafe {
            let byte = ((begin + offset) as *const u8).read_volatile();
            ((PLACE + offset) as *mut u8).write_volatile(byte);
        }
    }
    let command = |mode: u8, vector: u64| {
        let others = u64::from(shorthand::ALL_BUT_SELF) << 18;
        let icr = others | 1 << 14 | u64::from(mode) << 8 | vector;
        msr::write_plain(lapic::msr_of(register::ICR), icr);
    };
    command(delivery::INIT, 0);
    cpu::spin_until(cpu::tsc() + INIT_TICKS);
    command(delivery::START_UP, PLACE >> 12);
    let until = cpu::tsc() + PATIENCE;
    while cpu::tsc() < until {
        if let Some(id) = ID.load(Ordering::Acquire).checked_sub(1) {
            return Some(id);
        }
    }
    None
}

fn is_ram(page: u64) -> bool {
    let params = zero_page();
    let entries = params.e820_table;
    entries
        .iter()
        .take(params.e820_entries.into())
        .any(|entry| {
            let (addr, size, kind) = (entry.addr, entry.size, entry.kind);
            kind == E820Kind::Ram as u32
                && addr <= page
                && page + spec::PAGE_SIZE <= addr.saturating_add(size)
        })
}
