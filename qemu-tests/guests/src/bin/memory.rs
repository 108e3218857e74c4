//! Guest-physical addresses without memory: reads are ones, writes are lost, code is none.
#![no_std]
#![no_main]
// UNSAFETY: reads and writes where nothing is, through the window.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::code::try_call;
use guests::paging::{PRESENT, WRITE, map};
use guests::start::{Pages, zero_page};
use guests::trap::{UD, raised};
use guests::verdict::Verdict;
use guests::{claim, guest, same};
use spec::PAGE_SIZE;
use spec::cpu::Rflags;

guest!(
    reads_are_ones_at_every_width,
    writes_are_lost,
    an_operation_on_it_sees_ones,
    a_locked_exchange_sees_ones,
    a_fetch_is_an_undefined_instruction,
    an_access_across_the_end_of_ram_is_split,
    a_string_move_out_of_it_is_ones,
    a_string_move_into_it_is_lost,
    the_acpi_area_is_ram,
    memory_ends_where_the_map_says,
);

/// The PC's hole, the end of RAM, the device hole, beyond 4 GiB, and the processor's last page.
const NOWHERE: &[u64] = &[
    0xa_0000,
    0xd_f000,
    0x100_0000,
    0x7fff_f000,
    0xc000_0000,
    0xfec0_1000,
    0xfee0_1000,
    0xffff_f000,
    0x1_0000_0000,
    0xf_ffff_f000,
];

/// Maps an address in the window, and says where it is there.
fn nowhere(address: u64) -> u64 {
    map(0, address | PRESENT | WRITE)
}

macro_rules! read {
    ($register:literal $width:ty, $address:expr) => {{
        let value: $width;
        // SAFETY: a page of the window, which is nothing of Rust's.
        unsafe { asm!(concat!("mov {0", $register, "}, [{1}]"), out(reg) value, in(reg) $address, options(nostack)) };
        value
    }};
}

fn reads_are_ones_at_every_width() -> Verdict {
    for &address in NOWHERE {
        let at = nowhere(address) + 0x120;
        same!(read!(":r" u64, at), u64::MAX, "{address:#x}");
        same!(read!(":e" u32, at + 4), u32::MAX, "{address:#x}");
        same!(read!(":x" u16, at + 2), u16::MAX, "{address:#x}");
        let byte: u8;
        // SAFETY: as in `read!`.
        unsafe { asm!("mov {}, [{}]", out(reg_byte) byte, in(reg) at + 1, options(nostack)) };
        same!(byte, u8::MAX, "{address:#x}");
        same!(read!(":r" u64, at + 3), u64::MAX, "{address:#x}, unaligned");
    }
    Ok(())
}

fn writes_are_lost() -> Verdict {
    for &address in NOWHERE {
        let at = nowhere(address);
        // SAFETY: as in `read!`.
        unsafe {
            asm!("mov qword ptr [{0}], 0", "mov byte ptr [{0} + 8], 0", "mov word ptr [{0} + 12], 0", in(reg) at, options(nostack));
        }
        same!(read!(":r" u64, at), u64::MAX, "{address:#x}");
        same!(read!(":r" u64, at + 8), u64::MAX, "{address:#x}");
    }
    Ok(())
}

fn an_operation_on_it_sees_ones() -> Verdict {
    let at = nowhere(NOWHERE[0]);
    let mut flags: u64;
    // SAFETY: as in `read!`.
    unsafe { asm!("inc dword ptr [{}]", "pushfq", "pop {}", in(reg) at, out(reg) flags) };
    claim!(
        flags & Rflags::ZF.bits() != 0,
        "-1 + 1 is not zero: flags {flags:#x}"
    );
    // SAFETY: as in `read!`.
    unsafe { asm!("cmp dword ptr [{}], 0x7f", "pushfq", "pop {}", in(reg) at, out(reg) flags) };
    claim!(
        flags & Rflags::SF.bits() != 0 && flags & Rflags::ZF.bits() == 0,
        "flags {flags:#x}"
    );
    Ok(())
}

