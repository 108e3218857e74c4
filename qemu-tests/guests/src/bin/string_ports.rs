//! INS and OUTS, with and without REP.
#![no_std]
#![no_main]
// UNSAFETY: string instructions on memory of this guest's own.
#![allow(unsafe_code)]

use guests::paging::{PRESENT, USER, WRITE, map};
use guests::start::Pages;
use guests::trap::{GP0, raised};
use guests::verdict::Verdict;
use guests::{attempt, attempt_in_user, claim, guest, same, uart};
use spec::PAGE_SIZE;
use spec::cpu::vector;
use spec::uart::offset;

guest!(
    ins_stores_what_the_port_reads,
    outs_writes_what_memory_holds,
    a_count_of_zero_does_nothing,
    the_direction_flag_turns_it_round,
    a_32_bit_address_size_wraps_and_clears,
    it_crosses_pages,
    a_page_fault_shows_how_far_it_came,
    a_read_only_page_faults,
    a_long_one_is_done_whole,
    memory_that_is_emulated_takes_it,
    it_is_not_for_ring_3,
);

const SCRATCH: u16 = uart::BASE + offset::SCR as u16;
const ABSENT: u16 = 0x80;

static BUFFER: Pages<{ 3 * 4096 }> = Pages::new();

fn byte(at: u64) -> u8 {
    // SAFETY: of the buffer.
    unsafe { (at as *const u8).read_volatile() }
}

fn fill(value: u8) {
    // SAFETY: the buffer, of which nobody holds a reference.
    unsafe { core::ptr::write_bytes(BUFFER.address() as *mut u8, value, 3 * 4096) };
}

/// What is left in the registers: (address moved, count).
macro_rules! string {
    ($instruction:literal, $register:tt, $at:expr, $count:expr, $port:expr) => {{
        let (at, count): (u64, u64) = ($at, $count);
        let (mut end, mut left) = (at, count);
        // SAFETY: of the buffer, or a page that faults.
        let by = unsafe {
            attempt!("cld" $instruction "cld", inout($register) end, inout("rcx") left, in("dx") $port)
        };
        (by, end.wrapping_sub(at) as i64, left)
    }};
}

fn ins_stores_what_the_port_reads() -> Verdict {
    fill(0);
    let at = BUFFER.address();
    uart::write(offset::SCR, 0x5c);
    let (by, moved, left) = string!("rep insb", "rdi", at, 5, SCRATCH);
    by?;
    same!((moved, left), (5, 0));
    same!((byte(at), byte(at + 4), byte(at + 5)), (0x5c, 0x5c, 0));
    let (by, moved, left) = string!("rep insd", "rdi", at, 2, ABSENT);
    by?;
    same!((moved, left, byte(at + 7), byte(at + 8)), (8, 0, 0xff, 0));
    let (by, moved, left) = string!("insw", "rdi", at + 16, 9, ABSENT);
    by?;
    same!(
        (moved, left, byte(at + 17), byte(at + 18)),
        (2, 9, 0xff, 0),
        "without REP"
    );
    Ok(())
}

fn outs_writes_what_memory_holds() -> Verdict {
    fill(0x11);
    // SAFETY: of the buffer.
    unsafe { ((BUFFER.address() + 3) as *mut u8).write_volatile(0x77) };
    let (by, moved, left) = string!("rep outsb", "rsi", BUFFER.address(), 4, SCRATCH);
    by?;
    same!(
        (moved, left, uart::read(offset::SCR)),
        (4, 0, 0x77),
        "the last byte stays"
    );
    Ok(())
}

fn a_count_of_zero_does_nothing() -> Verdict {
    let nowhere = map(5, 0);
    uart::write(offset::SCR, 0x22);
    let (by, moved, left) = string!("rep outsb", "rsi", nowhere, 0, SCRATCH);
    by?;
    same!((moved, left, uart::read(offset::SCR)), (0, 0, 0x22));
    Ok(())
}

fn the_direction_flag_turns_it_round() -> Verdict {
    fill(0);
    let at = BUFFER.address() + 100;
    let (mut end, mut left) = (at, 3u64);
    // SAFETY: of the buffer; the flag is clear again behind it.
    unsafe {
        attempt!("std" "rep insb" "cld", inout("rdi") end, inout("rcx") left, in("dx") ABSENT)?
    };
    same!((at - end, left), (3, 0));
    same!(
        (byte(at + 1), byte(at), byte(at - 2), byte(at - 3)),
        (0, 0xff, 0xff, 0)
    );
    Ok(())
}

