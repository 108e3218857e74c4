//! Attacker: translations that change under the processor. Pages of all sizes take each other's place, are moved, taken away and given
//! other rights; behind each invalidation that the manual has only what the tables say then is found, and without one that or what they
//! said before, also where either is a device, and where it is the code. A start finds no translation of the life before it.
#![no_std]
#![no_main]
// UNSAFETY: page tables, control registers, and code that is put into memory.
#![allow(unsafe_code)]

use core::arch::asm;
use guests::code::{OTHERS, READS, call, function};
use guests::paging::{PRESENT, WRITE, root};
use guests::start::Pages;
use guests::trap::{Raised, raised};
use guests::verdict::Verdict;
use guests::{attempt, claim, cpu, guest, ioapic, mmio, msr, power, same, say, uart};
use spec::PAGE_SIZE;
use spec::cpu::{Cr0, Cr4, Efer, vector};
use spec::cpuid::{EBX, ECX, EDX, Extended1Edx, Leaf1Ecx, Leaf7Ebx, leaf};
use spec::uart::{Lsr, offset};

guest!(
    a_start_finds_no_translation_of_the_life_before,
    behind_each_invalidation_only_the_tables_count,
    without_one_it_is_the_old_page_or_the_new_one,
    global_pages_go_where_the_manual_says,
    contexts_are_kept_apart_and_forgotten_by_number,
    rights_that_were_taken_away_are_gone,
    a_large_page_over_ram_and_nothing_has_both,
    code_that_moved_without_a_word_is_the_old_or_the_new,
    the_guest_does_as_told,
);

const USER: u64 = guests::paging::USER;
const LARGE: u64 = 1 << 7;
const GLOBAL: u64 = 1 << 8;
const NO_EXECUTE: u64 = 1 << 63;
const ALL: u64 = PRESENT | WRITE | USER;

/// Where our part of linear memory begins: the second entry of the first table.
const BASE: u64 = 1 << 39;
/// What is looked at: the second 2 MiB, and the sixth page of it.
const OFFSET: u64 = 0x20_5000;
const PLACE: u64 = BASE + OFFSET;

/// Page-directory pointers, a directory, a table.
static TABLES: Pages<{ 3 * 4096 }> = Pages::new();
static FRAMES: Pages<{ 2 * 4096 }> = Pages::new();

fn frame(n: u64) -> u64 {
    FRAMES.address() + n * PAGE_SIZE
}

fn put(at: u64, value: u64) {
    // SAFETY: a table or a frame of ours, or RAM that nothing else uses.
    unsafe { (at as *mut u64).write_volatile(value) };
}

fn set(table: u64, index: u64, entry: u64) {
    put(TABLES.address() + table * PAGE_SIZE + 8 * index, entry);
}

/// What can be at the place.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Maps {
    /// One of the two frames
    Small(u64),
    /// 2 MiB from here on
    Large(u64),
    /// The first 1 GiB
    Huge,
    /// A page of the I/O APIC, whose first register holds what we select
    Device,
    /// An address without memory
    Nowhere,
    /// No page
    Missing,
}

const LARGE_PAGES: [u64; 2] = [0xa0_0000, 0xc0_0000];
const SELECTED: u32 = 0x5c;

/// What a read of four bytes of the place gives.
type Read = Result<u32, Raised>;

impl Maps {
    fn all() -> impl Iterator<Item = Maps> + Clone {
        let huge = cpu::cpuid(leaf::EXTENDED_1, 0)[EDX] & Extended1Edx::PAGE_1GB.bits() != 0;
        let some = [
            Maps::Small(0),
            Maps::Small(1),
            Maps::Large(0),
            Maps::Large(1),
            Maps::Device,
            Maps::Nowhere,
            Maps::Missing,
        ];
        some.into_iter().chain(huge.then_some(Maps::Huge))
    }

