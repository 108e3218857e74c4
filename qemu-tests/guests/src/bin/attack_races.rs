//! Attacker: a second processor changes values, translations and code between the hypervisor's check of them and its use. Each answer is
//! one that one of the two gives, and no more than that is done; however often it is tried, the VM goes on.
#![no_std]
#![no_main]
// UNSAFETY: memory that two processors write, page tables among it, and code.
#![allow(unsafe_code)]

use core::arch::asm;
use core::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use guests::code::{CONSTANT, OTHERS, READS, call, function};
use guests::paging::{PRESENT, USER, WRITE, map};
use guests::smp::{self, ASSERT};
use guests::start::Pages;
use guests::trap::{Raised, UD, raised};
use guests::verdict::{Verdict, figure};
use guests::{attempt, claim, cpu, guest, interrupt, ioapic, lapic, mmio, paging, port, same};
use spec::PAGE_SIZE;
use spec::apic::register;
use spec::cpu::vector;

guest!(
    a_second_processor_comes_up,
    outs_writes_one_of_two_values_whole,
    ins_stores_its_value_whole,
    a_string_move_to_a_device_takes_one_of_two_values_whole,
    an_exchange_with_nothing_leaves_memory_whole,
    a_page_that_is_ram_or_a_device_is_one_of_them,
    a_page_that_comes_and_goes_is_there_or_faults,
    a_table_that_comes_and_goes_is_there_or_faults,
    code_is_that_of_one_moment,
    code_whose_page_comes_and_goes_runs_or_faults,
    code_in_two_pages_of_which_one_comes_and_goes_runs_or_faults,
    a_command_in_two_writes_has_one_of_two_vectors,
    a_string_of_many_elements_ends_where_it_should,
);

const ADDRESS: u16 = 0xcf8;
/// Two words without a byte in common, of which PCI's address register keeps all bits, and device registers eight.
const A: u64 = 0x8011_2254;
const B: u64 = 0x8066_7798;

/// How often each is tried.
const TRIES: u64 = 800;
const PAGE: usize = 40;

static SHARED: Pages<{ 3 * 4096 }> = Pages::new();

fn shared(n: u64) -> u64 {
    SHARED.address() + n * PAGE_SIZE
}

fn put(at: u64, value: u64) {
    // SAFETY: of the shared pages, or an entry of the window's table.
    unsafe { (at as *mut u64).write_volatile(value) };
}

fn put32(at: u64, value: u32) {
    // SAFETY: of the shared pages.
    unsafe { (at as *mut u32).write_volatile(value) };
}

fn get32(at: u64) -> u32 {
    // SAFETY: of the shared pages.
    unsafe { (at as *const u32).read_volatile() }
}

/// What the second processor turns over: a place, between two values, until it is told to stop.
static PLACE: AtomicU64 = AtomicU64::new(0);
static VALUES: [AtomicU64; 2] = [const { AtomicU64::new(0) }; 2];
static STOP: AtomicBool = AtomicBool::new(false);
/// The place has four bytes, or eight.
static NARROW: AtomicBool = AtomicBool::new(false);

fn turn_over(_: u64) -> u64 {
    let place = PLACE.load(Ordering::Relaxed);
    let [a, b] = [0, 1].map(|n: usize| VALUES[n].load(Ordering::Relaxed));
    let narrow = NARROW.load(Ordering::Relaxed);
    let mut turns = 0;
    while !STOP.load(Ordering::Relaxed) {
        for value in [a, b] {
            if narrow {
                put32(place, value as u32);
            } else {
                put(place, value);
            }
            // Not in step with the other, whose tries all take as long.
            for _ in 0..turns % 7 {
                core::hint::spin_loop();
            }
            turns += 1;
        }
    }
    turns
}

/// Tries something while the place is turned over.
#[track_caller]
fn while_turned(
    place: u64,
    narrow: bool,
    values: [u64; 2],
    mut attempt: impl FnMut(u64) -> Verdict,
) -> Verdict {
    PLACE.store(place, Ordering::Relaxed);
    NARROW.store(narrow, Ordering::Relaxed);
    for (value, slot) in values.into_iter().zip(&VALUES) {
        slot.store(value, Ordering::Relaxed);
    }
    if narrow {
        put32(place, values[0] as u32);
    } else {
        put(place, values[0]);
    }
    STOP.store(false, Ordering::Relaxed);
    smp::begin(1, turn_over, 0);
    let all = (0..TRIES).try_for_each(&mut attempt);
    STOP.store(true, Ordering::Relaxed);
    let turns = smp::end(1)?;
    all?;
    claim!(turns > 100, "the other came to {turns} turns");
    Ok(())
}

