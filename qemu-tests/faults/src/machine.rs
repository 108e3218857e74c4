//! The core in VMX root operation, on the page tables that the loader made.
// UNSAFETY: brings up the core, enters VMX operation, and has a string instruction timed.
#![allow(unsafe_code)]

use crate::{apic, console};
use alloc::boxed::Box;
use alloc::string::{String, ToString};
use bootloader_api::BootInfo;
use bootloader_api::info::MemoryRegionKind;
use core::ptr;
use hw::core_local::CoreLocal;
use hw::segments::IstStacks;
use hw::{control, msr, vmx_ops};
use linked_list_allocator::LockedHeap;
use ram::{Extent, FrameTables, Frames, Use, Window};
use seam::TableMem;
use spec::{Hpa, PAGE_SIZE, Vector};
use spin::Mutex;
use vmx::{Capabilities, HostState};

/// Memory below this is the firmware's.
const LOW_MEMORY: u64 = 1 << 20;
const HEAP: u64 = 1 << 20;
/// Bytes of an exception stack.
const IST: u64 = 4 * PAGE_SIZE;

#[global_allocator]
static ALLOCATOR: LockedHeap = LockedHeap::empty();

/// A core in VMX root operation.
pub(crate) struct Machine {
    /// Free frames
    pub(crate) memory: FrameTables<'static>,
    /// What its capability MSRs say
    pub(crate) capabilities: Capabilities,
    /// What a VM exit loads
    pub(crate) host: HostState,
    local: &'static CoreLocal,
}

impl Machine {
    /// Ticks that REP STOSB takes for so many bytes, at most those of a page.
    pub(crate) fn ticks_to_fill(&mut self, bytes: u64) -> u64 {
        let mut page = [0_u8; spec::PAGE_SIZE as usize];
        let begun = hw::tsc::now();
        // SAFETY: no more is written than the page has.
        unsafe {
            core::arch::asm!("rep stosb", inout("rcx") bytes.min(page.len() as u64) => _, inout("rdi") page.as_mut_ptr() => _,
                in("al") 1_u8, options(nostack, preserves_flags));
        }
        hw::tsc::now().since(begun).0
    }

    /// Brings up the core and enters VMX root operation.
    ///
    /// # Errors
    /// What is missing, in words.
    ///
    /// # Safety
    /// Called once, by the code that the loader started, on the only core, interrupts off.
    pub(crate) unsafe fn enter(info: &BootInfo) -> Result<Self, String> {
        // SAFETY: per contract; the loader maps code and data apart.
        unsafe { control::harden() };
        let mut memory = memory(info)?;
        let stack = || {
            let extent = memory.frames.lock().take(IST, PAGE_SIZE, Use::Stack)?;
            let bottom = memory.window.pointer(extent.start, IST)?;
            Some(bottom as u64 + IST)
        };
        let (Some(nmi), Some(double_fault), Some(machine_check)) = (stack(), stack(), stack())
        else {
            return Err("no memory is left for stacks".into());
        };
        hw::trap::on_fatal(console::on_exception);
        // SAFETY: once, per contract; the stacks were just made for this.
        let (segments, local) = unsafe {
            let segments = hw::segments::install(IstStacks {
                nmi,
                double_fault,
                machine_check,
            });
            (segments, CoreLocal::install(hw::cpuid::apic_id(), 0))
        };
        hw::pic::mask();
        apic::take()?;
        if !vmx_ops::has_vmx() {
            return Err(vmx_ops::Unavailable::NoVmx.to_string());
        }
        // SAFETY: a processor with VT-x has the MSRs that `Capabilities` asks for.
        let capabilities = Capabilities::new(|m| unsafe { msr::read(m) });
        if let Some(missing) = capabilities.missing().next() {
            return Err(alloc::format!("this processor lacks {}", missing.feature));
        }
        let region = region(&mut memory, &capabilities)?;
        let (cr0, cr4) = (capabilities.cr0, capabilities.cr4);
        // SAFETY: the frame was just taken for this and carries the revision.
        unsafe { vmx_ops::vmxon(region, cr0.must_be_one, cr4.must_be_one) }
            .map_err(|e| e.to_string())?;
        let host = HostState {
            cr0: control::cr0(),
            cr3: control::cr3() & !(PAGE_SIZE - 1),
            cr4: control::cr4(),
            cs: segments.cs,
            ss: segments.ss,
            ds: segments.ss,
            es: segments.ss,
            tr: segments.tr,
            tr_base: segments.tr_base,
            gdtr_base: segments.gdtr_base,
            idtr_base: segments.idtr_base,
            gs_base: ptr::from_ref(local) as u64,
            rip: hw::entry::exit_address(),
            efer: control::efer(),
            pat: control::PAT_RESET,
            ..HostState::default()
        };
        Ok(Self {
            memory,
            capabilities,
            host,
            local,
        })
    }

    /// A frame for a VMCS.
    ///
    /// # Errors
    /// No frame is left.
    pub(crate) fn region(&mut self) -> Result<Hpa, String> {
        region(&mut self.memory, &self.capabilities)
    }

    /// Opens interrupts for a moment: the highest vector of those that came.
    pub(crate) fn take_interrupt(&self) -> Option<Vector> {
        hw::idle::breathe();
        self.local.take()
    }

    /// Ends the interrupt that an exit has acknowledged, and takes what is still pending.
    pub(crate) fn settle(&self) {
        apic::end();
        hw::idle::breathe();
        while self.local.take().is_some() {
            apic::end();
        }
    }

    /// Ends the blocking of NMIs that an exit for one has left behind, and forgets those that came since then.
    pub(crate) fn settle_nmis(&self) {
        hw::trap::unblock_nmis();
        let _ = self.local.take_kick();
    }
}

/// Starts the heap and the store of frames.
fn memory(info: &BootInfo) -> Result<FrameTables<'static>, String> {
    let window = info.physical_memory_offset.into_option();
    let window = window.ok_or("the loader did not map physical memory")? as *mut u8;
    let mut frames = Frames::new();
    let mut end = 0;
    for r in info.memory_regions.iter() {
        let start = r.start.max(LOW_MEMORY);
        if r.kind == MemoryRegionKind::Usable && r.end > start {
            // What does not fit the table of ranges stays unused.
            let _ = frames.add(Extent {
                start: Hpa(start),
                len: r.end - start,
            });
            end = end.max(r.end);
        }
    }
    let heap = frames
        .take(HEAP, PAGE_SIZE, Use::Heap)
        .ok_or("no memory is left for a heap")?;
    // SAFETY: the loader maps all RAM at `window`; the frames are nobody else's.
    let window = unsafe {
        ALLOCATOR
            .lock()
            .init(window.wrapping_add(heap.start.0 as usize), HEAP as usize);
        Window::new(window, end)
    };
    let frames = Box::leak(Box::new(Mutex::new(frames)));
    Ok(FrameTables {
        frames,
        window,
        used: Use::HostTables,
    })
}

fn region(memory: &mut FrameTables<'static>, capabilities: &Capabilities) -> Result<Hpa, String> {
    let frame = memory.alloc().ok_or("no frame is left for VMX")?;
    memory.write(frame, 0, capabilities.basic.revision().into());
    Ok(frame)
}