    /// Writes the tables so, with these bits besides in what maps the page.
    fn set(self, bits: u64) {
        let tables = TABLES.address();
        let (directory, table) = (tables + PAGE_SIZE, tables + 2 * PAGE_SIZE);
        let small = |entry| {
            set(2, 5, entry);
            set(1, 1, table | ALL);
            set(0, 0, directory | ALL);
        };
        match self {
            Maps::Small(n) => small(frame(n) | ALL | bits),
            Maps::Device => small(ioapic::BASE | ALL | bits),
            Maps::Nowhere => small(0x5000_0000 | ALL | bits),
            Maps::Missing => small(0),
            Maps::Large(n) => {
                set(1, 1, LARGE_PAGES[n as usize] | LARGE | ALL | bits);
                set(0, 0, directory | ALL);
            }
            Maps::Huge => set(0, 0, LARGE | ALL | bits),
        }
        put(root() + 8, tables | ALL);
    }

    fn reads(self) -> Read {
        match self {
            Maps::Small(n) => Ok(0x1111 * (n as u32 + 1)),
            Maps::Large(n) => Ok(0x1_0001 * (n as u32 + 1)),
            Maps::Huge => Ok(0x2222_0000),
            Maps::Device => Ok(SELECTED),
            Maps::Nowhere => Ok(u32::MAX),
            Maps::Missing => Err(Some((vector::PF.0, 0))),
        }
    }
}

/// Puts marks where the pages lead.
fn mark() {
    for n in 0..2 {
        put(frame(n), Maps::Small(n).reads().unwrap_or(0).into());
        put(
            LARGE_PAGES[n as usize] + 0x5000,
            Maps::Large(n).reads().unwrap_or(0).into(),
        );
    }
    put(OFFSET, Maps::Huge.reads().unwrap_or(0).into());
    mmio::write32(ioapic::BASE, SELECTED);
}

fn read() -> Read {
    let value: u32;
    // SAFETY: reads, or faults.
    unsafe { attempt!("mov {v:e}, [{at}]", v = inout(reg) 0u32 => value, at = in(reg) PLACE) }
        .map_err(|trap| raised::<()>(Err(trap)))?;
    Ok(value)
}

/// A way to have the processor forget translations.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Forget {
    Page,
    Reload,
    Global,
    /// INVPCID of this type
    Context(u64),
}

fn has_invpcid() -> bool {
    cpu::cpuid(leaf::EXTENDED_FEATURES, 0)[EBX] & Leaf7Ebx::INVPCID.bits() != 0
}

impl Forget {
    fn all() -> impl Iterator<Item = Forget> + Clone {
        let contexts = if has_invpcid() { 0..4 } else { 0..0 };
        [Forget::Page, Forget::Reload, Forget::Global]
            .into_iter()
            .chain(contexts.map(Forget::Context))
    }

    fn run(self) {
        match self {
            // SAFETY: what is in use stays mapped as it is.
            Forget::Page => unsafe { asm!("invlpg [{}]", in(reg) PLACE) },
            Forget::Reload => set_cr3(cpu::cr3()),
            Forget::Global => {
                set_cr4(cpu::cr4() ^ Cr4::PGE.bits());
                set_cr4(cpu::cr4() ^ Cr4::PGE.bits());
            }
            Forget::Context(kind) => invpcid(kind, cpu::cr3() & 0xfff),
        }
    }
}

fn set_cr3(value: u64) {
    // SAFETY: the same tables.
    unsafe { asm!("mov cr3, {}", in(reg) value) };
}

fn set_cr4(value: u64) {
    // SAFETY: bits of translation alone are changed.
    unsafe { asm!("mov cr4, {}", in(reg) value) };
}

fn invpcid(kind: u64, context: u64) {
    let descriptor = [context, PLACE];
    // SAFETY: the processor has it.
    unsafe { asm!("invpcid {}, [{}]", in(reg) kind, in(reg) &descriptor, options(readonly)) };
}

fn a_start_finds_no_translation_of_the_life_before() -> Verdict {
    for page in 0..512 {
        let at = PLACE + page * PAGE_SIZE;
        // SAFETY: faults.
        let by = unsafe { attempt!("mov {at}, [{at}]", at = inout(reg) at => _) };
        same!(raised(by), Some((vector::PF.0, 0)), "{at:#x}");
        claim!(by.is_err_and(|trap| trap.cr2 == at), "{by:x?}");
    }
    Ok(())
}