fn a_second_processor_comes_up() -> Verdict {
    lapic::enable()?;
    smp::start()?;
    same!(smp::count(), 2);
    Ok(())
}

fn outs_writes_one_of_two_values_whole() -> Verdict {
    let (at, mut seen) = (shared(0) + 64, [0u64; 2]);
    while_turned(at, true, [A, B], |_| {
        let (mut rsi, mut rcx) = (at, 1u64);
        // SAFETY: reads the shared page.
        unsafe {
            asm!("rep outsd", inout("rsi") rsi, inout("rcx") rcx, in("dx") ADDRESS, options(nostack))
        };
        let found = u64::from(port::in32(ADDRESS));
        claim!(found == A || found == B, "{found:#x}");
        same!((rsi, rcx), (at + 4, 0));
        seen[usize::from(found == B)] += 1;
        Ok(())
    })?;
    port::out32(ADDRESS, 0);
    figure("outs_of_the_first", seen[0]);
    claim!(seen[0] > 0 && seen[1] > 0, "{seen:?}: there was no race");
    Ok(())
}

/// Seen by the second processor, which says how often it saw neither.
fn look(_: u64) -> u64 {
    let place = PLACE.load(Ordering::Relaxed);
    let mut wrong = 0;
    while !STOP.load(Ordering::Relaxed) {
        let found = u64::from(get32(place));
        wrong += u64::from(found != A && found != B);
    }
    wrong
}

fn ins_stores_its_value_whole() -> Verdict {
    let at = shared(0) + 128;
    put32(at, A as u32);
    PLACE.store(at, Ordering::Relaxed);
    STOP.store(false, Ordering::Relaxed);
    smp::begin(1, look, 0);
    for round in 0..TRIES {
        port::out32(ADDRESS, if round % 2 == 0 { B } else { A } as u32);
        // SAFETY: writes the shared page.
        unsafe { asm!("insd", inout("rdi") at => _, in("dx") ADDRESS, options(nostack)) };
    }
    STOP.store(true, Ordering::Relaxed);
    same!(smp::end(1)?, 0, "how often a half of each was seen");
    port::out32(ADDRESS, 0);
    Ok(())
}

fn a_string_move_to_a_device_takes_one_of_two_values_whole() -> Verdict {
    // An entry of the I/O APIC, all bits of which in the first half can be written but three: masked, vector, mode.
    const WRITABLE: u64 = 0x1_afff;
    mmio::write32(ioapic::BASE, 0x10 + 2 * 9);
    let window = ioapic::BASE + 0x10;
    let at = shared(0) + 192;
    let values = [0x1_0054u64, 0x1_a8ab];
    while_turned(at, true, values, |_| {
        // SAFETY: reads the shared page, writes a masked entry.
        unsafe { asm!("movsd", inout("rsi") at => _, inout("rdi") window => _, options(nostack)) };
        let found = u64::from(mmio::read32(window)) & WRITABLE;
        claim!(values.contains(&found), "{found:#x}");
        Ok(())
    })?;
    mmio::write32(window, 0x1_0000);
    Ok(())
}

fn an_exchange_with_nothing_leaves_memory_whole() -> Verdict {
    // PUSH of a device's register and POP to one go by both, and MOVS from nothing stores ones.
    let nothing = map(PAGE, 0x5000_0000 | PRESENT | WRITE);
    let at = shared(0) + 256;
    while_turned(at, false, [A << 32 | A, B << 32 | B], |_| {
        let mut found = 0u64;
        let to = &raw mut found;
        // SAFETY: reads the shared page and nothing, writes nothing and a word of our own.
        unsafe {
            asm!("movsq", inout("rsi") at => _, inout("rdi") nothing => _, options(nostack));
            asm!("push qword ptr [{at}]", "pop qword ptr [{nothing}]", "push qword ptr [{nothing}]", "pop qword ptr [{to}]",
                at = in(reg) at, nothing = in(reg) nothing, to = in(reg) to);
        }
        // SAFETY: a word of our own.
        same!(unsafe { to.read_volatile() }, u64::MAX);
        Ok(())
    })
}

/// What a read of four bytes gives, or raises.
type Read = Result<u32, Raised>;

fn read(at: u64) -> Read {
    let value: u32;
    // SAFETY: reads, or faults.
    unsafe { attempt!("mov {v:e}, [{at}]", v = inout(reg) 0u32 => value, at = in(reg) at) }
        .map_err(|trap| raised::<()>(Err(trap)))?;
    Ok(value)
}

const RAM: u32 = 0x5151_5151;
const SELECTED: u32 = 0x2b;

/// The entry of the window's page.
fn entry() -> u64 {
    paging::entry_address(PAGE)
}

