//! What the loader handed over, taken out of its types: nothing else knows `bootloader_api`.
// UNSAFETY: pointers in the boot information become slices.
#![allow(unsafe_code)]

use crate::screen;
use alloc::vec::Vec;
use bootloader_api::info::{MemoryRegionKind, PixelFormat};
use bootloader_api::{BootInfo, BootloaderConfig, config::Mapping};
use paging::Rights;
use proto::certificate::{MemoryKind, MemoryRange, Range};
use ram::{Extent, Frames};
use spec::{Hpa, PAGE_SIZE};

/// What the hypervisor wants of its loader.
pub(crate) static CONFIG: BootloaderConfig = {
    let mut config = BootloaderConfig::new_default();
    config.mappings.physical_memory = Some(Mapping::Dynamic);
    // The deepest path, loading a kernel, takes a quarter of it; a guard page lies below.
    config.kernel_stack_size = 256 * 1024;
    config
};

/// Memory below this is left alone: real-mode structures of the firmware, and start-up code of other cores.
pub(crate) const LOW_MEMORY: u64 = 1 << 20;

/// The machine as the loader left it.
#[derive(Debug)]
pub(crate) struct Machine {
    /// Where physical memory is mapped
    pub(crate) window: *mut u8,
    /// One past the highest address of memory in the map
    pub(crate) memory_end: u64,
    /// Ranges that must stay mapped, and how: what is free can be written, what holds our own image, the bundle and the
    /// firmware's tables only read
    pub(crate) mapped: Vec<(Extent, Rights)>,
    /// What the loader said of all memory that it knows of
    pub(crate) known: Vec<MemoryRange>,
    /// The loader's stack, on which we run
    pub(crate) stack: (u64, u64),
    /// The bundle
    pub(crate) bundle: &'static [u8],
    /// ACPI RSDP
    pub(crate) rsdp: Option<Hpa>,
    /// Two frames below 1 MiB, where other cores start; neither guests nor tables get memory from there
    pub(crate) low: Option<[Hpa; 2]>,
}

/// UEFI memory types of ACPI tables (UEFI 2.10, section 7.2, "Memory Type Usage after ExitBootServices").
const ACPI_RECLAIM: u32 = 9;
const ACPI_NVS: u32 = 10;

/// Puts what is free into `frames`. The first step: there is no heap yet.
pub(crate) fn free_memory(info: &BootInfo, frames: &mut Frames) {
    for r in info.memory_regions.iter() {
        let start = r.start.max(LOW_MEMORY);
        if r.kind == MemoryRegionKind::Usable && r.end > start {
            // What does not fit the table of ranges stays unused.
            let _ = frames.add(Extent {
                start: Hpa(start),
                len: r.end - start,
            });
        }
    }
}

/// Where physical memory is mapped; `None` if the loader did not map it.
pub(crate) fn window(info: &BootInfo) -> Option<*mut u8> {
    Some(info.physical_memory_offset.into_option()? as *mut u8)
}

/// The screen, if the loader mapped one that text can be written on.
pub(crate) fn screen(info: &BootInfo) -> Option<screen::Memory> {
    let frame_buffer = info.framebuffer.as_ref()?;
    let (bytes, info) = (frame_buffer.buffer(), frame_buffer.info());
    let at = bytes.as_ptr().cast_mut().cast::<u32>();
    let colours = match info.pixel_format {
        PixelFormat::Rgb | PixelFormat::Bgr => [0, 8, 16],
        PixelFormat::Unknown {
            red_position,
            green_position,
            blue_position,
        } => [red_position, green_position, blue_position],
        _ => return None,
    };
    let needed = info
        .stride
        .checked_mul(info.height)?
        .checked_mul(size_of::<u32>())?;
    let sound = info.bytes_per_pixel == size_of::<u32>()
        && info.width <= info.stride
        && needed <= bytes.len()
        && at.is_aligned();
    sound.then_some(screen::Memory {
        at,
        width: info.width,
        height: info.height,
        stride: info.stride,
        colours,
    })
}

/// Takes over the boot information.
///
/// # Errors
/// What is missing.
pub(crate) fn machine(info: &'static BootInfo) -> Result<Machine, &'static str> {
    let window = window(info).ok_or("the loader did not map physical memory")?;
    let ramdisk = info
        .ramdisk_addr
        .into_option()
        .ok_or("the loader gave no bundle")?;
    let mut mapped = Vec::new();
    let mut memory_end = 0;
    for r in info.memory_regions.iter() {
        let rights = match r.kind {
            MemoryRegionKind::Usable => Rights::RW,
            MemoryRegionKind::Bootloader
            | MemoryRegionKind::UnknownUefi(ACPI_RECLAIM | ACPI_NVS) => Rights::R,
            _ => continue,
        };
        if r.end > r.start {
            let extent = Extent {
                start: Hpa(r.start),
                len: r.end - r.start,
            };
            mapped.push((extent, rights));
            memory_end = memory_end.max(r.end);
        }
    }
    Ok(Machine {
        window,
        memory_end,
        mapped,
        known: known(info),
        stack: (info.kernel_stack_bottom, info.kernel_stack_len),
        // SAFETY: the loader put the bundle into memory of its own kind, which is never given to anyone, and mapped
        // it as long as the window is; nobody writes it.
        bundle: unsafe {
            core::slice::from_raw_parts(
                ramdisk as *const u8,
                usize::try_from(info.ramdisk_len).map_err(|_| "the bundle is too large")?,
            )
        },
        rsdp: info.rsdp_addr.into_option().map(Hpa),
        low: low_frames(info),
    })
}

fn known(info: &BootInfo) -> Vec<MemoryRange> {
    let kind = |kind| match kind {
        MemoryRegionKind::Usable => MemoryKind::Usable,
        MemoryRegionKind::Bootloader => MemoryKind::Loader,
        MemoryRegionKind::UnknownUefi(n) | MemoryRegionKind::UnknownBios(n) => {
            MemoryKind::Firmware(n)
        }
        _ => MemoryKind::Firmware(u32::MAX),
    };
    let regions = info.memory_regions.iter().filter(|r| r.end > r.start);
    regions
        .map(|r| MemoryRange {
            range: Range {
                start: r.start,
                len: r.end - r.start,
            },
            kind: kind(r.kind),
        })
        .collect()
}

/// The two highest frames of free memory below 640 KiB: a start-up IPI names one of the first 256 pages.
fn low_frames(info: &BootInfo) -> Option<[Hpa; 2]> {
    const END: u64 = 0xa_0000 / PAGE_SIZE;
    // Nothing good comes of page 0.
    let mut frames = (1..END)
        .rev()
        .map(|page| page * PAGE_SIZE)
        .filter(|at| {
            info.memory_regions.iter().any(|r| {
                r.kind == MemoryRegionKind::Usable && r.start <= *at && at + PAGE_SIZE <= r.end
            })
        })
        .map(Hpa);
    Some([frames.next()?, frames.next()?])
}