fn behind_each_invalidation_only_the_tables_count() -> Verdict {
    mark();
    for forget in Forget::all() {
        for from in Maps::all() {
            for to in Maps::all() {
                from.set(0);
                Forget::Global.run();
                same!(read(), from.reads(), "{from:x?}");
                to.set(0);
                forget.run();
                same!(read(), to.reads(), "{to:x?} after {from:x?}, by {forget:?}");
            }
        }
    }
    Ok(())
}

fn without_one_it_is_the_old_page_or_the_new_one() -> Verdict {
    for from in Maps::all() {
        for to in Maps::all() {
            from.set(0);
            Forget::Global.run();
            same!(read(), from.reads(), "{from:x?}");
            to.set(0);
            for _ in 0..4 {
                let read = read();
                claim!(
                    read == from.reads() || read == to.reads(),
                    "{read:x?} between {from:x?} and {to:x?}"
                );
            }
        }
    }
    Forget::Global.run();
    Ok(())
}

fn global_pages_go_where_the_manual_says() -> Verdict {
    set_cr4(cpu::cr4() | Cr4::PGE.bits());
    let (from, to) = (Maps::Small(0), Maps::Small(1));
    for forget in Forget::all() {
        from.set(GLOBAL);
        Forget::Global.run();
        same!(read(), from.reads());
        to.set(GLOBAL);
        forget.run();
        let found = read();
        // SDM vol. 3, "Operations that Invalidate TLBs and Paging-Structure Caches".
        let may_keep = matches!(forget, Forget::Reload | Forget::Context(0 | 1 | 3));
        claim!(
            found == to.reads() || may_keep && found == from.reads(),
            "{found:x?} after {forget:?}"
        );
    }
    Forget::Global.run();
    same!(read(), to.reads());
    Ok(())
}

/// CR3's bit that keeps what is known of a context.
const KEEP: u64 = 1 << 63;

fn contexts_are_kept_apart_and_forgotten_by_number() -> Verdict {
    if cpu::cpuid(leaf::FEATURES, 0)[ECX] & Leaf1Ecx::PCID.bits() == 0 {
        return Ok(());
    }
    let (plain, paged) = (cpu::cr4(), cpu::cr4() | Cr4::PCIDE.bits());
    let (first, second) = (root() | 1, root() | 2);
    let (from, to) = (Maps::Small(0), Maps::Small(1));
    // SDM vol. 3, "Process-Context Identifiers (PCIDs)": only with context 0 may they be switched on.
    set_cr3(root() | 8);
    // SAFETY: faults.
    let by = unsafe { attempt!("mov cr4, {value}", value = in(reg) paged) };
    set_cr3(root());
    same!(raised(by), Some((vector::GP.0, 0)));
    set_cr4(paged);
    for round in 0..if has_invpcid() { 5 } else { 1 } {
        from.set(0);
        set_cr3(first);
        same!(read(), from.reads());
        set_cr3(second | KEEP);
        to.set(0);
        let found = read();
        claim!(found == from.reads() || found == to.reads(), "{found:x?}");
        set_cr3(second);
        same!(read(), to.reads(), "the second context");
        match round {
            // What the second forgot is not the first's.
            0 => {
                set_cr3(first | KEEP);
                let found = read();
                claim!(found == from.reads() || found == to.reads(), "{found:x?}");
                set_cr3(first);
            }
            by => {
                // From outside it, for the first context.
                invpcid(by - 1, 1);
                set_cr3(first | KEEP);
            }
        }
        same!(read(), to.reads(), "the first context in round {round}");
    }
    set_cr3(root());
    set_cr4(plain);
    Ok(())
}