fn a_page_that_is_ram_or_a_device_is_one_of_them() -> Verdict {
    put(shared(1), u64::from(RAM));
    let (ram, device) = (
        shared(1) | PRESENT | WRITE | USER,
        ioapic::BASE | PRESENT | WRITE | USER,
    );
    let at = map(PAGE, device);
    let mut seen = [0u64; 2];
    while_turned(entry(), false, [ram, device], |round| {
        mmio::write32(ioapic::BASE, SELECTED);
        if round % 4 == 0 {
            paging::forget(PAGE);
        }
        let found = read(at);
        claim!(found == Ok(RAM) || found == Ok(SELECTED), "{found:x?}");
        seen[usize::from(found == Ok(RAM))] += 1;
        // A write goes to one of them: a number that both take.
        // SAFETY: the shared page, or the register that selects.
        unsafe { asm!("mov [{}], {:e}", in(reg) at, in(reg) 0x77u32, options(nostack)) };
        let (in_ram, in_device) = (get32(shared(1)), mmio::read32(ioapic::BASE));
        claim!(
            (in_ram, in_device) == (0x77, SELECTED) || (in_ram, in_device) == (RAM, 0x77),
            "{in_ram:#x} in RAM, {in_device:#x} in the device"
        );
        put32(shared(1), RAM);
        Ok(())
    })?;
    claim!(seen[0] > 0 && seen[1] > 0, "{seen:?}: there was no race");
    Ok(())
}

const MISSING: Read = Err(Some((vector::PF.0, 0)));

fn a_page_that_comes_and_goes_is_there_or_faults() -> Verdict {
    mmio::write32(ioapic::BASE, SELECTED);
    let at = map(PAGE, 0);
    while_turned(
        entry(),
        false,
        [ioapic::BASE | PRESENT | WRITE | USER, 0],
        |_| {
            paging::forget(PAGE);
            let found = read(at);
            claim!(found == Ok(SELECTED) || found == MISSING, "{found:x?}");
            // A string out of it and into it, whose pages are looked for by the hypervisor.
            let (mut rsi, mut rcx) = (at, 4u64);
            // SAFETY: reads the page, or faults.
            let by =
                unsafe { attempt!("rep outsb", inout("rsi") rsi, inout("rcx") rcx, in("dx") 0x80) };
            claim!(
                raised(by).is_none() || raised(by) == Some((vector::PF.0, 0)),
                "{by:x?}"
            );
            same!(rsi - at + rcx, 4, "OUTS at {rsi:#x}");
            same!(by.is_ok(), rcx == 0, "OUTS at {rsi:#x}");
            Ok(())
        },
    )
}

fn a_table_that_comes_and_goes_is_there_or_faults() -> Verdict {
    // The directory's entry of the window is turned over between its table and another one, which is empty.
    mmio::write32(ioapic::BASE, SELECTED);
    let at = map(PAGE, ioapic::BASE | PRESENT | WRITE | USER);
    let (place, table) = paging::window_entry();
    // SAFETY: the shared page is a table of nothing.
    unsafe { core::ptr::write_bytes(shared(2) as *mut u8, 0, PAGE_SIZE as usize) };
    let empty = shared(2) | PRESENT | WRITE | USER;
    let tried = while_turned(place, false, [table, empty], |_| {
        paging::forget(PAGE);
        let found = read(at);
        claim!(found == Ok(SELECTED) || found == MISSING, "{found:x?}");
        Ok(())
    });
    put(place, table);
    paging::forget(PAGE);
    tried
}

/// Calls what is there.
fn run(at: u64) -> Read {
    // SAFETY: whatever of the two it is.
    unsafe { call(at, ioapic::BASE) }
}

fn code_is_that_of_one_moment() -> Verdict {
    for (code, gives) in OTHERS {
        let mut seen = [0u64; 2];
        let values = [function(READS), function(code)];
        while_turned(shared(1), false, values, |_| {
            mmio::write32(ioapic::BASE, SELECTED);
            let found = run(shared(1));
            claim!(
                found == Ok(SELECTED) || found == gives,
                "{found:x?} of {code:x?}"
            );
            seen[usize::from(found == gives)] += 1;
            Ok(())
        })?;
        claim!(seen[0] > 0 && seen[1] > 0, "{seen:?}: there was no race");
    }
    Ok(())
}

