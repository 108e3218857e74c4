//! Starts other cores (SDM vol. 3, "Multiple-Processor (MP) Initialization").
// UNSAFETY: writes the page in which cores begin, and sends them there.
#![allow(unsafe_code)]

mod code;
#[cfg(test)]
mod tests;

use crate::{apic, tsc};
use code::{Block, Far, GDT, selector};
use core::mem::offset_of;
use core::sync::atomic::{AtomicU32, Ordering};
use ram::Window;
use spec::{Hpa, Hz, PAGE_SIZE, Ticks};

/// From INIT to the start-up message, and from the first one to the second, in nanoseconds: the pauses of the manual's "Typical
/// BSP Initialization Sequence".
const AFTER_INIT: u64 = 10_000_000;
const AFTER_START_UP: u64 = 200_000;

/// Start-up vectors that are reserved: the pages of the VGA's memory ("Typical BSP Initialization Sequence").
const RESERVED: core::ops::RangeInclusive<u8> = 0xa0..=0xbf;

/// Where a core goes once it is in 64-bit mode on its stack, with an argument.
pub type Entry = extern "C" fn(u64) -> !;

/// The page below 1 MiB in which cores begin, and what is needed to send them there one by one.
#[derive(Debug)]
pub struct Trampoline {
    block: *mut Block,
    page: u8,
    /// The last ticket that was given out
    ticket: u32,
    tsc: Hz,
}

impl Trampoline {
    /// Fills the frame `code` with the code in which cores begin, and `pml4` with a copy of the table `root`. `None` if a core
    /// cannot begin at `code` or load `pml4`, or `window` does not reach them.
    ///
    /// # Safety
    /// The frames `code` and `pml4` are no one else's for as long as the machine is up: a core that comes too late halts in them.
    /// `root` is a PML4 that maps the page `code` one to one, readable and executable, and in its upper half all that the
    /// hypervisor uses, `window` writable. No other core runs anything that is needed.
    #[must_use]
    pub unsafe fn new(window: Window, code: Hpa, pml4: Hpa, root: Hpa, tsc: Hz) -> Option<Self> {
        let page = u8::try_from(code.0 / PAGE_SIZE).ok()?;
        if RESERVED.contains(&page) || !code.is_aligned(PAGE_SIZE) || !pml4.is_aligned(PAGE_SIZE) {
            return None;
        }
        // CR3 is loaded by code of 32 bits.
        let tables = u32::try_from(pml4.0).ok()?;
        let base = u32::from(page) * PAGE_SIZE as u32;
        let start = window.pointer(code, PAGE_SIZE)?;
        let to = window.pointer(pml4, PAGE_SIZE)?;
        let from = window.pointer(root, PAGE_SIZE)?;
        let bytes = code::bytes();
        if bytes.len() > code::BLOCK {
            return None;
        }
        let at = |offset: usize| base + (code::BLOCK + offset) as u32;
        let block = Block {
            gdt: GDT,
            page: start as u64,
            stack: 0,
            entry: 0,
            argument: 0,
            ticket: AtomicU32::new(0),
            apic_id: 0,
            tables,
            to_32: Far {
                offset: base + code::offset_32(),
                selector: selector::CODE_32,
            },
            to_64: Far {
                offset: base + code::offset_64(),
                selector: selector::CODE_64,
            },
            gdtr: code::Gdtr {
                limit: size_of_val(&GDT) as u16 - 1,
                base: at(offset_of!(Block, gdt)),
            },
        };
        // SAFETY: the frames are ours per contract, and `window` reaches them; the block is aligned in its page.
        unsafe {
            core::ptr::copy_nonoverlapping(from, to, PAGE_SIZE as usize);
            core::ptr::copy_nonoverlapping(bytes.as_ptr(), start, bytes.len());
            let place = start.add(code::BLOCK).cast::<Block>();
            place.write(block);
            Some(Self {
                block: place,
                page,
                ticket: 0,
                tsc,
            })
        }
    }

    /// Stops the cores `ids` with INIT, for [`Trampoline::launch`]; one that is not launched then does nothing any more.
    pub fn reset(&self, ids: impl IntoIterator<Item = u32>) {
        for id in ids {
            // SAFETY: no other core runs anything that is needed, per `new`'s contract.
            unsafe { apic::send_init(id) };
        }
        tsc::spin(self.tsc.ticks(AFTER_INIT));
    }

    /// Starts a core, which calls `entry` with `argument` on its stack: interrupts off, CR0, CR4 and EFER as little more than
    /// 64-bit mode asks for, on a GDT that only the tables of [`Trampoline::new`] show. Waits until `arrived` says that it has come, for
    /// `patience` at most; a core that had begun by then is waited for that long again.
    ///
    /// `false` if it did not come. One that comes later halts for ever, but for one that had begun by then: that one goes
    /// on to its own `entry`, so `argument` must stay what it is.
    ///
    /// # Safety
    /// The core was stopped by [`Trampoline::reset`]; `stack_top` is 16-byte aligned, the top of a stack that is mapped by `root`
    /// and no one else's for good; `entry` may be called so.
    pub unsafe fn launch(
        &mut self,
        apic_id: u32,
        stack_top: u64,
        entry: Entry,
        argument: u64,
        arrived: impl Fn() -> bool,
        patience: Ticks,
    ) -> bool {
        self.offer(apic_id, stack_top, entry as *const () as u64, argument);
        // SAFETY: the page was filled for this by `new`, and the core stopped per contract.
        let start_up = || unsafe { apic::send_start_up(apic_id, self.page) };
        start_up();
        if wait(&arrived, self.tsc.ticks(AFTER_START_UP)) {
            return true;
        }
        // A core that has begun ignores this one.
        start_up();
        if wait(&arrived, patience) {
            return true;
        }
        !self.withdraw() && wait(&arrived, patience)
    }

    /// Writes what a core needs, and last the ticket that makes it valid: a new one for each launch.
    fn offer(&mut self, apic_id: u32, stack: u64, entry: u64, argument: u64) {
        self.ticket = self.ticket.wrapping_add(1).max(1);
        let block = self.block;
        // SAFETY: the page is ours since `new`; no core takes what it reads there for true before the ticket stands.
        unsafe {
            (&raw mut (*block).apic_id).write_volatile(apic_id);
            (&raw mut (*block).stack).write_volatile(stack);
            (&raw mut (*block).entry).write_volatile(entry);
            (&raw mut (*block).argument).write_volatile(argument);
        }
        self.counter().store(self.ticket, Ordering::Release);
    }

    /// Takes the ticket back, unless a core has it. From then on the block may be written again.
    fn withdraw(&self) -> bool {
        self.counter().swap(0, Ordering::AcqRel) != 0
    }

    fn counter(&self) -> &AtomicU32 {
        // SAFETY: the page is ours since `new`, and cores reach the ticket by atomic accesses only.
        unsafe { AtomicU32::from_ptr((&raw mut (*self.block).ticket).cast()) }
    }
}

fn wait(arrived: &impl Fn() -> bool, patience: Ticks) -> bool {
    let start = tsc::now();
    loop {
        if arrived() {
            return true;
        }
        if tsc::now().since(start) >= patience {
            return false;
        }
        core::hint::spin_loop();
    }
}
