//! `bootloader_api::BootInfo`: filled when boot services are gone, and so in memory taken before.
// UNSAFETY: makes the slice of memory regions as the hypervisor will see it.
#![allow(unsafe_code)]

use crate::{frames, memory_map, space};
use alloc::boxed::Box;
use alloc::vec;
use bootloader_api::BootInfo;
use bootloader_api::info::{FrameBuffer, FrameBufferInfo, MemoryRegion, MemoryRegions, Optional};
use core::mem::{MaybeUninit, transmute};
use spec::Hpa;
use uefi::mem::memory_map::MemoryDescriptor;

/// Descriptors that leaving boot services, and all before, may add to the memory map.
const SPARE: usize = 64;

/// Memory for it.
pub struct Room {
    info: &'static mut MaybeUninit<BootInfo>,
    regions: &'static mut [MemoryRegion],
}

/// What it says beside the memory map.
pub struct Facts {
    /// The screen's memory
    pub screen: Option<(Hpa, FrameBufferInfo)>,
    /// ACPI's root pointer
    pub rsdp: Option<Hpa>,
    /// The ramdisk
    pub bundle: &'static [u8],
    /// The hypervisor's file
    pub hypervisor: &'static [u8],
    /// Bytes of the stack
    pub stack: u64,
}

/// Takes memory for a map that now has `descriptors`. The heap is the firmware's, of type LoaderData, which the
/// hypervisor is told is taken.
#[must_use]
pub fn allocate(descriptors: usize) -> Room {
    Room {
        info: Box::leak(Box::new_uninit()),
        regions: vec![MemoryRegion::empty(); descriptors.saturating_add(SPARE)].leak(),
    }
}

impl Room {
    /// Writes it; gives its address as the hypervisor will see it.
    pub fn fill<'m>(self, map: impl Iterator<Item = &'m MemoryDescriptor>, facts: &Facts) -> u64 {
        let regions = memory_map::regions(map, self.regions);
        let mut info = BootInfo::new(seen_from_there(regions));
        info.framebuffer = match facts.screen {
            // SAFETY: the screen's memory is mapped there from its page on, for as many bytes as the pixels take.
            Some((at, pixels)) => Optional::Some(unsafe {
                FrameBuffer::new(space::SCREEN + at.0 % spec::PAGE_SIZE, pixels)
            }),
            None => Optional::None,
        };
        info.physical_memory_offset = Optional::Some(space::PHYSICAL);
        info.rsdp_addr = facts.rsdp.map(|at| at.0).into();
        info.ramdisk_addr = Optional::Some(virt(facts.bundle));
        info.ramdisk_len = facts.bundle.len() as u64;
        info.kernel_addr = frames::address(facts.hypervisor).0;
        info.kernel_len = facts.hypervisor.len() as u64;
        info.kernel_image_offset = space::IMAGE;
        info.kernel_stack_bottom = space::STACK;
        info.kernel_stack_len = facts.stack;
        virt(self.info.write(info))
    }
}

/// Where the hypervisor finds memory that we find at its physical address.
fn virt<T: ?Sized>(memory: &T) -> u64 {
    space::PHYSICAL + frames::address(memory).0
}

/// The regions as the hypervisor sees them. `MemoryRegions` can be made only from a reference, and there is nothing
/// at that address yet that one could refer to.
fn seen_from_there(regions: &[MemoryRegion]) -> MemoryRegions {
    #[repr(C)]
    struct Raw {
        start: *mut MemoryRegion,
        len: usize,
    }
    let raw = Raw {
        start: virt(regions) as *mut MemoryRegion,
        len: regions.len(),
    };
    // SAFETY: `MemoryRegions` is documented as an FFI-safe slice: a pointer and a length, in this order, repr(C).
    unsafe { transmute::<Raw, MemoryRegions>(raw) }
}