fn a_locked_exchange_sees_ones() -> Verdict {
    let at = nowhere(NOWHERE[2]);
    let (old, seen): (u32, u64);
    // SAFETY: as in `read!`.
    unsafe {
        asm!("lock cmpxchg [{at}], {new:e}", at = in(reg) at, new = in(reg) 5, inout("eax") 0 => old, options(nostack));
        asm!("xchg [{}], {}", in(reg) at, inout(reg) 7u64 => seen, options(nostack));
    }
    same!(old, u32::MAX);
    same!(seen, u64::MAX);
    Ok(())
}

fn a_fetch_is_an_undefined_instruction() -> Verdict {
    for &address in NOWHERE {
        let at = nowhere(address);
        // SAFETY: there is no instruction to execute.
        let by = unsafe { try_call(at, 0) };
        claim!(
            by.is_err_and(|trap| trap.rip == at),
            "{address:#x}: {by:x?}"
        );
        same!(raised(by), UD, "{address:#x}");
    }
    Ok(())
}

static PAGE: Pages<4096> = Pages::new();

fn an_access_across_the_end_of_ram_is_split() -> Verdict {
    let ram = map(1, PAGE.address() | PRESENT | WRITE);
    map(2, NOWHERE[0] | PRESENT | WRITE);
    let at = ram + PAGE_SIZE - 4;
    // SAFETY: the first four bytes are of `PAGE`, which only this claim uses, the others nowhere.
    unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) 0x1122_3344_5566_7788u64, options(nostack)) };
    same!(read!(":r" u64, at), 0xffff_ffff_5566_7788);
    // Read from memory alone, without emulation.
    same!(read!(":e" u32, PAGE.address() + PAGE_SIZE - 4), 0x5566_7788);
    Ok(())
}

fn string_move(from: u64, to: u64, count: u64) -> (u64, u64, u64) {
    let (mut rsi, mut rdi, mut rcx) = (from, to, count);
    // SAFETY: the callers' addresses are of the window or of `PAGE`.
    unsafe {
        asm!("rep movsb", inout("rsi") rsi, inout("rdi") rdi, inout("rcx") rcx, options(nostack))
    };
    (rsi - from, rdi - to, rcx)
}

fn a_string_move_out_of_it_is_ones() -> Verdict {
    let at = nowhere(NOWHERE[0]);
    // SAFETY: `PAGE` is used by this claim alone at the moment.
    unsafe { (PAGE.address() as *mut u64).write_volatile(0) };
    same!(string_move(at, PAGE.address(), 7), (7, 7, 0));
    same!(read!(":r" u64, PAGE.address()), 0x00ff_ffff_ffff_ffff);
    Ok(())
}

fn a_string_move_into_it_is_lost() -> Verdict {
    let at = nowhere(NOWHERE[0]);
    same!(string_move(PAGE.address(), at, 100), (100, 100, 0));
    same!(read!(":r" u64, at), u64::MAX);
    Ok(())
}

fn the_acpi_area_is_ram() -> Verdict {
    let at: u64 = 0xf_f000;
    // SAFETY: RAM that no table of the loader reaches and no Rust object is in.
    unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) 0x5a5au64, options(nostack)) };
    same!(read!(":r" u64, at), 0x5a5a);
    Ok(())
}

fn memory_ends_where_the_map_says() -> Verdict {
    let page = zero_page();
    let table = page.e820_table;
    let entries = table.get(..usize::from(page.e820_entries)).unwrap_or(&[]);
    let end = entries
        .iter()
        .map(|entry| entry.addr + entry.size)
        .max()
        .unwrap_or(0);
    same!(end, 16 << 20);
    same!(read!(":r" u64, nowhere(end)), u64::MAX, "behind the end");
    let at = nowhere(end - PAGE_SIZE);
    // SAFETY: the last page of RAM, which holds nothing.
    unsafe { asm!("mov [{}], {}", in(reg) at, in(reg) 0x77u64, options(nostack)) };
    same!(read!(":r" u64, at), 0x77, "before the end");
    Ok(())
}
