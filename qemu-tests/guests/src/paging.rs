//! Page tables: the first 4 GiB one to one, open to ring 3, and a window of small pages at 4 GiB.
// UNSAFETY: page-table entries, and CR3.
#![allow(unsafe_code)]

use crate::start::Pages;
use core::arch::asm;
use core::sync::atomic::{AtomicU64, Ordering};
use spec::PAGE_SIZE;

/// The first address of the window, which has 512 pages.
pub const WINDOW: u64 = 4 << 30;

/// The page is there
pub const PRESENT: u64 = 1 << 0;
/// It may be written
pub const WRITE: u64 = 1 << 1;
/// Ring 3 may use it
pub const USER: u64 = 1 << 2;
/// A bit that must be zero: beyond the processor's physical addresses
pub const RESERVED: u64 = 1 << 51;
const LARGE: u64 = 1 << 7;

pub(crate) static PML4: Pages<4096> = Pages::new();
static PDPT: Pages<4096> = Pages::new();
static DIRECTORIES: Pages<{ 5 * 4096 }> = Pages::new();
static TABLE: Pages<4096> = Pages::new();

/// Writes entry `index` of the table at `table`, which is one of the above.
fn set<const SIZE: usize>(table: &Pages<SIZE>, index: usize, entry: u64) {
    assert!(index < SIZE / 8);
    // SAFETY: within the table; what is mapped one to one never changes after `enter`.
    unsafe {
        (table.address() as *mut u64)
            .add(index)
            .write_volatile(entry)
    };
}

/// Makes the tables and goes over to them.
pub(crate) fn enter() {
    const ALL: u64 = PRESENT | WRITE | USER;
    set(&PML4, 0, PDPT.address() | ALL);
    for n in 0..5 {
        set(
            &PDPT,
            n,
            (DIRECTORIES.address() + n as u64 * PAGE_SIZE) | ALL,
        );
    }
    for n in 0..4 * 512 {
        set(&DIRECTORIES, n, (n as u64) << 21 | LARGE | ALL);
    }
    set(&DIRECTORIES, 4 * 512, TABLE.address() | ALL);
    // SAFETY: all that is in use stays where it was.
    unsafe { asm!("mov cr3, {}", in(reg) PML4.address()) };
}

/// The physical address of the tables, as CR3 has it.
#[must_use]
pub fn root() -> u64 {
    PML4.address()
}

/// Maps a page of the window, and says where it is.
pub fn map(page: usize, entry: u64) -> u64 {
    set(&TABLE, page, entry);
    forget(page);
    WINDOW + page as u64 * PAGE_SIZE
}

/// Has this processor forget what it knows of a page of the window.
pub fn forget(page: usize) {
    let linear = WINDOW + page as u64 * PAGE_SIZE;
    // SAFETY: the window holds nothing that the compiler knows of.
    unsafe { asm!("invlpg [{}]", in(reg) linear) };
}

/// Further tables, for [`map_at`], each taken once.
const SPARE_TABLES: u64 = 12;
static SPARE: Pages<{ SPARE_TABLES as usize * 4096 }> = Pages::new();
static TAKEN: AtomicU64 = AtomicU64::new(0);

/// Where the last entry of a canonical address is; tables are made on the way, and large pages split.
fn last_entry(linear: u64) -> *mut u64 {
    const FRAME: u64 = 0x000f_ffff_ffff_f000;
    let mut table = PML4.address();
    for shift in [39, 30, 21] {
        let slot = (table + (linear >> shift & 511) * 8) as *mut u64;
        // SAFETY: all tables are ours, and lie where they are mapped.
        let found = unsafe { slot.read_volatile() };
        if found & PRESENT != 0 && found & LARGE == 0 {
            table = found & FRAME;
            continue;
        }
        let number = TAKEN.fetch_add(1, Ordering::Relaxed);
        assert!(number < SPARE_TABLES, "no table is left");
        table = SPARE.address() + number * PAGE_SIZE;
        for n in 0..512 {
            let part = found & !LARGE | n << 12;
            let part = if found & PRESENT == 0 { 0 } else { part };
            // SAFETY: as above; it is in use when it is filled.
            unsafe { ((table + n * 8) as *mut u64).write_volatile(part) };
        }
        // SAFETY: as above.
        unsafe { slot.write_volatile(table | PRESENT | WRITE | USER) };
    }
    (table + (linear >> 12 & 511) * 8) as *mut u64
}

/// Maps a small page anywhere. What the guest itself runs on has to stay.
pub fn map_at(linear: u64, entry: u64) {
    // SAFETY: in a table of ours; the caller keeps what is in use.
    unsafe { last_entry(linear).write_volatile(entry) };
    // SAFETY: forgets a translation.
    unsafe { asm!("invlpg [{}]", in(reg) linear) };
}

/// The entry of a small page that [`map_at`] has mapped, as the processor has left it.
#[must_use]
pub fn entry_at(linear: u64) -> u64 {
    // SAFETY: in a table of ours.
    unsafe { last_entry(linear).read_volatile() }
}

/// The entry of a page of the window, as the processor has left it.
#[must_use]
pub fn entry(page: usize) -> u64 {
    assert!(page < 512);
    // SAFETY: within the table.
    unsafe { (TABLE.address() as *const u64).add(page).read_volatile() }
}

/// Where the entry of a page of the window lies, for others to write it.
#[must_use]
pub fn entry_address(page: usize) -> u64 {
    assert!(page < 512);
    TABLE.address() + 8 * page as u64
}

/// Where the directory's entry of the window lies, and what it holds.
#[must_use]
pub fn window_entry() -> (u64, u64) {
    let at = DIRECTORIES.address() + 4 * PAGE_SIZE;
    // SAFETY: within the directories.
    (at, unsafe { (at as *const u64).read_volatile() })
}
