//! The hypervisor's own memory: heap and page tables.
// UNSAFETY: hands memory to the heap, names the image's bounds, loads the tables.
#![allow(unsafe_code)]

use crate::boot::Machine;
use crate::screen;
use alloc::borrow::ToOwned;
use alloc::vec::Vec;
use core::ptr::NonNull;
use core::sync::atomic::{AtomicU64, Ordering};
use linked_list_allocator::LockedHeap;
use paging::{Entry, Format, Hva, Level, Long, Rights, Stacks, Tables};
use plan::bundle::MemorySpan;
use proto::certificate::{Device, Range};
use ram::{FrameTables, Frames, Use, Window};
use seam::TableMem;
use spec::memory_type::MemoryType;
use spec::pte::Pte;
use spec::{Hpa, PAGE_SIZE};
use spin::{Mutex, Once};

/// For plans, policy tables, chips, lines: all that is made when a VM is. Frames of guests and tables are not from here.
/// A machine with much memory has many cores, and 20 KiB are needed for each vCPU: it gives a part of it, within these bounds.
const HEAP: core::ops::RangeInclusive<u64> = 4 << 20..=64 << 20;
const HEAP_PART: u64 = 128;

/// Device registers are mapped from here on, a page each.
const DEVICES: u64 = 0xffff_fc00_0000_0000;
/// Stacks are mapped from here on, each above a page that is not mapped.
const STACKS: u64 = 0xffff_fd00_0000_0000;

/// Where physical memory is mapped, for what lies in the heap.
static WINDOW: AtomicU64 = AtomicU64::new(0);

#[global_allocator]
static ALLOCATOR: LockedHeap = LockedHeap::empty();

/// Makes the heap out of free frames, reached through the loader's mapping of physical memory.
pub(crate) fn start_heap(frames: &mut Frames, window: *mut u8) -> bool {
    let part = (frames.available() / HEAP_PART).next_multiple_of(PAGE_SIZE);
    let len = part.clamp(*HEAP.start(), *HEAP.end());
    let Some(extent) = frames.take(len, PAGE_SIZE, Use::Heap) else {
        return false;
    };
    WINDOW.store(window as u64, Ordering::Relaxed);
    // SAFETY: the loader maps all RAM at `window`, and so do our own tables; the frames are nobody else's.
    unsafe {
        ALLOCATOR
            .lock()
            .init(window.wrapping_add(extent.start.0 as usize), len as usize);
    }
    true
}

/// Where a value that lies in the heap is in physical memory.
pub(crate) fn physical<T>(value: &T) -> Hpa {
    let at = core::ptr::from_ref(value) as u64;
    Hpa(at.wrapping_sub(WINDOW.load(Ordering::Relaxed)))
}

/// Bytes of the heap in use.
pub(crate) fn heap_used() -> usize {
    ALLOCATOR.lock().used()
}

/// What our tables are reached with, once they are loaded.
static TABLES: Once<(Hpa, FrameTables<'static>)> = Once::new();

/// What our tables allow at an address; `None` if that is nothing, or they are not loaded yet. It takes no lock.
pub(crate) fn rights(at: u64) -> Option<Rights> {
    let (root, memory) = *TABLES.get()?;
    let format = Long {
        largest: Level::GIB_1,
        global: true,
    };
    let (_, rights, _) = Tables::existing(format, memory, root).translate(Hva(at))?;
    Some(rights)
}

/// Whether nobody is at the heap just now.
pub(crate) fn is_heap_free() -> bool {
    ALLOCATOR.try_lock().is_some()
}

/// The host's address space, ours from [`AddressSpace::enter`] on.
pub(crate) struct AddressSpace {
    tables: Tables<Long, FrameTables<'static>>,
    memory: FrameTables<'static>,
    devices: u64,
    stacks: Stacks,
    roots: Roots,
    mapped: Vec<Device>,
}

/// Where the tables of our address spaces begin.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Roots {
    /// Of the one in which all cores are
    pub(crate) own: Hpa,
    /// Of that for calls of the firmware
    pub(crate) firmware: Option<Hpa>,
    /// Of that in which other cores have come up
    pub(crate) start_up: Option<Hpa>,
}