fn code_whose_page_comes_and_goes_runs_or_faults() -> Verdict {
    put(shared(1), function(READS));
    put(shared(2), function(OTHERS[1].0));
    let page = |frame: u64| frame | PRESENT | WRITE | USER;
    let at = map(PAGE, 0);
    // Gone; other code; an address without memory, where a fetch finds no instruction.
    for (other, gives) in [
        (0, MISSING),
        (page(shared(2)), Ok(CONSTANT)),
        (page(0x5000_0000), Err(UD)),
    ] {
        while_turned(entry(), false, [page(shared(1)), other], |_| {
            paging::forget(PAGE);
            mmio::write32(ioapic::BASE, SELECTED);
            let found = run(at);
            // The page may go between its two instructions.
            claim!(
                found == Ok(SELECTED) || found == gives,
                "{found:x?} beside {gives:x?}"
            );
            Ok(())
        })?;
    }
    let _ = map(PAGE, 0);
    Ok(())
}

fn code_in_two_pages_of_which_one_comes_and_goes_runs_or_faults() -> Verdict {
    let page = |frame: u64| frame | PRESENT | WRITE | USER;
    let second = map(PAGE + 1, 0);
    let _ = map(PAGE, page(shared(1)));
    let [a, b] = READS;
    let write = || {
        // SAFETY: the last byte of a shared page.
        unsafe { ((shared(1) + PAGE_SIZE - 1) as *mut u8).write_volatile(a) };
        // The other byte and RET; one that makes another instruction of it, MOV EAX, [RDX]
        put(shared(2), u64::from_le_bytes([b, 0xc3, 0, 0, 0, 0, 0, 0]));
        put(
            shared(0),
            u64::from_le_bytes([0x02, 0xc3, 0, 0, 0, 0, 0, 0]),
        );
    };
    for (other, gives) in [
        (0, MISSING),
        (page(shared(0)), Ok(CONSTANT)),
        (page(0x5000_0000), Err(UD)),
    ] {
        // Bochs 3.0 keeps such an instruction by the address of its first byte until one of its pages is written to, wherever the second
        // leads by then (its `cpu/icache.cc`).
        write();
        let entry = paging::entry_address(PAGE + 1);
        while_turned(entry, false, [page(shared(2)), other], |_| {
            paging::forget(PAGE + 1);
            mmio::write32(ioapic::BASE, SELECTED);
            let found = run(second - 1);
            claim!(
                found == Ok(SELECTED) || found == gives,
                "{found:x?} beside {gives:x?}"
            );
            Ok(())
        })?;
    }
    let _ = (map(PAGE, 0), map(PAGE + 1, 0));
    Ok(())
}

const VECTORS: [u8; 2] = [0x51, 0xa2];

fn a_command_in_two_writes_has_one_of_two_vectors() -> Verdict {
    interrupt::forget();
    let at = shared(0) + 320;
    let commands = VECTORS.map(|vector| u64::from(ASSERT | 1 << 18 | u32::from(vector)));
    let command = lapic::address_of(register::ICR);
    let mut came = 0;
    while_turned(at, true, commands, |_| {
        // To oneself, by the shorthand, from memory to the register.
        // SAFETY: reads the shared page, sends an interrupt that is counted.
        unsafe { asm!("movsd", inout("rsi") at => _, inout("rdi") command => _, options(nostack)) };
        cpu::sti();
        cpu::cli();
        came += 1;
        let counts = VECTORS.map(interrupt::count);
        same!(counts[0] + counts[1], came, "{counts:?}");
        same!((0..=u8::MAX).map(interrupt::count).sum::<u64>(), came);
        Ok(())
    })
}

fn a_string_of_many_elements_ends_where_it_should() -> Verdict {
    // Its page is taken away and given back meanwhile, and what it has done is what its registers say.
    let frame = shared(1) | PRESENT | WRITE | USER;
    let at = map(PAGE, frame);
    while_turned(entry(), false, [frame, 0], |round| {
        if round % 16 != 0 {
            return Ok(());
        }
        // SAFETY: of the shared page.
        unsafe { core::ptr::write_bytes(shared(1) as *mut u8, 0, PAGE_SIZE as usize) };
        let (mut rdi, mut rcx) = (at, 256u64);
        // SAFETY: writes the shared page, or faults.
        let by = unsafe { attempt!("rep insb", inout("rdi") rdi, inout("rcx") rcx, in("dx") 0x80) };
        claim!(
            raised(by).is_none() || raised(by) == Some((vector::PF.0, 2)),
            "{by:x?}"
        );
        let done = rdi - at;
        same!(done + rcx, 256);
        same!(by.is_ok(), rcx == 0);
        for n in 0..PAGE_SIZE {
            // SAFETY: of the shared page.
            let byte = unsafe { ((shared(1) + n) as *const u8).read_volatile() };
            same!(byte, if n < done { 0xff } else { 0 }, "byte {n} of {done}");
        }
        Ok(())
    })?;
    let _ = map(PAGE, 0);
    Ok(())
}
