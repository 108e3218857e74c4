//! Attacks with guest-physical addresses where nothing is, in all that takes one: CR3, entries of page tables, the APIC's base, tables of
//! descriptors, stacks.
//!
//! What the processor itself would have to read or write there on its way cannot be carried on: it ends this VM, with a report.
#![no_std]
#![no_main]
// UNSAFETY: loads registers with what must fault, or ends the machine.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::legacy::{self, Mode, Registers};
use guests::paging::{PRESENT, USER, WRITE, map_at};
use guests::probe::{PLACE, State, gpr};
use guests::segments::{Pointer, USER_CODE, USER_DATA};
use guests::trap::{GP0, UD, raised};
use guests::verdict::Verdict;
use guests::{attacker, attempt, claim, cpu, msr, same};
use spec::cpuid::{EAX, leaf};

attacker!(
    [
        ("cr3", wild_cr3 as fn()),
        ("table", wild_table),
        ("pointers", wild_pointers),
        ("gdt", wild_gdt),
        ("idt", wild_idt),
        ("stack", wild_stack),
        ("frame", wild_frame),
        ("state", wild_state),
    ];
    cr3_has_no_address_beyond_the_processors,
    cr3_keeps_what_it_had,
    pointers_of_pae_are_checked,
    tables_of_32_bit_paging_may_be_anywhere_below_4_gib,
    the_apic_stays_where_it_is,
    entries_with_any_frame_lead_to_nothing,
    code_of_ring_3_where_nothing_is,
    moves_between_two_places_where_nothing_is,
);

const ALL: u64 = PRESENT | WRITE | USER;
const WINDOW: u64 = 0x4000_0000;
/// Where nothing is: beyond RAM, the last page below 4 GiB but for firmware, and that above it.
const NOWHERE: u64 = 0x5000_0000;

/// Bits of a physical address.
fn width() -> u32 {
    cpu::cpuid(leaf::ADDRESS_SIZES, 0)[EAX] & 0xff
}

fn set_cr3(value: u64) -> Result<(), guests::trap::Trap> {
    // SAFETY: faults, or is what it was.
    unsafe { attempt!("mov cr3, {v}", v = in(reg) value) }
}

fn cr3_has_no_address_beyond_the_processors() -> Verdict {
    let before = cpu::cr3();
    for bit in width()..64 {
        same!(raised(set_cr3(before | 1 << bit)), GP0, "bit {bit}");
        same!(cpu::cr3(), before);
    }
    Ok(())
}

fn cr3_keeps_what_it_had() -> Verdict {
    let before = cpu::cr3();
    // PWT and PCD; the others of the low twelve are ignored.
    for bit in 0..12 {
        same!(raised(set_cr3(before | 1 << bit)), None, "bit {bit}");
        let _ = cpu::cpuid(0, 0);
        same!(cpu::cr3() & !0xfff, before & !0xfff);
    }
    same!(raised(set_cr3(before)), None);
    Ok(())
}

/// In protected mode: CR3 becomes EAX and CR4 EDX, then paging is switched on and off.
const PAGE: &[u8] = &[
    0x0f, 0x22, 0xe2, 0x0f, 0x22, 0xd8, 0x0f, 0x20, 0xc0, 0x89, 0xc1, 0x0d, 0x00, 0x00, 0x00, 0x80,
    0x0f, 0x22, 0xc0, 0x89, 0xc8, 0x0f, 0x22, 0xc0,
];

fn pointers_of_pae_are_checked() -> Verdict {
    let pae = cpu::cr4() as u32 | 1 << 5;
    let registers = Registers {
        eax: legacy::SCRATCH as u32,
        edx: pae,
        ..Registers::default()
    };
    let bits = [1, 2, 5, 6, 7, 8, 63].into_iter().chain(width()..63);
    for bit in bits {
        for n in 0..4 {
            let entry = if n == 3 { PRESENT | 1 << bit } else { 0 };
            guests::probe::put(legacy::SCRATCH + 8 * n, &entry.to_le_bytes());
        }
        // #GP(0) at the move to CR0.
        let found = legacy::run(Mode::Protected, registers, PAGE);
        same!((found.raised, found.at), (GP0, 16), "bit {bit}");
    }
    Ok(())
}

/// Pointers of PAE where nothing is.
fn wild_pointers() {
    let pae = cpu::cr4() as u32 | 1 << 5;
    let registers = Registers {
        eax: NOWHERE as u32,
        edx: pae,
        ..Registers::default()
    };
    let _ = legacy::run(Mode::Protected, registers, PAGE);
}

