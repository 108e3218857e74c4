//! The local APIC's page by way of the guest's own page tables: where it is mapped, and with which rights.
#![no_std]
#![no_main]
// UNSAFETY: instructions with operands in the local APIC's page.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::paging::{PRESENT, USER, WRITE, map};
use guests::start::Pages;
use guests::trap::raised;
use guests::verdict::Verdict;
use guests::{attempt, attempt_in_user, claim, guest, lapic, same};
use spec::PAGE_SIZE;
use spec::apic::register;
use spec::cpu::{Cr0, vector};

guest!(
    an_access_across_the_page_is_split,
    the_page_may_be_mapped_anywhere,
    page_faults_come_before_the_device,
    ring_3_reaches_it_where_it_is_mapped,
    accessed_and_dirty_are_set,
);

/// A register that reads as it was written, all bits.
const SPARE: u64 = lapic::address_of(register::TIMER_INITIAL);
const VALUE: u32 = 0x8765_43a1;

fn put(value: u32) {
    // Masked; the current count runs down and the initial count stays.
    guests::mmio::write32(lapic::address_of(register::LVT_TIMER), 1 << 16);
    guests::mmio::write32(SPARE, value);
}

fn get() -> u32 {
    guests::mmio::read32(SPARE)
}

/// Executes instructions with RDI at a register and RAX, RCX as given; returns RAX, RCX and the flags behind them.
macro_rules! run {
    ($at:expr, $rax:expr, $rcx:expr, $($instruction:literal)+) => {{
        let (rax, rcx, flags): (u64, u64, u64);
        // SAFETY: the local APIC's page holds nothing of Rust's; the stack is as before.
        unsafe {
            asm!($($instruction,)+ "pushfq", "pop rdx", inout("rdi") $at => _, inout("rax") $rax as u64 => rax,
                inout("rcx") $rcx as u64 => rcx, out("rdx") flags, out("rsi") _, out("r8") _, out("r15") _);
        }
        (rax, rcx, flags)
    }};
}

static BUFFER: Pages<8192> = Pages::new();

fn buffer32(offset: u64) -> u32 {
    // SAFETY: of the buffer.
    unsafe { ((BUFFER.address() + offset) as *const u32).read_volatile() }
}

fn an_access_across_the_page_is_split() -> Verdict {
    let at = map(10, BUFFER.address() | PRESENT | WRITE) + PAGE_SIZE - 2;
    let _ = map(11, lapic::BASE | PRESENT | WRITE);
    let _ = run!(at, 0xaaaa_bbbbu32, 0, "mov [rdi], eax");
    same!(buffer32(PAGE_SIZE - 4) >> 16, 0xbbbb, "the half in memory");
    let (rax, ..) = run!(at, 0, 0, "mov eax, [rdi]");
    same!(rax & 0xffff, 0xbbbb);
    Ok(())
}

fn the_page_may_be_mapped_anywhere() -> Verdict {
    put(VALUE);
    let at = map(12, lapic::BASE | PRESENT | WRITE);
    same!(run!(at + 0x380, 0, 0, "mov eax, [rdi]").0, VALUE.into());
    let _ = run!(at + 0x380, 0x42, 0, "mov [rdi], eax");
    same!(get(), 0x42);
    Ok(())
}

fn page_faults_come_before_the_device() -> Verdict {
    put(VALUE);
    let cr0 = guests::cpu::cr0();
    let at = map(12, lapic::BASE | PRESENT) + 0x380;
    // SAFETY: no table or code is written to; each access faults.
    let (write, modify, absent, split) = unsafe {
        asm!("mov cr0, {}", in(reg) cr0 | Cr0::WP.bits());
        let write = attempt!("mov dword ptr [{at}], 0", at = in(reg) at);
        let modify = attempt!("add dword ptr [{at}], 1", at = in(reg) at);
        asm!("mov cr0, {}", in(reg) cr0);
        let end = map(12, lapic::BASE | PRESENT | WRITE) + PAGE_SIZE - 2;
        let _ = map(13, 0);
        let split = attempt!("mov dword ptr [{at}], 0", at = in(reg) end);
        let _ = map(12, 0);
        (
            write,
            modify,
            attempt!("mov {v:e}, [{at}]", at = in(reg) at, v = out(reg) _),
            split,
        )
    };
    same!(raised(write), Some((vector::PF.0, 3)));
    same!(raised(modify), Some((vector::PF.0, 3)));
    same!(raised(absent), Some((vector::PF.0, 0)));
    same!(raised(split), Some((vector::PF.0, 2)));
    claim!(
        split.is_err_and(|trap| trap.cr2 % PAGE_SIZE == 0),
        "{split:x?}"
    );
    same!(get(), VALUE, "nothing was written");
    Ok(())
}

fn ring_3_reaches_it_where_it_is_mapped() -> Verdict {
    put(VALUE);
    let at = map(12, lapic::BASE | PRESENT | WRITE | USER) + 0x380;
    let value: u32;
    // SAFETY: reads a register.
    unsafe { attempt_in_user!("mov {v:e}, [{at}]", at = in(reg) at, v = out(reg) value)? };
    same!(value, VALUE);
    let at = map(12, lapic::BASE | PRESENT | WRITE) + 0x380;
    // SAFETY: faults.
    let by = unsafe { attempt_in_user!("mov {v:e}, [{at}]", at = in(reg) at, v = out(reg) _) };
    same!(raised(by), Some((vector::PF.0, 5)));
    Ok(())
}

fn accessed_and_dirty_are_set() -> Verdict {
    const ACCESSED: u64 = 1 << 5;
    const DIRTY: u64 = 1 << 6;
    let at = map(12, lapic::BASE | PRESENT | WRITE);
    let _ = run!(at + 0x30, 0, 0, "mov eax, [rdi]");
    same!(guests::paging::entry(12) & (ACCESSED | DIRTY), ACCESSED);
    let _ = run!(at + 0x80, 0, 0, "mov [rdi], eax");
    same!(
        guests::paging::entry(12) & (ACCESSED | DIRTY),
        ACCESSED | DIRTY
    );
    Ok(())
}