fn rights_that_were_taken_away_are_gone() -> Verdict {
    let cr0 = cpu::cr0();
    let efer = msr::read(spec::msr::EFER)?;
    // SAFETY: no table or code of this guest is read-only.
    unsafe { asm!("mov cr0, {}", in(reg) cr0 | Cr0::WP.bits()) };
    msr::write(spec::msr::EFER, efer | Efer::NXE.bits())?;
    // RET
    put(frame(0), 0xc3);
    for forget in Forget::all() {
        Maps::Small(0).set(0);
        forget.run();
        // SAFETY: a frame of ours that holds a function.
        unsafe {
            asm!("mov byte ptr [{at} + 8], 1", "call {at}", at = in(reg) PLACE);
        }
        set(2, 5, frame(0) | PRESENT | USER | NO_EXECUTE);
        forget.run();
        // SAFETY: faults.
        let by = unsafe { attempt!("mov byte ptr [{at} + 8], 1", at = in(reg) PLACE) };
        same!(
            raised(by),
            Some((vector::PF.0, 3)),
            "a write, by {forget:?}"
        );
        same!(
            run(),
            Err(Some((vector::PF.0, 0x11))),
            "a fetch, by {forget:?}"
        );
    }
    msr::write(spec::msr::EFER, efer)?;
    // SAFETY: as it was.
    unsafe { asm!("mov cr0, {}", in(reg) cr0) };
    mark();
    Ok(())
}

fn a_large_page_over_ram_and_nothing_has_both() -> Verdict {
    let at = |offset: u64| (BASE + offset) as *const u64;
    let huge = Maps::all().any(|maps| maps == Maps::Huge);
    for huge in [false, huge] {
        if huge {
            Maps::Huge.set(0);
        } else {
            Maps::Missing.set(0);
            set(1, 0, LARGE | ALL);
        }
        Forget::Global.run();
        for (offset, is_ram) in [
            (0x9_fff8, true),
            (0xa_0000, false),
            (0xd_fff8, false),
            (0xf_f000, true),
            (0x1f_fff8, true),
        ] {
            put(offset, 0x1234_5678);
            // SAFETY: reads.
            let found = unsafe { at(offset).read_volatile() };
            same!(
                found,
                if is_ram { 0x1234_5678 } else { u64::MAX },
                "{offset:#x}"
            );
        }
        if huge {
            for offset in [0x100_0000, 0x3fff_fff8] {
                // SAFETY: reads.
                let found = unsafe { at(offset).read_volatile() };
                same!(found, u64::MAX, "{offset:#x}");
            }
        }
    }
    Maps::Missing.set(0);
    set(1, 0, 0);
    Forget::Global.run();
    Ok(())
}

/// Calls what is at the place.
fn run() -> Read {
    // SAFETY: one of the functions of `code`, or no page.
    unsafe { call(PLACE, ioapic::BASE) }
}

fn code_that_moved_without_a_word_is_the_old_or_the_new() -> Verdict {
    mark();
    put(frame(0), function(READS));
    for (code, gives) in OTHERS {
        for round in 0..8 {
            put(frame(1), function(code));
            Maps::Small(0).set(0);
            Forget::Global.run();
            mmio::write32(ioapic::BASE, SELECTED);
            same!(run(), Ok(SELECTED), "the first code");
            Maps::Small(1).set(0);
            // A device is read under a translation of its code that the tables have no more.
            let found = run();
            claim!(
                found == Ok(SELECTED) || found == gives,
                "{found:x?} of {code:x?} in round {round}"
            );
            Forget::Page.run();
            same!(run(), gives, "{code:x?}");
        }
    }
    Maps::Missing.set(0);
    Forget::Global.run();
    Ok(())
}

/// The processor has translations of all that can be at the place and behind it when it ends.
fn the_guest_does_as_told() -> Verdict {
    Maps::Small(0).set(GLOBAL);
    for page in 0..512 {
        set(2, page, frame(page & 1) | ALL | GLOBAL);
        // SAFETY: reads.
        unsafe { ((BASE + 0x20_0000 + page * PAGE_SIZE) as *const u64).read_volatile() };
    }
    say!("guest: what now?");
    while uart::read(offset::LSR) & Lsr::DATA.bits() == 0 {}
    if uart::read(offset::DATA) == b'r' {
        power::reset();
    }
    Ok(())
}