type Made<T> = Result<T, paging::Error<Hva>>;

impl AddressSpace {
    /// Builds tables that map RAM (no execute), the image as the loader mapped it (W^X), the stack between two holes, and the screen;
    /// nothing else, and nothing in the lower half. Then loads them.
    ///
    /// # Errors
    /// Frames ran out, or the loader's mapping has a hole in the image or is not W^X.
    pub(crate) fn enter(
        machine: &Machine,
        frames: &'static Mutex<Frames>,
        window: Window,
    ) -> Made<Self> {
        let memory = FrameTables {
            frames,
            window,
            used: Use::HostTables,
        };
        let mut mapped = Vec::new();
        let format = Long {
            largest: if hw::cpuid::has_gib_pages() {
                Level::GIB_1
            } else {
                Level::MIB_2
            },
            global: true,
        };
        let mut tables = Tables::new(format, memory)?;
        for (extent, rights) in &machine.mapped {
            let at = Hva(machine.window as u64 + extent.start.0);
            tables.map(at, extent.start, extent.len, *rights, MemoryType::WriteBack)?;
        }
        let loader = Tables::existing(format, memory, Hpa(hw::control::cr3() & !(PAGE_SIZE - 1)));
        let (stack, stack_len) = machine.stack;
        for (from, to) in [image(), (stack, stack + stack_len)] {
            let mut at = from & !(PAGE_SIZE - 1);
            while at < to {
                let (frame, rights, _) = loader.translate(Hva(at)).ok_or(paging::Error::Range)?;
                tables.map(Hva(at), frame, PAGE_SIZE, rights, MemoryType::WriteBack)?;
                at += PAGE_SIZE;
            }
        }
        if let Some(screen) = screen::memory() {
            let at = screen.at as u64;
            let (start, end) = (at & !(PAGE_SIZE - 1), at + screen.len());
            let (frame, ..) = loader.translate(Hva(start)).ok_or(paging::Error::Range)?;
            let len = (end - start).next_multiple_of(PAGE_SIZE);
            let is_ram = |(ram, _): &(ram::Extent, Rights)| {
                frame.0 < ram.start.0 + ram.len && ram.start.0 < frame.0 + len
            };
            if machine.mapped.iter().any(is_ram) {
                // Nobody is to draw on what is a guest's.
                screen::close();
            } else {
                tables.map(Hva(start), frame, len, Rights::RW, MemoryType::Uncacheable)?;
                mapped.push(device("screen", frame, len));
            }
        }
        // SAFETY: image, stack, heap, window and screen are mapped at the addresses that they had.
        unsafe { hw::control::load_tables(tables.root()) };
        let root = tables.root();
        TABLES.call_once(|| (root, memory));
        Ok(Self {
            tables,
            memory,
            devices: DEVICES,
            stacks: Stacks::from(Hva(STACKS)),
            roots: Roots {
                own: root,
                firmware: None,
                start_up: None,
            },
            mapped,
        })
    }

    /// Maps a page of the registers of a device of that name, uncached.
    ///
    /// # Errors
    /// Frames ran out, or the page's address is not one.
    pub(crate) fn map_device(&mut self, name: &str, page: Hpa) -> Made<NonNull<u8>> {
        let at = self.devices;
        self.tables.map(
            Hva(at),
            page,
            PAGE_SIZE,
            Rights::RW,
            MemoryType::Uncacheable,
        )?;
        self.devices += PAGE_SIZE;
        self.mapped.push(device(name, page, PAGE_SIZE));
        NonNull::new(at as *mut u8).ok_or(paging::Error::Range)
    }