fn a_32_bit_address_size_wraps_and_clears() -> Verdict {
    fill(0);
    let (mut end, mut left) = (BUFFER.address() | 7 << 32, 2u64 | 5 << 32);
    // SAFETY: of the buffer, whose address has 32 bits; the prefix makes the registers EDI and ECX.
    unsafe {
        attempt!("rep insb byte ptr es:[edi], dx", inout("rdi") end, inout("rcx") left, in("dx") ABSENT)?
    };
    same!(
        (end, left),
        (BUFFER.address() + 2, 0),
        "upper halves are cleared"
    );
    same!(
        (byte(BUFFER.address() + 1), byte(BUFFER.address() + 2)),
        (0xff, 0)
    );
    Ok(())
}

fn it_crosses_pages() -> Verdict {
    fill(0);
    let at = BUFFER.address() + PAGE_SIZE - 6;
    let (by, moved, left) = string!("rep insd", "rdi", at, 3, ABSENT);
    by?;
    same!((moved, left), (12, 0));
    same!(
        (
            byte(at - 1),
            byte(at + 5),
            byte(at + 6),
            byte(at + 11),
            byte(at + 12)
        ),
        (0, 0xff, 0xff, 0xff, 0)
    );
    Ok(())
}

fn a_page_fault_shows_how_far_it_came() -> Verdict {
    fill(0);
    let window = map(6, BUFFER.address() | PRESENT | WRITE | USER);
    let _ = map(7, 0);
    let at = window + PAGE_SIZE - 5;
    let (by, moved, left) = string!("rep insb", "rdi", at, 9, ABSENT);
    same!(raised(by), Some((vector::PF.0, 2)));
    claim!(
        by.is_err_and(|trap| trap.cr2 == window + PAGE_SIZE),
        "{by:x?}"
    );
    same!((moved, left), (5, 4));
    // Four bytes of which the second half is not there: nothing is stored.
    let at = window + PAGE_SIZE - 2;
    fill(0);
    let (by, moved, left) = string!("rep insd", "rdi", at, 2, ABSENT);
    same!(raised(by), Some((vector::PF.0, 2)));
    same!(
        (moved, left, byte(BUFFER.address() + PAGE_SIZE - 2)),
        (0, 2, 0)
    );
    Ok(())
}

fn a_read_only_page_faults() -> Verdict {
    let window = map(6, BUFFER.address() | PRESENT | USER);
    let cr0 = guests::cpu::cr0();
    // SAFETY: no table or code is written to.
    unsafe { core::arch::asm!("mov cr0, {}", in(reg) cr0 | spec::cpu::Cr0::WP.bits()) };
    let (by, moved, left) = string!("rep insb", "rdi", window, 3, ABSENT);
    // SAFETY: as it was.
    unsafe { core::arch::asm!("mov cr0, {}", in(reg) cr0) };
    same!(raised(by), Some((vector::PF.0, 3)));
    same!((moved, left), (0, 3));
    Ok(())
}

fn a_long_one_is_done_whole() -> Verdict {
    fill(0);
    let (by, moved, left) = string!("rep insb", "rdi", BUFFER.address(), 3 * PAGE_SIZE, ABSENT);
    by?;
    same!((moved as u64, left), (3 * PAGE_SIZE, 0));
    let holes = (0..3 * PAGE_SIZE).find(|n| byte(BUFFER.address() + n) != 0xff);
    same!(holes, None);
    Ok(())
}

fn memory_that_is_emulated_takes_it() -> Verdict {
    // INS to the local APIC's task priority: port and memory are both the hypervisor's.
    let at = guests::lapic::address_of(spec::apic::register::TPR);
    let (by, moved, left) = string!("rep insd", "rdi", at, 1, ABSENT);
    by?;
    same!((moved, left), (4, 0));
    same!(guests::lapic::read(spec::apic::register::TPR), 0xff);
    guests::lapic::write(spec::apic::register::TPR, 0)?;
    Ok(())
}

fn it_is_not_for_ring_3() -> Verdict {
    // SAFETY: it faults.
    let by = unsafe {
        attempt_in_user!("rep outsb", inout("rsi") BUFFER.address() => _, inout("rcx") 1u64 => _, in("dx") ABSENT)
    };
    same!(raised(by), GP0);
    Ok(())
}
