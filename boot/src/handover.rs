//! The order in which the machine changes hands.
// UNSAFETY: leaves boot services, and jumps.
#![allow(unsafe_code)]

use crate::elf::Image;
use crate::failure::Failure;
use crate::frames::{self, Frames};
use crate::jump::{self, Target};
use crate::physical::Memory;
use crate::processors::{self, Processors};
use crate::screen::Screen;
use crate::space::{self, Map};
use crate::tsc::Frequency;
use crate::volume::Volume;
use crate::wishes::Wishes;
use crate::{clock, config, cpu, framebuffer, info, memory_map, pci, protocol};
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use plan::Plan;
use plan::bundle::Handover;
use spec::PAGE_SIZE;
use uefi::boot::{self, MemoryType};
use uefi::mem::memory_map::{MemoryMap, MemoryMapOwned};

/// The hypervisor, beside the config.
const HYPERVISOR: &str = "hypervisor.elf";

/// Starts the hypervisor.
///
/// # Errors
/// Why it cannot be started; the firmware is as it was then, but for memory that was taken.
pub fn start(screen: &mut Screen) -> Result<Infallible, Failure> {
    if !cpu::has_no_execute() {
        return Err(Failure::Machine(
            "this processor cannot forbid execution (CPUID 0x80000001 EDX bit 20); \
             is it switched off in the firmware's settings?",
        ));
    }
    let mut volume = Volume::own()?;
    let map = memory_map()?;
    let memory = memory_map::usable(map.entries());
    screen.line(format_args!("{} MiB of memory", memory >> 20));
    let processors = processors::learn(&Memory::new(&map), screen);
    let plan = config::read(&mut volume, memory, processors.count())?;
    for vm in &plan.vms {
        show(vm, screen);
    }

    let file = read(&mut volume, HYPERVISOR)?;
    let image = Image::parse(file)?;
    let wishes = Wishes::parse(image.config())?;
    let loaded = frames::pages("the hypervisor", image.span())?;
    image.load(loaded, space::IMAGE)?;
    let stack = frames::pages("the hypervisor's stack", wishes.stack)?;

    let bundle = bundle(&mut volume, plan, processors, &map, screen)?;
    drop(volume);

    let screen_memory = framebuffer::find();
    let pages: Vec<_> = image.pages().collect();
    let root = space::build(
        &Map {
            ram: &memory_map::ram(map.entries()),
            image: frames::address(loaded),
            pages: &pages,
            stack: (frames::address(stack), wishes.stack),
            screen: screen_memory
                .as_ref()
                .map(|(at, info)| space::whole_pages(*at, info.byte_len as u64)),
            jump: jump::pages(),
        },
        cpu::paging(),
        Frames,
    )?;
    let rsdp = protocol::rsdp();
    let info = info::allocate(memory_map()?.len());

    pci::stop_bus_masters(screen);
    screen.line(format_args!("leaving firmware"));
    // SAFETY: what we still use of the firmware's is gone: protocols are closed but for those of `screen`, which is
    // not used any more, and all that we keep is memory of our own.
    let map = unsafe { boot::exit_boot_services(Some(MemoryType::LOADER_DATA)) };
    x86_64::instructions::interrupts::disable();
    let info = info.fill(
        map.entries(),
        &info::Facts {
            screen: screen_memory,
            rsdp,
            bundle,
            hypervisor: file,
            stack: wishes.stack,
        },
    );
    let target = Target {
        info,
        root,
        stack: space::STACK + wishes.stack,
        entry: space::IMAGE + image.entry(),
    };
    // SAFETY: boot services are left, the address space is the one that `build` made of the loaded image, and the
    // processor was asked for NX first of all.
    unsafe { jump::jump(&target) }
}

/// Learns what the hypervisor cannot ask any more, and puts it and the files of `plan` into one piece of memory.
fn bundle(
    volume: &mut Volume,
    plan: Plan,
    processors: Processors,
    map: &MemoryMapOwned,
    screen: &mut Screen,
) -> Result<&'static [u8], Failure> {
    let mut files: Vec<(String, u64)> = Vec::new();
    for path in plan.files() {
        let size = volume.size(path)?.unwrap_or(0);
        files.push((path.to_string(), size));
    }
    let mut handover = Handover {
        plan,
        files: Vec::new(),
        tsc: tsc(screen),
        clock: clock::read(cpu::now),
        cores: processors.cores,
        cores_from: processors.from,
        io_apics: processors.io_apics,
        isa_overrides: processors.isa_overrides,
        reset_system: protocol::reset_system()
            .ok_or(Failure::Machine("the firmware has no runtime services"))?,
        runtime_memory: memory_map::runtime(map.entries()),
    };
    let len = handover.lay_out(files)?;
    let pages = frames::pages("the bundle", len)?;
    let layout = plan::bundle::BundleError::Layout;
    let bundle = pages.get_mut(..len as usize).ok_or(layout)?;
    for file in &handover.files {
        let place = file
            .range(bundle.len())
            .and_then(|place| bundle.get_mut(place))
            .ok_or(plan::bundle::BundleError::Layout)?;
        volume.read_into(&file.path, place)?;
        screen.line(format_args!("{}: {} bytes", file.path, file.len));
    }
    handover.seal(bundle)?;
    Ok(bundle)
}

fn tsc(screen: &mut Screen) -> spec::Hz {
    let tsc = Frequency::measure(cpu::nominal_tsc(), cpu::now, boot::stall);
    let khz = |f: spec::Hz| f.0.saturating_add(500) / 1000;
    let measured = khz(tsc.measured);
    match tsc.cpuid {
        Some(cpuid) => screen.line(format_args!(
            "tsc: {measured} kHz by the firmware, {} kHz by CPUID, which is {}",
            khz(cpuid),
            if tsc.agree() {
                "believed"
            } else {
                "not believed"
            },
        )),
        None => screen.line(format_args!("tsc: {measured} kHz by the firmware")),
    }
    tsc.believed()
}

fn show(vm: &plan::Vm, screen: &mut Screen) {
    let (name, kernel, mebibytes, vcpus) = (&vm.name, &vm.kernel, vm.memory >> 20, vm.vcpus);
    screen.line(format_args!(
        "vm {name}: {kernel}, {mebibytes} MiB, vcpus {vcpus}{}",
        vm.runs
    ));
}

/// A whole file, in memory of its own.
fn read(volume: &mut Volume, path: &str) -> Result<&'static [u8], Failure> {
    let size = volume.size(path)?.unwrap_or(0);
    let pages = frames::pages("the hypervisor's file", size.max(PAGE_SIZE))?;
    let whole = pages.get_mut(..size as usize);
    let file = whole.ok_or(plan::bundle::BundleError::Layout)?;
    volume.read_into(path, file)?;
    Ok(file)
}

fn memory_map() -> Result<MemoryMapOwned, Failure> {
    boot::memory_map(MemoryType::LOADER_DATA).map_err(|e| Failure::Memory {
        what: "the memory map",
        len: 0,
        status: e.status(),
    })
}