    /// Makes a stack of `pages` pages and gives its top. What runs over its end meets the hole below it.
    ///
    /// # Errors
    /// Frames ran out.
    pub(crate) fn stack(&mut self, pages: u64) -> Made<u64> {
        // Side by side, so that it is one piece of memory to whoever looks.
        let len = pages.saturating_mul(PAGE_SIZE);
        let taken = self.memory.frames.lock().take(len, PAGE_SIZE, Use::Stack);
        let start = taken.ok_or(paging::Error::Frames)?.start;
        let mut frames = (start.0..).step_by(PAGE_SIZE as usize).map(Hpa);
        self.stacks.add(&mut self.tables, pages, || frames.next())
    }

    /// Makes tables for calls of the firmware: its runtime memory one to one, and all that we have mapped.
    ///
    /// # Errors
    /// Frames ran out, or the ranges make no sense.
    pub(crate) fn firmware(&mut self, runtime: &[MemorySpan]) -> Made<Hpa> {
        let mut tables = Tables::new(RuntimeServices, self.memory)?;
        for m in runtime {
            tables.map(
                Hva(m.start.0),
                m.start,
                m.len,
                Rights::RWX,
                MemoryType::WriteBack,
            )?;
        }
        self.share_upper_half(tables.root());
        self.roots.firmware = Some(tables.root());
        Ok(tables.root())
    }

    /// Makes tables in which a core finds its way out of real mode: the page `code` one to one, and all that we have mapped.
    ///
    /// # Errors
    /// Frames ran out.
    pub(crate) fn start_up(&mut self, code: Hpa) -> Made<Hpa> {
        let mut tables = Tables::new(
            Long {
                largest: Level::KIB_4,
                global: false,
            },
            self.memory,
        )?;
        tables.map(
            Hva(code.0),
            code,
            PAGE_SIZE,
            Rights::RX,
            MemoryType::WriteBack,
        )?;
        self.share_upper_half(tables.root());
        self.roots.start_up = Some(tables.root());
        Ok(tables.root())
    }

    fn share_upper_half(&self, root: Hpa) {
        let mut memory = self.memory;
        for upper in 256..512 {
            let entry = memory.read(self.tables.root(), upper);
            memory.write(root, upper, entry);
        }
    }

    /// The tables' root, for cores that enter this address space after us.
    pub(crate) fn root(&self) -> Hpa {
        self.tables.root()
    }

    /// Where all tables begin that were made, and the devices whose registers are mapped.
    pub(crate) fn made(self) -> (Roots, Vec<Device>) {
        (self.roots, self.mapped)
    }
}

fn device(name: &str, at: Hpa, len: u64) -> Device {
    Device {
        name: name.to_owned(),
        range: Range { start: at.0, len },
    }
}

/// First and one past the last address of our own image.
pub(crate) fn image() -> (u64, u64) {
    unsafe extern "C" {
        static __executable_start: u8;
        static _end: u8;
    }
    // Only the addresses count: the linker puts the symbols around the image.
    (&raw const __executable_start as u64, &raw const _end as u64)
}

/// The format for firmware's runtime memory, which may hold code and data in one page, so that W^X cannot be had there.
struct RuntimeServices;

impl RuntimeServices {
    const LONG: Long = Long {
        largest: Level::MIB_2,
        global: false,
    };
}

impl Format for RuntimeServices {
    type Address = Hva;

    fn largest(&self) -> Level {
        Self::LONG.largest()
    }

    fn table(&self, frame: Hpa) -> u64 {
        Self::LONG.table(frame)
    }

    fn page(&self, level: Level, frame: Hpa, _: Rights, cache: MemoryType) -> Option<u64> {
        let executable = Self::LONG.page(level, frame, Rights::RX, cache)?;
        let writable = Self::LONG.page(level, frame, Rights::RW, cache)?;
        Some((executable | writable) & !Pte::NO_EXECUTE.bits())
    }

    fn decode(&self, level: Level, entry: u64) -> Entry {
        Self::LONG.decode(level, entry)
    }
}