fn tables_of_32_bit_paging_may_be_anywhere_below_4_gib() -> Verdict {
    // A directory of 4 MiB pages: the first is one to one, all others have frames where nothing is.
    for n in 0..1024 {
        let entry: u32 = if n == 0 { 0x83 } else { 0x5000_0083 };
        guests::probe::put(legacy::SCRATCH + 4 * n, &entry.to_le_bytes());
    }
    let plain = cpu::cr4() as u32 & !(1 << 5) | 1 << 4;
    let registers = Registers {
        eax: legacy::SCRATCH as u32,
        edx: plain,
        index: 0x8000_0000,
        ..Registers::default()
    };
    // MOV EBP, [EDI] in between.
    let mut code = [0; 26];
    code[..19].copy_from_slice(&PAGE[..19]);
    code[19..21].copy_from_slice(&[0x8b, 0x2f]);
    code[21..26].copy_from_slice(&PAGE[19..]);
    let found = legacy::run(Mode::Protected, registers, &code);
    same!(found.raised, None);
    Ok(())
}

fn the_apic_stays_where_it_is() -> Verdict {
    let before = msr::read(spec::msr::APIC_BASE)?;
    for bit in 12..52 {
        let written = msr::write(spec::msr::APIC_BASE, before ^ 1 << bit);
        same!(raised(written), GP0, "bit {bit}");
        same!(msr::read(spec::msr::APIC_BASE)?, before);
    }
    Ok(())
}

fn entries_with_any_frame_lead_to_nothing() -> Verdict {
    let nothing = [NOWHERE, 0xa_0000, 0x100_0000, 0xfed0_0000, 0xffff_f000];
    let high = (32..width()).map(|bit| 1 << bit);
    for frame in nothing.into_iter().chain(high) {
        map_at(WINDOW, frame | ALL);
        let state = State::new().with(gpr::RBX, WINDOW);
        // ADD [RBX], EAX; MOV EAX, [RBX]
        let found = state.run(&[0x01, 0x03, 0x8b, 0x03]);
        same!(
            (found.raised(), found.gprs[gpr::RAX]),
            (None, 0xffff_ffff),
            "{frame:#x}"
        );
    }
    Ok(())
}

fn code_of_ring_3_where_nothing_is() -> Verdict {
    map_at(WINDOW, NOWHERE | ALL);
    let state = State {
        rip: WINDOW + 0x10,
        ..State::new().within(USER_CODE, USER_DATA)
    };
    let found = state.go();
    // FF FF is no instruction.
    same!((found.raised(), found.rip), (UD, WINDOW + 0x10));
    Ok(())
}

fn moves_between_two_places_where_nothing_is() -> Verdict {
    map_at(WINDOW, NOWHERE | ALL);
    map_at(WINDOW + 0x1000, (NOWHERE + 0x5000) | ALL);
    let state = State::new().with(gpr::RSI, WINDOW + 0xff0);
    let state = state.with(gpr::RDI, WINDOW + 0x1ff0).with(gpr::RCX, 16);
    let found = state.run(&[0xf3, 0xa4]);
    same!(found.raised(), None);
    let ends = [gpr::RSI, gpr::RDI, gpr::RCX].map(|register| found.gprs[register]);
    same!(ends, [WINDOW + 0x1000, WINDOW + 0x2000, 0]);
    claim!(PLACE.address() != 0, "there is code");
    Ok(())
}

fn wild_cr3() {
    let _ = set_cr3(NOWHERE);
}

fn wild_table() {
    let root = guests::paging::root() as *mut u64;
    // SAFETY: the end.
    unsafe {
        root.add(1).write_volatile(NOWHERE | ALL);
        asm!("mov al, [{}]", in(reg) 1u64 << 39, out("al") _);
    }
}

fn wild_gdt() {
    map_at(WINDOW, NOWHERE | ALL);
    let pointer = Pointer::new(WINDOW, 128);
    // SAFETY: the end.
    unsafe { asm!("lgdt [{}]", "mov ds, {:e}", in(reg) &raw const pointer, in(reg) 0x10) };
}

fn wild_idt() {
    map_at(WINDOW, NOWHERE | ALL);
    let pointer = Pointer::new(WINDOW, 4096);
    // SAFETY: the end.
    unsafe { asm!("lidt [{}]", "ud2", in(reg) &raw const pointer) };
}

fn wild_stack() {
    map_at(WINDOW, NOWHERE | ALL);
    // SAFETY: the end.
    unsafe { asm!("mov rsp, {}", "push rax", in(reg) WINDOW + 0x100) };
}

/// The stack of an exception.
fn wild_frame() {
    map_at(WINDOW, NOWHERE | ALL);
    // SAFETY: the end.
    unsafe { asm!("mov rsp, {}", "ud2", in(reg) WINDOW + 0x100) };
}

/// More than the emulator knows to move.
fn wild_state() {
    map_at(WINDOW, NOWHERE | ALL);
    // SAFETY: the end.
    unsafe { asm!("fxsave64 [{}]", in(reg) WINDOW + 0x100) };
}
